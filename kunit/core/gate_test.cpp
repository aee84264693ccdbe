// SPDX-License-Identifier: GPL-2.0-only
// core/gate.hpp: one EOI for each event, when the last of its pollers is done with it, in
// every order of interrupt, poll and what the scheduler lets in between.
#include "core/gate.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::World;

namespace {

constexpr uint32_t one = 1;
constexpr uint32_t other = 2;

struct Queue {
    EventGate<Queue> gate;
    uint64_t events = 0;
    uint64_t spurious = 0;
    uint32_t scheduled = 0;

    void schedule(uint32_t pollers) noexcept { scheduled |= pollers; }
    bool open(World& world, uint32_t pollers = one) noexcept {
        return gate.offer(&world.bus, "xpv", this, pollers, events, spurious).ok();
    }
    // A poll that nobody disturbs.
    void poll(bool worked, uint32_t poller = one) noexcept {
        const uint32_t event = gate.look();
        if (worked)
            gate.found();
        gate.done(poller, event);
    }
};

} // namespace

TEST(gate_one_eoi_an_event) {
    World world;
    Queue queue;
    CHECK(queue.open(world));
    const uint32_t port = queue.gate.port().number();
    const xpv_evtchn* channel = world.events.at(port);
    queue.poll(true); // polled without an event: nothing owed
    CHECK_EQ(channel->eois, 0u);
    world.events.raise(port);
    queue.poll(true); // that was this one's
    for (uint32_t i = 1; i <= 10; ++i) {
        CHECK(world.events.raise(port));
        CHECK(queue.gate.owes_eoi());
        CHECK(!world.events.raise(port)); // silent until the EOI
        CHECK(!world.events.raise(port));
        queue.poll(i % 2 == 0);
        CHECK(!queue.gate.owes_eoi());
        CHECK_EQ(channel->eois, 2 * i);
        // What came meanwhile was not lost.
        CHECK_EQ(world.events.deliver(), 1u);
        queue.poll(true);
        CHECK_EQ(channel->eois, 2 * i + 1);
        CHECK_EQ(world.events.deliver(), 0u);
    }
    CHECK_EQ(channel->spurious, 5u);
    CHECK_EQ(queue.spurious, 5u);
    CHECK_EQ(queue.events, 21u);
    CHECK_EQ(world.events.owed(), 0u);
}

// Work that was done before its event came makes that event no spurious one, but only
// that event.
TEST(gate_event_after_its_work) {
    World world;
    Queue queue;
    CHECK(queue.open(world));
    const xpv_evtchn* channel = world.events.at(queue.gate.port().number());
    queue.poll(true);
    queue.poll(false); // a timer's
    CHECK(world.events.raise(queue.gate.port().number()));
    queue.poll(false);
    CHECK_EQ(channel->spurious, 0u);
    CHECK(world.events.raise(queue.gate.port().number()));
    queue.poll(false);
    CHECK_EQ(channel->spurious, 1u);
    CHECK_EQ(channel->eois, 2u);
}

TEST(gate_waits_for_all_its_pollers) {
    for (const uint32_t first : test::each(one, other)) {
        World world;
        Queue queue;
        CHECK(queue.open(world, one | other));
        const xpv_evtchn* channel = world.events.at(queue.gate.port().number());
        CHECK(world.events.raise(queue.gate.port().number()));
        CHECK_EQ(queue.scheduled, one | other);
        queue.poll(true, first);
        queue.poll(false, first);
        CHECK_EQ(channel->eois, 0u);
        queue.poll(false, (one | other) & ~first);
        CHECK_EQ(channel->eois, 1u);
        CHECK_EQ(channel->spurious, 0u);
    }
}

// Between a poller's look() and its done() another CPU may poll, and an event may come:
// that event's EOI is its own poll's to pay.
TEST(gate_late_done_leaves_the_next_event_alone) {
    World world;
    Queue queue;
    CHECK(queue.open(world));
    const uint32_t port = queue.gate.port().number();
    const xpv_evtchn* channel = world.events.at(port);
    CHECK(world.events.raise(port));
    const uint32_t late = queue.gate.look();
    queue.gate.found();
    queue.poll(false); // on another CPU: pays
    CHECK_EQ(channel->eois, 1u);
    CHECK(world.events.raise(port));
    queue.gate.done(one, late);
    CHECK_EQ(channel->eois, 1u);
    CHECK(queue.gate.owes_eoi());
    queue.poll(true);
    CHECK_EQ(channel->eois, 2u);
    queue.gate.done(one, late);
    CHECK_EQ(channel->eois, 2u);
    CHECK_EQ(channel->spurious, 0u);
}

// The scheduler keeps the poller (it is polled busily, or later by a timer): no EOI, and
// none is lost.
TEST(gate_without_done_stays_silent) {
    World world;
    Queue queue;
    CHECK(queue.open(world));
    const uint32_t port = queue.gate.port().number();
    CHECK(world.events.raise(port));
    queue.gate.found();
    CHECK(!world.events.raise(port));
    queue.poll(false);
    CHECK_EQ(world.events.at(port)->eois, 1u);
    CHECK_EQ(world.events.at(port)->spurious, 0u);
    CHECK_EQ(world.events.deliver(), 1u);
}

// An EOI that was withheld (the device is broken) must not be paid to the next channel
// that the gate holds.
TEST(gate_debt_dies_with_the_channel) {
    World world;
    Queue queue;
    CHECK(queue.open(world, one | other));
    CHECK(world.events.raise(queue.gate.port().number()));
    const uint32_t late = queue.gate.look();
    queue.gate.found();
    queue.gate.close();
    CHECK(!queue.gate.owes_eoi());
    queue.gate.done(one, late);
    CHECK(queue.open(world));
    queue.poll(true); // the fake fails the test on an EOI that nobody owes

    const uint32_t port = world.events.offer_by_peer();
    CHECK(world.events.raise(queue.gate.port().number()));
    CHECK(queue.gate.bind(&world.bus, Port{port}, "xpv", &queue, one, queue.events, queue.spurious)
              .ok());
    queue.poll(true);
    CHECK(world.events.raise(port));
    queue.poll(true);
    CHECK_EQ(world.events.owed(), 0u);
    queue.gate.close();
    CHECK(!queue.gate);
}
