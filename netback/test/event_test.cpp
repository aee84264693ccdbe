// SPDX-License-Identifier: GPL-2.0-only
// Events and their EOIs: one each, when the work is done; none once broken. XSA-332.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

void send_one(Sender& sender) {
    const uint32_t size = 60;
    sender.packet(&size, 1);
    (void)sender.ring.publish();
}

} // namespace

TEST(netback_event_waits_for_idle) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t port = c.guest.rings[0].tx_port;
    send_one(sender);
    CHECK(world.events.raise(port));
    xpv_evtchn* const channel = world.events.at(port);
    CHECK_EQ(c.vif.tx_batch(), 1u);
    CHECK_EQ(channel->eois, 0u); // the poller still runs
    CHECK(!world.events.raise(port));
    CHECK_EQ(channel->handled, 1u); // silent until then
    CHECK_EQ(c.vif.tx_batch(), 0u);
    CHECK(!c.vif.tx_idle());
    CHECK_EQ(channel->eois, 1u);
    CHECK_EQ(channel->spurious, 0u);
    // The one that was pending now comes, with nothing behind it.
    CHECK_EQ(world.events.deliver(), 1u);
    c.vif.tx_poll();
    CHECK_EQ(channel->eois, 2u);
    CHECK_EQ(channel->spurious, 1u);
    CHECK_EQ(c.vif.counters().tx_events, 2u);
    CHECK_EQ(c.vif.counters().tx_spurious, 1u);
}

// New work in the final check: the poller goes on, the EOI waits.
TEST(netback_event_final_check) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t port = c.guest.rings[0].tx_port;
    send_one(sender);
    CHECK(world.events.raise(port));
    CHECK_EQ(c.vif.tx_batch(), 1u);
    send_one(sender);
    CHECK(c.vif.tx_idle());
    CHECK_EQ(world.events.at(port)->eois, 0u);
    CHECK_EQ(sender.ring.raw.req_event(), 2u);
    c.vif.tx_poll();
    CHECK_EQ(world.events.at(port)->eois, 1u);
    CHECK_EQ(c.vif.received, 2u);
    // Armed: the next request asks for an event.
    const uint32_t size = 60;
    sender.packet(&size, 1);
    CHECK(sender.ring.publish());
}

// Work that was done before its event came makes that event no spurious one.
TEST(netback_event_after_its_work) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t port = c.guest.rings[0].tx_port;
    send_one(sender);
    c.vif.tx_poll(); // somebody kicked it
    CHECK(world.events.raise(port));
    c.vif.tx_poll();
    CHECK_EQ(world.events.at(port)->eois, 1u);
    CHECK_EQ(world.events.at(port)->spurious, 0u);
    CHECK(world.events.raise(port)); // but only one
    c.vif.tx_poll();
    CHECK_EQ(world.events.at(port)->spurious, 1u);
}

// One channel for both directions: its EOI waits for both pollers.
TEST(netback_event_shared) {
    for (const bool tx_first : each(false, true)) {
        World world;
        Connected c{world, 1, false};
        Sender sender{c.guest};
        const uint32_t port = c.guest.rings[0].tx_port;
        send_one(sender);
        CHECK(world.events.raise(port));
        CHECK_EQ(c.vif.queues[0].scheduled, uint32_t{XPV_NETBACK_TX | XPV_NETBACK_RX});
        if (tx_first)
            c.vif.tx_poll();
        else
            CHECK(!c.vif.rx_idle(false));
        CHECK_EQ(world.events.at(port)->eois, 0u);
        if (tx_first)
            CHECK(!c.vif.rx_idle(false));
        else
            c.vif.tx_poll();
        CHECK_EQ(world.events.at(port)->eois, 1u);
        CHECK_EQ(world.events.at(port)->spurious, 0u);
    }
}

// Split: each direction its own, and posted buffers are work.
TEST(netback_event_split) {
    World world;
    Connected c{world};
    const uint32_t port = c.guest.rings[0].rx_port;
    CHECK(world.events.raise(port));
    CHECK_EQ(c.vif.queues[0].scheduled, uint32_t{XPV_NETBACK_RX});
    CHECK(!c.vif.rx_idle(false));
    CHECK_EQ(world.events.at(port)->spurious, 1u);
    PeerFront ring = c.guest.rx();
    ring.push(netif_rx_request{});
    (void)ring.publish();
    CHECK(world.events.raise(port));
    CHECK(!c.vif.rx_idle(false));
    CHECK_EQ(world.events.at(port)->eois, 2u);
    CHECK_EQ(world.events.at(port)->spurious, 1u);
    CHECK_EQ(world.events.at(c.guest.rings[0].tx_port)->handled, 0u);
}

// A flood of events costs one handler run for each round of the poller.
TEST(netback_event_flood) {
    World world;
    Connected c{world, 2};
    for (uint32_t round = 0; round < 10; ++round) {
        for (uint32_t i = 0; i < 100; ++i)
            (void)world.events.raise(c.guest.rings[1].tx_port);
        CHECK_EQ(c.vif.counters(1).tx_events, round + 1u);
        c.vif.tx_poll(1);
        (void)world.events.deliver();
        c.vif.tx_poll(1);
        (void)world.events.deliver();
        break;
    }
    CHECK_EQ(c.vif.counters(1).tx_spurious, 2u);
    CHECK_EQ(world.events.owed(), 0u);
}

// A scheduler that keeps a poller (deferred interrupts, busy polling) has the event's
// EOI wait: it is paid when both directions' pollers are let go, and once.
TEST(netback_event_waits_for_the_scheduler) {
    for (const bool shared : each(false, true)) {
        World world;
        Connected c{world, 1, !shared};
        Sender sender{c.guest};
        const uint32_t port = c.guest.rings[0].tx_port;
        send_one(sender);
        CHECK(world.events.raise(port));
        xpv_evtchn* const channel = world.events.at(port);
        c.vif.polled_on = true;
        for (uint32_t i = 0; i < 3; ++i) {
            c.vif.tx_poll();
            if (shared)
                CHECK(!c.vif.rx_idle(false));
            CHECK_EQ(channel->eois, 0u);
            CHECK(!world.events.raise(port));
        }
        CHECK_EQ(c.vif.received, 1u);
        c.vif.polled_on = false;
        c.vif.tx_poll();
        CHECK_EQ(channel->eois, shared ? 0u : 1u);
        if (shared)
            CHECK(!c.vif.rx_idle(false));
        CHECK_EQ(channel->eois, 1u);
        CHECK_EQ(channel->spurious, 0u);
    }
}

// Broken while a poller is on its way out: its EOI is not paid any more.
TEST(netback_event_broken_on_the_way_out) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t port = c.guest.rings[0].tx_port;
    send_one(sender);
    CHECK(world.events.raise(port));
    CHECK_EQ(c.vif.tx_batch(), 1u);
    uint32_t event = 0;
    {
        const In softirq{world.account, Context::Softirq};
        CHECK(!xpv_netback_tx_stop(c.vif.queues[0].core, &event));
    }
    RawRing{c.guest.rings[0].rx_page, 8, 256}.req_prod(1000);
    (void)c.vif.rx_idle(false);
    CHECK(c.vif.world.ends.any_due());
    {
        const In softirq{world.account, Context::Softirq};
        xpv_netback_idle(c.vif.queues[0].core, XPV_NETBACK_TX, event);
    }
    CHECK_EQ(world.events.at(port)->eois, 0u);
}
