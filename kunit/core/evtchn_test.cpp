// SPDX-License-Identifier: GPL-2.0-only
// core/evtchn.hpp: channels come and go; what their events cost is gate_test.cpp's.
#include "core/evtchn.hpp"
#include "kunit/check.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::World;

namespace {

struct Queue {
    EventChannel channel;
    uint32_t interrupts = 0;

    static void handler(void* context) noexcept {
        auto* queue = static_cast<Queue*>(context);
        ++queue->interrupts;
    }
};

} // namespace

TEST(evtchn_front_offers) {
    World world;
    Queue queue;
    CHECK(!queue.channel);
    CHECK(queue.channel.offer(&world.bus, "xpv-q0-tx", Queue::handler, &queue).ok());
    CHECK(queue.channel ? true : false);
    const xpv_evtchn* channel = world.events.at(queue.channel.port().number());
    CHECK(channel != nullptr);
    CHECK_STREQ(channel->name, "xpv-q0-tx");
    queue.channel.notify();
    queue.channel.notify();
    CHECK_EQ(channel->notified, 2u);
    queue.channel.unbind();
    CHECK(!queue.channel);
    CHECK_EQ(world.events.raise(queue.channel.port().number()), false);
    CHECK_EQ(queue.interrupts, 0u);
    queue.channel.unbind(); // nothing left to do
}

TEST(evtchn_back_binds) {
    World world;
    const uint32_t port = world.events.offer_by_peer();
    {
        Queue queue;
        CHECK(queue.channel.bind(&world.bus, Port{port}, "xpv", Queue::handler, &queue).ok());
        CHECK_EQ(queue.channel.port(), port);
        CHECK(world.events.raise(port));
        CHECK_EQ(queue.interrupts, 1u);
        queue.channel.eoi(false);
        // A second bind of the same port is Xen's to refuse, and leaves no channel.
        Queue other;
        CHECK(!other.channel.bind(&world.bus, Port{port}, "xpv", Queue::handler, &other).ok());
        CHECK(!other.channel);
        CHECK(!other.channel.bind(&world.bus, Port{0}, "xpv", Queue::handler, &other).ok());
        CHECK(
            !other.channel.bind(&world.bus, Port{0xffffffff}, "xpv", Queue::handler, &other).ok());
    }
    CHECK(world.events.at(port) == nullptr); // the destructor unbinds
}

TEST(evtchn_failures_leave_nothing) {
    World world;
    Queue queue;
    world.account.fail(Call::Offer);
    CHECK_EQ(queue.channel.offer(&world.bus, "xpv", Queue::handler, &queue).error(),
             Error::NoSpace);
    CHECK(!queue.channel);
    const uint32_t port = world.events.offer_by_peer();
    world.account.fail(Call::Bind);
    CHECK(!queue.channel.bind(&world.bus, Port{port}, "xpv", Queue::handler, &queue).ok());
    CHECK(!queue.channel);
    CHECK(queue.channel.bind(&world.bus, Port{port}, "xpv", Queue::handler, &queue).ok());
    // Failing to rebind gives up the old one.
    world.account.fail(Call::Offer);
    CHECK(!queue.channel.offer(&world.bus, "xpv", Queue::handler, &queue).ok());
    CHECK(!queue.channel);
    CHECK_EQ(world.account.channels.outstanding(), 0u);
}
