// SPDX-License-Identifier: GPL-2.0-only
// netfront/connect.cpp and features.cpp: what is agreed on, and the device's life.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::Frontend;
using fake::Poll;
using fake::Wire;
using test::each;

namespace {

// How a backend may write a feature, and whether that offers it.
struct Wording {
    const char* text; // nullptr: no such node
    bool offers;
};
constexpr auto wordings =
    each(Wording{nullptr, false}, Wording{"0", false}, Wording{"1", true}, Wording{"2", false},
         Wording{"x", false}, Wording{"", false}, Wording{"-1", false}, Wording{"1 ", false},
         Wording{"99999999999999999999999999999999999999", false});

void write(fake::Folder& folder, const char* key, const char* text) noexcept {
    if (text == nullptr)
        folder.remove(key);
    else
        folder.set(key, text);
}

} // namespace

TEST(netfront_connect_features) {
    struct Row {
        const char* node;
        bool xpv_net_features::*feature;
        bool inverted;
    };
    const auto rows = each(Row{"feature-sg", &xpv_net_features::sg, false},
                           Row{"feature-split-event-channels", &xpv_net_features::split, false},
                           Row{"feature-gso-tcpv4", &xpv_net_features::gso_v4, false},
                           Row{"feature-gso-tcpv6", &xpv_net_features::gso_v6, false},
                           Row{"feature-ipv6-csum-offload", &xpv_net_features::csum_v6, false},
                           Row{"feature-no-csum-offload", &xpv_net_features::csum_v4, true});
    for (const Row& row : rows) {
        for (const Wording& wording : wordings) {
            Frontend vif;
            write(vif.world.bus.peer, row.node, wording.text);
            CHECK(vif.connect());
            CHECK_EQ(vif.os.features.*row.feature, wording.offers != row.inverted);
        }
    }
}

TEST(netfront_connect_features_need_others) {
    for (const char* missing : each("feature-sg", "feature-ipv6-csum-offload")) {
        Frontend vif;
        vif.world.bus.peer.remove(missing);
        CHECK(vif.connect());
        CHECK(!vif.os.features.gso_v6);
    }
    Frontend vif;
    vif.world.bus.peer.set("feature-no-csum-offload", 1);
    CHECK(vif.connect());
    CHECK(!vif.os.features.gso_v4);
    CHECK(vif.os.features.gso_v6);
}

// What the parameters switch off is neither used nor offered.
TEST(netfront_connect_settings) {
    for (uint32_t off = 0; off < 16; ++off) {
        Frontend vif;
        vif.settings.net.sg = !(off & 1);
        vif.settings.net.gso = !(off & 2);
        vif.settings.net.csum = !(off & 4);
        vif.settings.net.split = !(off & 8);
        CHECK(vif.connect());
        const xpv_net_settings& may = vif.settings.net;
        const bool gso = may.sg && may.gso && may.csum;
        CHECK_EQ(vif.os.features.sg, may.sg);
        CHECK_EQ(vif.os.features.gso_v4, gso);
        CHECK_EQ(vif.os.features.gso_v6, gso);
        CHECK_EQ(vif.os.features.csum_v4, may.csum);
        CHECK_EQ(vif.os.features.csum_v6, may.csum);
        CHECK_EQ(vif.node("request-rx-copy"), 1u);
        CHECK_EQ(vif.node("feature-rx-notify"), 1u);
        CHECK_EQ(vif.node("feature-sg"), may.sg);
        CHECK_EQ(vif.node("feature-gso-tcpv4"), gso);
        CHECK_EQ(vif.node("feature-gso-tcpv6"), gso);
        CHECK_EQ(vif.node("feature-no-csum-offload"), !may.csum);
        CHECK_EQ(vif.node("feature-ipv6-csum-offload"), may.csum);
        CHECK_EQ(vif.world.bus.own.get("event-channel") != nullptr, !may.split);
        CHECK_EQ(vif.world.bus.own.get("event-channel-rx") != nullptr, may.split);
    }
}

TEST(netfront_connect_needs_rx_copy) {
    for (const Wording& wording : wordings) {
        Frontend vif;
        write(vif.world.bus.peer, "feature-rx-copy", wording.text);
        CHECK(vif.create());
        CHECK_EQ(vif.handle(XPV_PROBED), wording.offers ? 0 : -95);
        CHECK_EQ(vif.os.started, wording.offers);
        CHECK(wording.offers || vif.world.log.has("feature-rx-copy"));
        CHECK_EQ(vif.world.bus.state(), wording.offers ? 4u : 1u);
    }
}

TEST(netfront_connect_queues) {
    struct Row {
        const char* offer;
        uint32_t queues;
        bool written;
    };
    const auto rows =
        each(Row{nullptr, 1, false}, Row{"1", 1, true}, Row{"2", 2, true}, Row{"3", 3, true},
             Row{"4", 4, true}, Row{"64", 4, true}, Row{"65", 4, true}, Row{"4294967295", 4, true},
             Row{"2147483648", 4, true}, Row{"0", 1, false}, Row{"-1", 1, false},
             Row{"x", 1, false}, Row{"4294967296", 1, false});
    for (const Row& row : rows) {
        Frontend vif{4};
        write(vif.world.bus.peer, "multi-queue-max-queues", row.offer);
        CHECK(vif.connect());
        CHECK_EQ(vif.os.queues, row.queues);
        CHECK_EQ(vif.node("multi-queue-num-queues"), row.written ? row.queues : ~0u);
        const bool flat = row.queues == 1;
        CHECK_EQ(vif.world.bus.own.get("tx-ring-ref") != nullptr, flat);
        CHECK_EQ(vif.world.bus.own.get("queue-0/rx-ring-ref") != nullptr, !flat);
        for (uint32_t i = 0; i < row.queues; ++i) {
            Wire wire{vif, i};
            CHECK(wire.tx_port != wire.rx_port);
            CHECK_EQ(wire.rx.requests(), 256u);
        }
    }
}

// A connection leaves no node behind that would mislead the next.
TEST(netfront_connect_changes_layout) {
    Frontend vif{4};
    CHECK(vif.create());
    struct Row {
        uint32_t queues;
        bool split;
    };
    uint32_t round = 0;
    for (const Row& row : each(Row{1, true}, Row{4, true}, Row{2, false}, Row{1, false},
                               Row{1, true}, Row{3, false}, Row{1, true})) {
        fake::Folder& peer = vif.world.bus.peer;
        peer.set("feature-split-event-channels", row.split);
        peer.set("multi-queue-max-queues", row.queues);
        vif.peer_state(XenbusStateInitWait);
        vif.handle(round++ == 0 ? XPV_PROBED : XPV_CHANGED);
        CHECK_EQ(vif.os.queues, row.queues);
        uint32_t ring_nodes = 0;
        uint32_t port_nodes = 0;
        const fake::Folder& own = vif.world.bus.own;
        for (uint32_t i = 0; i < own.count(); ++i) {
            const char* key = own.key_at(i);
            for (; *key != '\0'; ++key) {
                ring_nodes += __builtin_strncmp(key, "ring-ref", 8) == 0;
                port_nodes += __builtin_strncmp(key, "event-channel", 13) == 0;
            }
        }
        CHECK_EQ(ring_nodes, 2 * row.queues);
        CHECK_EQ(port_nodes, (row.split ? 2 : 1) * row.queues);
        vif.peer_state(XenbusStateClosing);
        vif.handle(XPV_CHANGED);
        CHECK(vif.os.stopped);
        CHECK(vif.os.started); // the rings stay until the backend is Closed
        vif.peer_state(XenbusStateClosed);
        vif.handle(XPV_CHANGED);
        CHECK(!vif.os.started);
    }
}

TEST(netfront_connect_mac) {
    struct Row {
        const char* text;
        bool good;
    };
    const auto rows = each(Row{"00:16:3e:aB:Cd:ef", true}, Row{"00:16:3e:12:34:5", false},
                           Row{"00:16:3e:12:34:567", false}, Row{"00:16:3e:12:34", false},
                           Row{"", false}, Row{nullptr, false}, Row{"00-16-3e-12-34-56", false},
                           Row{"0", false}, Row{"00:", false}, Row{"00:16:3e:12:34:5g", false},
                           Row{"01:16:3e:12:34:56", false}, Row{"ff:ff:ff:ff:ff:ff", false},
                           Row{"00:00:00:00:00:00", false}, Row{"fe:ff:ff:ff:ff:ff", true});
    for (const Row& row : rows) {
        Frontend vif;
        write(vif.world.bus.own, "mac", row.text);
        CHECK(vif.create());
        uint8_t mac[6] = {};
        uint32_t mtu = 1;
        CHECK_EQ(xpv_netfront_identity(vif.device, mac, &mtu) == 0, row.good);
        if (row.good)
            CHECK_EQ(mtu, 0u);
        CHECK_EQ(vif.world.log.errors, row.good ? 0u : 1u);
    }
    Frontend vif;
    CHECK(vif.create());
    uint8_t mac[6];
    uint32_t mtu;
    vif.world.bus.own.set("mac", "0a:1B:2c:3D:4e:5F");
    CHECK_EQ(xpv_netfront_identity(vif.device, mac, &mtu), 0);
    CHECK(mac[0] == 0x0a && mac[1] == 0x1b && mac[2] == 0x2c && mac[3] == 0x3d && mac[4] == 0x4e &&
          mac[5] == 0x5f);
    for (uint32_t good : each(68u, 1500u, 9000u, 65517u)) {
        vif.world.bus.own.set("mtu", good);
        CHECK_EQ(xpv_netfront_identity(vif.device, mac, &mtu), 0);
        CHECK_EQ(mtu, good);
    }
    for (const char* bad : each("67", "65518", "65521", "x", "", "4294967295", "-1")) {
        vif.world.bus.own.set("mtu", bad);
        CHECK_EQ(xpv_netfront_identity(vif.device, mac, &mtu), 0);
        CHECK_EQ(mtu, 0u);
    }
}

TEST(netfront_connect_follows_the_backend) {
    Frontend vif;
    vif.peer_state(XenbusStateInitialising);
    CHECK(vif.create());
    CHECK_EQ(vif.handle(XPV_PROBED), 0);
    CHECK_EQ(vif.world.bus.state(), 1u);
    CHECK(!vif.os.started);
    vif.peer_state(XenbusStateInitWait);
    CHECK_EQ(vif.handle(XPV_CHANGED), 0);
    CHECK_EQ(vif.world.bus.state(), 4u);
    CHECK(vif.os.started);
    CHECK_EQ(vif.os.announced, 0u);
    CHECK_EQ(vif.handle(XPV_CHANGED), 0); // the same again
    vif.peer_state(XenbusStateConnected);
    CHECK_EQ(vif.handle(XPV_CHANGED), 0);
    CHECK_EQ(vif.os.announced, 1u);
    CHECK_EQ(vif.handle(XPV_CHANGED), 0);
    CHECK_EQ(vif.os.announced, 1u);
    CHECK_EQ(vif.os.starts, 1u);
}

// The backend's driver is unloaded and loaded, the device stays.
TEST(netfront_connect_backend_restarts) {
    Frontend vif{2};
    CHECK(vif.connect());
    for (uint32_t i = 0; i < 20; ++i) {
        vif.world.now_ms += 1000;
        vif.world.grants.let_go_all();
        if (i % 2 == 0) {
            vif.peer_state(XenbusStateClosing);
            vif.handle(XPV_CHANGED);
            CHECK(vif.os.stopped);
        }
        vif.peer_state(i % 3 == 0 ? XenbusStateInitialising : XenbusStateClosed);
        vif.handle(XPV_CHANGED);
        CHECK(!vif.os.started);
        CHECK_EQ(vif.world.bus.state(), 1u);
        CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
        vif.peer_state(XenbusStateInitWait);
        vif.handle(XPV_CHANGED);
        vif.peer_state(XenbusStateConnected);
        vif.handle(XPV_CHANGED);
        CHECK_EQ(vif.os.announced, i + 2);
        Poll::run(vif, 0);
        Poll::run(vif, 1);
        Wire wire{vif, 1};
        CHECK_EQ(wire.rx.requests(), 256u);
    }
}

// The toolstack takes the device away: closed, and no attempt to come back.
TEST(netfront_connect_detached) {
    Frontend vif;
    CHECK(vif.connect());
    vif.world.bus.peer.set("online", "0");
    vif.peer_state(XenbusStateClosing);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(vif.world.bus.state(), 6u);
    vif.peer_state(XenbusStateClosed);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(vif.world.bus.state(), 6u);
    vif.world.bus.peer.clear();
    vif.handle(XPV_CHANGED);
    CHECK_EQ(vif.world.bus.state(), 6u);
}

// A backend that never answers costs a bounded wait; what it holds is deferred.
TEST(netfront_connect_remove_without_backend) {
    for (bool gone : each(false, true)) {
        Frontend vif{2};
        CHECK(vif.connect());
        Wire wire{vif, 0}; // maps its rings, and keeps them
        vif.world.ends.on_wait(nullptr, nullptr);
        if (gone)
            vif.world.bus.peer.clear();
        vif.remove();
        CHECK(vif.world.ends.waits <= 2);
        CHECK_EQ(vif.world.account.deferred.outstanding(), 2u);
        CHECK_EQ(vif.world.bus.state(), 6u);
    }
}

TEST(netfront_connect_remove_waits_before_it_lets_go) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif, 0};
    vif.remove();
    CHECK_EQ(vif.world.account.calls(Call::Defer), 0u);
    CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
}

// Whatever fails while a connection is made, nothing is left of it, and the next
// attempt works.
TEST(netfront_connect_each_step_fails) {
    uint32_t failed = 0;
    uint32_t retried = 0;
    for (uint32_t nth = 1; nth < 2000; ++nth) {
        Frontend vif{2};
        CHECK(vif.create());
        vif.world.account.fail_nth(nth);
        const int result = vif.handle(XPV_PROBED);
        const bool injected = vif.world.account.injected() != 0;
        vif.world.account.fail_nothing();
        if (!injected)
            break;
        failed += result != 0;
        // A look that failed once there was a connection takes nothing away from it.
        if (result != 0 && vif.world.bus.state() != XenbusStateConnected) {
            CHECK(!vif.os.started);
            CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
            CHECK_EQ(vif.world.account.channels.outstanding(), 0u);
            CHECK_EQ(vif.world.account.refs.outstanding(), 0u);
        }
        retried += vif.world.ends.asked(XPV_CHANGED);
        const bool shortage = result == -12 || result == -28 || result == -11;
        CHECK_EQ(vif.world.ends.asked(XPV_CHANGED), shortage ? 1u : 0u);
        CHECK(vif.settle_down());
    }
    CHECK(failed > 20);
    CHECK(retried > 5);
}

// A shortage is over without any event of the backend's: we come back by ourselves.
// What the backend does not offer, only the backend can change.
TEST(netfront_connect_retries_after_a_shortage) {
    Frontend vif;
    CHECK(vif.create());
    vif.world.account.fail(fake::call_start);
    CHECK_EQ(vif.handle(XPV_PROBED), -12);
    CHECK_EQ(vif.world.ends.asked(XPV_CHANGED), 1u);
    vif.world.account.fail_nothing();
    CHECK_EQ(vif.handle(XPV_CHANGED), 0); // what retry asks for
    CHECK_EQ(vif.world.bus.state(), 4u);
    CHECK_EQ(vif.world.ends.asked(XPV_CHANGED), 1u);
}

TEST(netfront_connect_does_not_retry_what_is_not_offered) {
    Frontend vif;
    vif.world.bus.peer.remove("feature-rx-copy");
    CHECK(vif.create());
    CHECK_EQ(vif.handle(XPV_PROBED), -95);
    CHECK_EQ(vif.world.ends.asked(XPV_CHANGED), 0u);
}

// Queues that cannot be made are done without.
TEST(netfront_connect_with_fewer_queues) {
    Frontend vif{4};
    vif.world.grants.capacity = 1400; // each queue takes 658
    CHECK(vif.connect());
    CHECK_EQ(vif.os.queues, 2u);
    CHECK_EQ(vif.node("multi-queue-num-queues"), 2u);
    CHECK_EQ(vif.world.log.warnings, 1u);
    vif.remove();
    CHECK_EQ(vif.world.account.refs.outstanding(), 0u);
}

TEST(netfront_connect_other_number_of_queues) {
    Frontend vif{4};
    CHECK(vif.connect());
    CHECK_EQ(vif.os.queues, 4u);
    xpv_netfront_want_queues(vif.device, 3);
    vif.handle(XPV_RENEW);
    CHECK(!vif.os.started);
    CHECK(vif.settle_down());
    CHECK_EQ(vif.os.queues, 3u);
}

TEST(netfront_connect_no_event_after_remove) {
    Frontend vif;
    CHECK(vif.connect());
    vif.handle(XPV_REMOVE);
    vif.peer_state(XenbusStateInitWait);
    vif.handle(XPV_BROKE);
    vif.handle(XPV_CHANGED);
    vif.handle(XPV_RENEW);
    CHECK(!vif.os.started);
    CHECK_EQ(vif.world.bus.state(), 6u);
}
