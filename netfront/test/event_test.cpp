// SPDX-License-Identifier: GPL-2.0-only
// netfront/device.cpp and tx.cpp: no event is lost, and each is paid for once, whatever
// two CPUs and the backend do at the same time.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Context;
using fake::Frontend;
using fake::idle;
using fake::In;
using fake::packet_bytes;
using fake::Poll;
using fake::poll_tx;
using fake::send;
using fake::send_owned;
using fake::Wire;
using test::each;

namespace {

void give(Wire& wire, uint32_t count) noexcept {
    for (uint32_t i = 0; i < count; ++i)
        wire.give_packet(60);
    wire.publish_rx();
}

// The shim's whole poll, until it runs dry.
void poll(Frontend& vif) noexcept {
    for (uint32_t turns = 0; turns < 100; ++turns) {
        if (xpv_netfront_tx_due(vif.queue()))
            (void)poll_tx(vif);
        (void)Poll::run(vif);
        if (idle(vif))
            return;
    }
    XPV_FAKE_FAIL("a poller that never rests");
}

} // namespace

// A CPU is held up where the scheduler has let its poller go; others poll meanwhile. What
// it still does moves no event index and pays for no event but its own.
TEST(netfront_event_held_up_poller) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.rx_port);
    for (uint32_t round = 0; round < 100; ++round) {
        const In in{vif.world.account, Context::Softirq};
        give(wire, 1);
        CHECK_EQ(Poll::run(vif).packets, 1u);
        const xpv_netfront_events late = xpv_netfront_begin(vif.queue());
        CHECK(xpv_netfront_idle(vif.queue()));
        // Here it is held up: a timer polls elsewhere, and that poll's EOI lets an event in.
        give(wire, 1 + round % 7);
        poll(vif);
        const uint32_t eois = channel->eois;
        const uint32_t raised = channel->raised;
        give(wire, 1);
        CHECK_EQ(channel->raised, raised + 1);
        xpv_netfront_done(vif.queue(), late);
        CHECK_EQ(channel->eois, eois);
        poll(vif);
        CHECK_EQ(channel->eois, channel->handled);
        CHECK_EQ(channel->spurious, 0u);
    }
    CHECK_EQ(vif.world.events.owed(), 0u);
}

// An event that comes between a poller's look and its rest announces what that poll may
// have missed: its EOI is left to the poll that it asked for.
TEST(netfront_event_during_poll) {
    for (const bool split : each(true, false)) {
        Frontend vif;
        vif.settings.net.split = split;
        CHECK(vif.connect());
        Wire wire{vif};
        const In in{vif.world.account, Context::Softirq};
        poll(vif);
        for (const uint32_t port : each(wire.rx_port, wire.tx_port)) {
            const xpv_evtchn* channel = vif.world.events.at(port);
            const uint32_t eois = channel->eois;
            const xpv_netfront_events before = xpv_netfront_begin(vif.queue());
            CHECK(vif.world.events.raise(port));
            CHECK(xpv_netfront_idle(vif.queue()));
            xpv_netfront_done(vif.queue(), before);
            CHECK_EQ(channel->eois, eois);
            poll(vif);
            CHECK_EQ(channel->eois, eois + 1);
        }
    }
}

// There is work when the poller wants to rest: it polls on, and nothing is paid.
TEST(netfront_event_work_before_rest) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    give(wire, 1);
    const In in{vif.world.account, Context::Softirq};
    CHECK(!xpv_netfront_idle(vif.queue()));
    CHECK_EQ(vif.world.events.owed(), 1u);
    poll(vif);
    CHECK_EQ(vif.world.events.owed(), 0u);
}

// A timer, or an event of the other channel, finds the work before its event comes: that
// one is no spurious event, the next without work is.
TEST(netfront_event_after_its_work) {
    for (const bool split : each(true, false)) {
        Frontend vif;
        vif.settings.net.split = split;
        CHECK(vif.connect());
        Wire wire{vif};
        poll(vif);
        // Not delivered yet.
        wire.give_packet(60);
        CHECK(wire.rx.publish());
        CHECK_EQ(send_owned(vif, packet_bytes, 60, 1, true), 0u);
        Wire::Packet packet;
        static uint8_t bytes[4096];
        CHECK(wire.take_packet(packet, bytes));
        wire.answer(packet);
        CHECK(wire.tx.publish());
        poll(vif);
        poll(vif);
        for (const uint32_t port : each(wire.rx_port, wire.tx_port)) {
            vif.world.events.raise(port);
            poll(vif);
            if (!split)
                break;
        }
        CHECK_EQ(vif.counters().rx_spurious + vif.counters().tx_spurious, 0u);
        vif.world.events.raise(wire.rx_port);
        poll(vif);
        CHECK_EQ(vif.counters().rx_spurious, 1u);
        if (split) {
            vif.world.events.raise(wire.tx_port);
            poll(vif);
            CHECK_EQ(vif.counters().tx_spurious, 1u);
        }
        CHECK_EQ(vif.world.events.owed(), 0u);
    }
}

// One channel for both: the transmitter's work counts as the event's.
TEST(netfront_event_shared_channel) {
    Frontend vif;
    vif.settings.net.split = false;
    CHECK(vif.connect());
    Wire wire{vif};
    poll(vif);
    for (uint32_t i = 0; i < 50; ++i) {
        CHECK_EQ(send_owned(vif, packet_bytes, 60, 1, true), 0u);
        CHECK_EQ(wire.serve_tx(), 1u);
        if (i % 2 == 0) // taken on the way: the poller has nothing left to do
            (void)poll_tx(vif);
        poll(vif);
        CHECK_EQ(vif.os.held.outstanding(), 0u);
        CHECK_EQ(vif.world.events.owed(), 0u);
    }
    CHECK(vif.counters().rx_events >= 50);
    CHECK_EQ(vif.counters().rx_spurious, 0u);
}

#ifdef XPV_TEST_STEPS

namespace {

constexpr uint32_t stop = XPV_NETFRONT_TX_STOP;

// The backend answers everything and sends its event before one step of ours, and
// another CPU takes that event: without the transmit lock, which is ours.
struct OtherCpu {
    Frontend& vif;
    Wire& wire;
    uint32_t at;
    uint32_t steps = 0;
    bool waits_for_lock = false;

    void step() noexcept {
        if (steps++ != at)
            return;
        const uint32_t scheduled = vif.os.scheduled[0];
        wire.serve_tx();
        if (vif.os.scheduled[0] == scheduled)
            return;
        if (xpv_netfront_tx_due(vif.queue()))
            waits_for_lock = true;
        else
            (void)idle(vif);
    }
};

OtherCpu* other = nullptr;

} // namespace

TEST(netfront_event_while_it_stops) {
    uint32_t stops = 0;
    uint32_t waited = 0;
    for (const bool split : each(true, false)) {
        for (const bool at_limit : each(false, true)) {
            for (uint32_t at = 0; at < 60; ++at) {
                Frontend vif;
                vif.settings.net.split = split;
                CHECK(vif.connect());
                Wire wire{vif};
                for (uintptr_t i = 1; i <= 237; ++i)
                    CHECK_EQ(at_limit ? send_owned(vif, packet_bytes, 60, i)
                                      : send(vif, packet_bytes, 60),
                             0u);
                OtherCpu cpu{vif, wire, at};
                other = &cpu;
                xpv_test_step = [] {
                    OtherCpu* const now = other;
                    other = nullptr; // its own steps are not ours
                    if (now != nullptr)
                        now->step();
                    other = now;
                };
                const uint32_t result = at_limit ? send_owned(vif, packet_bytes, 60, 238, true)
                                                 : send(vif, packet_bytes, 60);
                xpv_test_step = nullptr;
                stops += result == stop;
                waited += cpu.waits_for_lock;
                bool wakes = cpu.waits_for_lock && poll_tx(vif);
                (void)idle(vif);
                if (wire.serve_tx(); vif.world.events.owed() != 0)
                    wakes = poll_tx(vif) || wakes;
                CHECK(result != stop || wakes);
                if (at_limit)
                    CHECK_EQ(vif.os.held.outstanding(), 0u);
            }
        }
    }
    CHECK(stops > 100);
    CHECK(waited > 10);
}

#else // the host's build alone has steps

TEST(netfront_event_while_it_stops) {}

#endif
