// SPDX-License-Identifier: GPL-2.0-only
// The handshake: what we offer, what a frontend may ask for, what happens when it
// asks for nonsense or when any step fails; and that all of it can be repeated.
#include "core/xenstore.hpp"
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

constexpr uint32_t init_wait = XenbusStateInitWait;
constexpr uint32_t connected = XenbusStateConnected;
constexpr uint32_t closing = XenbusStateClosing;
constexpr uint32_t closed = XenbusStateClosed;

// The frontend said something that cannot be served: Closing, with a reason.
void check_refused(World& world, Backend& vif) {
    CHECK_EQ(world.bus.state(), closing);
    CHECK_EQ(world.bus.reports, 1u);
    CHECK(world.log.has("cannot connect to the frontend"));
    CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
    CHECK_EQ(world.account.channels.outstanding(), 0u);
    CHECK(!vif.running);
}

} // namespace

TEST(netback_connect_features) {
    World world;
    Backend vif{world};
    vif.settings.net.max_queues = 4;
    world.bus.own.set("online", 1);
    world.bus.peer.set("state", 1u);
    CHECK(vif.create());
    Folder& own = world.bus.own;
    CHECK_EQ(world.bus.state(), init_wait);
    CHECK_EQ(world.bus.transactions, 1u);
    for (const char* key :
         each("feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6", "feature-ipv6-csum-offload",
              "feature-rx-copy", "feature-split-event-channels"))
        CHECK_EQ(own.number(key), 1u);
    CHECK_EQ(own.number("feature-rx-flip"), 0u);
    CHECK_EQ(own.number("feature-no-csum-offload"), 0u);
    CHECK_EQ(own.number("multi-queue-max-queues"), 4u);
}

TEST(netback_connect_features_off) {
    World world;
    Backend vif{world};
    vif.settings = xpv_netback_settings{{1, false, false, false, false}, false};
    Guest guest{world};
    guest.offer(1, false);
    guest.hotplug();
    CHECK(vif.create());
    Folder& own = world.bus.own;
    for (const char* key : each("feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6",
                                "feature-ipv6-csum-offload", "feature-split-event-channels"))
        CHECK_EQ(own.number(key), 0u);
    CHECK_EQ(own.number("feature-no-csum-offload"), 1u);
    CHECK_EQ(world.bus.state(), connected);
    const xpv_net_features& f = vif.features;
    CHECK(!f.sg && !f.gso_v4 && !f.gso_v6 && !f.csum_v4 && !f.csum_v6 && f.rx_notify);
}

// Each of the frontend's features absent in turn.
TEST(netback_connect_negotiates) {
    struct Case {
        const char* key;
        int value; // -1: absent
        bool sg, gso_v4, gso_v6, csum_v4, csum_v6, notify;
    };
    for (const Case& t :
         each(Case{"feature-sg", -1, false, false, false, true, true, true},
              Case{"feature-sg", 0, false, false, false, true, true, true},
              Case{"feature-gso-tcpv4", -1, true, false, true, true, true, true},
              Case{"feature-gso-tcpv6", 0, true, true, false, true, true, true},
              Case{"feature-no-csum-offload", 1, true, false, true, false, true, true},
              Case{"feature-no-csum-offload", 0, true, true, true, true, true, true},
              Case{"feature-ipv6-csum-offload", -1, true, true, false, true, false, true},
              Case{"feature-rx-notify", -1, true, true, true, true, true, false},
              Case{"feature-gso-tcpv4", 7, true, false, true, true, true, true})) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer();
        guest.hotplug();
        if (t.value < 0)
            world.bus.peer.remove(t.key);
        else
            world.bus.peer.set(t.key, static_cast<uint32_t>(t.value));
        CHECK(vif.create());
        CHECK_EQ(world.bus.state(), connected);
        const xpv_net_features& f = vif.features;
        CHECK_EQ(f.sg, t.sg);
        CHECK_EQ(f.gso_v4, t.gso_v4);
        CHECK_EQ(f.gso_v6, t.gso_v6);
        CHECK_EQ(f.csum_v4, t.csum_v4);
        CHECK_EQ(f.csum_v6, t.csum_v6);
        CHECK_EQ(f.rx_notify, t.notify);
    }
}

// CVE-2026-45890: numbers of queues that nobody can have.
TEST(netback_connect_bad_queue_count) {
    for (const char* text :
         each("0", "9", "2147483648", "4294967296", "18446744073709551617", "-1", "x", "", " 1",
              "1 ", "0x1", "1.0", "1111111111111111111111111111111111111111")) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer();
        guest.hotplug();
        world.bus.peer.set("multi-queue-num-queues", text);
        CHECK(vif.create());
        check_refused(world, vif);
        CHECK(world.log.has("multi-queue-num-queues"));
        CHECK(world.log.has("1..8"));
    }
}

TEST(netback_connect_queue_counts) {
    for (uint32_t count : each(1u, 2u, 8u))
        for (const bool split : each(false, true)) {
            World world;
            Connected c{world, count, split};
            CHECK_EQ(c.vif.queue_count, count);
            CHECK_EQ(world.account.ring_mappings.outstanding(), count * 2);
            CHECK_EQ(world.account.channels.outstanding(), split ? count * 2 : count);
            // Each queue is its own.
            for (uint32_t i = 0; i < count; ++i) {
                Sender sender{c.guest, i};
                const uint32_t size = 60;
                sender.packet(&size, 1);
                (void)sender.ring.publish();
                CHECK(world.events.raise(c.guest.rings[i].tx_port));
                c.vif.tx_poll(i);
                CHECK_EQ(c.vif.received, i + 1);
            }
        }
}

// Nonsense in each node of each queue; 2026-99286/7: what was made before it goes.
TEST(netback_connect_bad_nodes) {
    for (const char* key : each("/tx-ring-ref", "/rx-ring-ref", "/event-channel-tx",
                                "/event-channel-rx", "/request-rx-copy"))
        for (const char* text : each("", "x", "-1", "4294967296", "4294967295", "8000"))
            for (uint32_t queue : each(0u, 3u)) {
                World world;
                Backend vif{world};
                Guest guest{world};
                guest.offer(4);
                guest.hotplug();
                Folder& peer = world.bus.peer;
                if (__builtin_strcmp(key, "/request-rx-copy") == 0)
                    peer.set(key + 1, text);
                else
                    peer.set(NodeName{"queue-", queue, key}.text(), text);
                CHECK(vif.create());
                check_refused(world, vif);
                // And the next try, with sense, succeeds.
                guest.state(6);
                vif.handle(XPV_CHANGED);
                CHECK_EQ(world.bus.state(), closed);
                guest.state(1);
                vif.handle(XPV_CHANGED);
                guest.offer(2);
                vif.handle(XPV_CHANGED);
                CHECK_EQ(world.bus.state(), connected);
            }
}

TEST(netback_connect_missing_nodes) {
    for (const char* key :
         each("tx-ring-ref", "rx-ring-ref", "event-channel-rx", "request-rx-copy")) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer();
        guest.hotplug();
        world.bus.peer.remove(key);
        CHECK(vif.create());
        check_refused(world, vif);
        CHECK(world.log.has(key));
    }
}

// A ring whose indices cannot be a ring's.
TEST(netback_connect_bad_ring) {
    for (const bool tx : each(false, true)) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer(2);
        guest.hotplug();
        RawRing raw{tx ? guest.rings[1].tx_page : guest.rings[1].rx_page, tx ? 12u : 8u, 256};
        raw.req_prod(300);
        CHECK(vif.create());
        check_refused(world, vif);
    }
}

// Every step fails once; nothing stays behind, and the next try works.
TEST(netback_connect_each_step_fails) {
    for (uint32_t nth = 1; nth < 200; ++nth) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer(2);
        guest.hotplug();
        world.account.fail_nth(nth);
        const bool made = vif.create();
        world.account.fail_nothing();
        if (world.account.injected() == 0)
            return;
        vif.run_poke();
        if (made) {
            // Whatever came of it, a frontend that goes through the states is served.
            guest.state(5);
            vif.handle(XPV_CHANGED);
            guest.state(6);
            vif.handle(XPV_CHANGED);
            guest.state(1);
            vif.handle(XPV_CHANGED);
            guest.offer(2);
            vif.handle(XPV_CHANGED);
            CHECK_EQ(world.bus.state(), connected);
        }
    }
    EXPECT(!"the sweep never ended");
}

// Connected waits for the toolstack's script; traffic does not.
TEST(netback_connect_waits_for_hotplug) {
    World world;
    Backend vif{world};
    Guest guest{world};
    guest.offer();
    CHECK(vif.create());
    CHECK_EQ(world.bus.state(), init_wait);
    CHECK(vif.running && !vif.carrier);
    world.bus.own.set("hotplug-status", "error");
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), init_wait);
    guest.hotplug();
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), connected);
    CHECK(vif.carrier);
    // Only a leaving driver takes the node away.
    guest.state(6);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), closed);
    CHECK(world.bus.own.get("hotplug-status") != nullptr);
    vif.remove();
    CHECK(world.bus.own.get("hotplug-status") == nullptr);
}

// The frontend comes and goes, twenty times.
TEST(netback_connect_again_and_again) {
    World world;
    Backend vif{world};
    Guest guest{world};
    world.bus.own.set("online", 1);
    guest.hotplug();
    guest.state(1);
    CHECK(vif.create());
    for (uint32_t i = 0; i < 20; ++i) {
        world.now_ms += 1000; // no faster than anybody may
        guest.offer(1 + i % 3, i % 2 != 0);
        vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), connected);
        guest.state(5);
        vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), closing);
        CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
        CHECK_EQ(world.account.channels.outstanding(), 0u);
        guest.state(6);
        vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), closed);
        guest.state(1);
        vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), init_wait);
    }
    CHECK_EQ(world.bus.reports, 0u);
}

// The toolstack is done: the frontend is gone, or closed while not online.
TEST(netback_connect_end) {
    for (const bool gone : each(false, true)) {
        World world;
        Connected c{world};
        if (gone) {
            world.bus.peer.clear();
        } else {
            world.bus.own.set("online", uint32_t{0});
            c.guest.state(6);
        }
        c.vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), closed);
        // Nothing more comes of it, however often we look: the bus takes the device.
        const uint32_t switched = world.bus.switched;
        const uint32_t reads = world.account.calls(Call::XsRead);
        c.vif.handle(XPV_CHANGED);
        c.vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.switched, switched);
        CHECK_EQ(world.account.calls(Call::XsRead), reads + 4); // two states, `online` twice
        CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
    }
}

TEST(netback_connect_removed_in_service) {
    World world;
    Connected c{world, 3};
    Sender sender{c.guest};
    const uint32_t size = 60;
    sender.packet(&size, 1);
    (void)sender.ring.publish();
    CHECK(world.events.raise(c.guest.rings[0].tx_port));
    c.vif.remove();
    CHECK_EQ(world.bus.state(), closed);
    CHECK(!c.vif.running);
    CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
    CHECK_EQ(world.account.channels.outstanding(), 0u);
}

// The reason of a former connection's end is none for the present one.
TEST(netback_connect_late_break) {
    World world;
    Connected c{world};
    RawRing{c.guest.rings[0].tx_page, 12, 256}.req_prod(1000);
    c.vif.tx_poll();
    CHECK(c.vif.world.ends.any_due());
    c.guest.state(6);
    c.vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.reports, 1u);
    c.guest.state(1);
    c.vif.handle(XPV_CHANGED);
    c.guest.offer();
    c.vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), connected);
    c.vif.run_poke(); // the work comes late
    CHECK_EQ(world.bus.state(), connected);
    CHECK_EQ(world.bus.reports, 1u);
}
