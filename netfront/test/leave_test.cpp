// SPDX-License-Identifier: GPL-2.0-only
// netfront/connect.cpp: connections that end by our own will, without it, or with the
// machine that the backend was on; and what the next one finds.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::Frontend;
using fake::packet_bytes;
using fake::Poll;
using fake::send;
using fake::send_owned;
using fake::Wire;
using test::each;

// The backend lets go of the rings before their grants end.
TEST(netfront_leave_reconnects_after_the_backend_let_go) {
    Frontend vif{4};
    CHECK(vif.connect());
    for (uint32_t i = 0; i < 20; ++i) {
        Wire first{vif, 0}; // maps its rings
        Wire last{vif, vif.os.queues - 1};
        CHECK(xpv_netfront_want_queues(vif.device, 1 + i % 3));
        CHECK(!xpv_netfront_want_queues(vif.device, 1 + i % 3));
        vif.handle(XPV_RENEW);
        CHECK(vif.os.stopped);
        CHECK(!vif.os.started);
        CHECK_EQ(vif.world.account.calls(Call::Defer), 0u);
        CHECK_EQ(vif.world.grants.loud, 0u);
        vif.world.now_ms += 1000;
        CHECK(vif.settle_down());
        CHECK_EQ(vif.os.queues, 1 + i % 3);
        for (uint32_t queue = 0; queue < vif.os.queues; ++queue)
            Poll::run(vif, queue);
    }
}

// The backend is Closed when its wait ends, and will say nothing more.
TEST(netfront_leave_reconnects_without_another_event) {
    Frontend vif;
    CHECK(vif.connect());
    vif.world.ends.on_wait(
        [](void* context, uint16_t) {
            static_cast<Frontend*>(context)->peer_state(XenbusStateClosed);
            return true;
        },
        &vif);
    vif.handle(XPV_RENEW);
    CHECK_EQ(vif.world.bus.state(), 1u);
    CHECK(vif.settle_down());
}

// A backend that never lets go costs a bounded wait; what it holds is deferred quietly.
TEST(netfront_leave_reconnects_without_the_backend) {
    Frontend vif{2};
    CHECK(vif.connect());
    Wire wire{vif, 0};
    vif.world.ends.on_wait(nullptr, nullptr);
    vif.handle(XPV_RENEW);
    CHECK_EQ(vif.world.ends.waits, 1u);
    CHECK(!vif.os.started);
    CHECK_EQ(vif.world.account.deferred.outstanding(), 2u);
    CHECK_EQ(vif.world.grants.loud, 0u);
    vif.world.settle();
    CHECK(vif.settle_down());
}

// However a connection ends, the log hears of what the backend did, not of each grant
// that it still holds.
TEST(netfront_leave_is_quiet) {
    for (uint32_t how = 0; how < 4; ++how) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        CHECK_EQ(send(vif, packet_bytes, 3000), XPV_NETFRONT_TX_SENT);
        vif.world.grants.hold(wire.tx.raw.read<net::TxRequest>(0).gref);
        for (uint32_t i = 0; i < 10; ++i)
            vif.world.grants.hold(wire.rx.raw.read<net::RxRequest>(i).gref);
        switch (how) {
        case 0: // the backend's folder is gone
            vif.world.bus.peer.clear();
            vif.handle(XPV_CHANGED);
            break;
        case 1:
            vif.peer_state(XenbusStateClosed);
            vif.handle(XPV_CHANGED);
            break;
        case 2:
            wire.tx.raw.rsp_prod(77);
            (void)fake::poll_tx(vif);
            vif.handle(XPV_BROKE);
            break;
        default:
            vif.world.ends.on_wait(nullptr, nullptr);
            vif.remove();
        }
        CHECK(!vif.os.started);
        CHECK_EQ(vif.world.account.deferred.outstanding(), 13u);
        CHECK_EQ(vif.world.grants.loud, 0u);
    }
}

// The work that a break asked for may run when another connection has taken its place.
TEST(netfront_leave_late_break) {
    Frontend vif;
    CHECK(vif.connect());
    {
        Wire wire{vif};
        wire.rx.raw.rsp_prod(1000);
        Poll::run(vif);
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 1u);
    }
    vif.peer_state(XenbusStateClosed);
    vif.handle(XPV_CHANGED);
    vif.world.settle();
    CHECK(vif.settle_down());
    const uint32_t starts = vif.os.starts;
    vif.handle(XPV_BROKE);
    CHECK(vif.os.started && !vif.os.stopped);
    CHECK_EQ(vif.os.starts, starts);
    CHECK_EQ(vif.world.bus.state(), 4u);
}

// After save and restore, from whatever phase: nothing is waited for and nothing shown,
// and the first look at the new backend connects.
TEST(netfront_leave_resumes) {
    for (uint32_t phase = 0; phase < 6; ++phase) {
        Frontend vif{2};
        switch (phase) {
        case 0: // Initialising
            vif.peer_state(XenbusStateInitialising);
            CHECK(vif.create());
            vif.handle(XPV_PROBED);
            break;
        case 1: // Attached
            CHECK(vif.create());
            vif.handle(XPV_PROBED);
            break;
        default: // Connected
            CHECK(vif.connect());
            for (uintptr_t i = 1; i <= 10; ++i)
                CHECK_EQ(send_owned(vif, packet_bytes, 60, i), XPV_NETFRONT_TX_SENT);
        }
        if (phase == 3) { // Closing or Closed, rings kept
            vif.peer_state(XenbusStateClosing);
            vif.handle(XPV_CHANGED);
        }
        if (phase == 4) { // broken, and the work has not run
            Wire wire{vif};
            wire.rx.raw.rsp_prod(1000);
            Poll::run(vif);
        }
        if (phase == 5) // Closed
            vif.handle(XPV_RENEW);
        // Another grant table and backend.
        vif.world.grants.let_go_all();
        const uint32_t switches = vif.world.bus.switched;
        const uint32_t waits = vif.world.ends.waits;
        vif.world.bus.own.set("state", XenbusStateInitialising);
        vif.peer_state(XenbusStateInitWait);
        CHECK_EQ(vif.handle(XPV_RESUMED), 0);
        CHECK(!vif.os.started && vif.os.stopped);
        CHECK_EQ(vif.world.bus.switched, switches);
        CHECK_EQ(vif.world.ends.waits, waits);
        CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
        CHECK_EQ(vif.world.account.channels.outstanding(), 0u);
        CHECK_EQ(vif.os.held.outstanding(), 0u);
        vif.handle(XPV_BROKE); // a work that slept meanwhile
        vif.handle(XPV_CHANGED);
        CHECK(vif.os.started);
        CHECK_EQ(vif.world.bus.state(), 4u);
        vif.peer_state(XenbusStateConnected);
        vif.handle(XPV_BROKE);
        vif.handle(XPV_CHANGED);
        CHECK(!vif.os.stopped);
        Poll::run(vif, 0);
        Wire wire{vif};
        CHECK_EQ(send(vif, packet_bytes, 60), XPV_NETFRONT_TX_SENT);
        CHECK_EQ(wire.serve_tx(), 1u);
    }
}

TEST(netfront_leave_no_resume_after_remove) {
    Frontend vif;
    CHECK(vif.connect());
    vif.handle(XPV_REMOVE);
    vif.peer_state(XenbusStateInitWait);
    vif.handle(XPV_RESUMED);
    vif.handle(XPV_CHANGED);
    CHECK(!vif.os.started);
    CHECK_EQ(vif.world.bus.state(), 6u);
}

// The node's MTU is looked at for each connection, but taken only when somebody changed
// the node: an administrator's own stays.
TEST(netfront_leave_mtu) {
    Frontend vif;
    vif.world.bus.own.set("mtu", 1400);
    CHECK(vif.create());
    uint8_t mac[6];
    uint32_t mtu = 0;
    CHECK_EQ(xpv_netfront_identity(vif.device, mac, &mtu), 0);
    CHECK_EQ(mtu, 1400u);
    CHECK(vif.connect());
    CHECK_EQ(vif.os.mtus, 0u);
    struct Row {
        const char* node; // nullptr: removed
        uint32_t taken;   // 0: none
    };
    for (const Row& row :
         each(Row{"9000", 9000}, Row{"9000", 0}, Row{nullptr, 0}, Row{"9000", 0}, Row{"67", 0},
              Row{"65518", 0}, Row{"x", 0}, Row{"1400", 1400}, Row{"65517", 65517})) {
        if (row.node == nullptr)
            vif.world.bus.own.remove("mtu");
        else
            vif.world.bus.own.set("mtu", row.node);
        const uint32_t before = vif.os.mtus;
        vif.handle(XPV_RENEW);
        CHECK(vif.settle_down());
        CHECK_EQ(vif.os.mtus, before + (row.taken != 0));
        if (row.taken != 0)
            CHECK_EQ(vif.os.mtu, row.taken);
    }
    // It is taken with the connection that is made, not with one that fails.
    vif.world.bus.own.set("mtu", 2000);
    vif.world.account.fail(fake::call_start);
    vif.handle(XPV_RENEW);
    vif.peer_state(XenbusStateInitWait);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(vif.os.mtu, 65517u);
    vif.world.account.fail_nothing();
    CHECK(vif.settle_down());
    CHECK_EQ(vif.os.mtu, 2000u);
}

// Nothing that other drivers wrote, a boot loader's or a kernel's before this one, tells
// the backend to do what we do not know.
TEST(netfront_leave_no_leftovers) {
    const auto keys =
        each("xdp-headroom", "ctrl-ring-ref", "event-channel-ctrl", "request-multicast-control",
             "feature-gso-tcpv4-prefix", "feature-gso-tcpv6-prefix", "tx-ring-ref", "rx-ring-ref",
             "event-channel", "queue-0/tx-ring-ref", "queue-3/event-channel-rx");
    Frontend vif{2};
    for (const char* key : keys)
        vif.world.bus.own.set(key, 1);
    vif.world.bus.own.set("multi-queue-num-queues", 4);
    CHECK(vif.connect());
    for (const char* key : keys)
        CHECK_EQ(vif.world.bus.own.get(key) != nullptr,
                 __builtin_strcmp(key, "queue-0/tx-ring-ref") == 0);
    CHECK(vif.world.bus.own.number("queue-0/tx-ring-ref") != 1);
}
