// SPDX-License-Identifier: GPL-2.0-only
// The handshake where something is in the way: a frontend that comes too often, one that
// does not come back, a shortage, what nobody honours, a driver that has left.
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

} // namespace

// A frontend that flaps: at first each connection is made at once, then so many per
// second, and those that cannot be made are rarer still. Nobody waits for ever.
TEST(netback_settle_flapping) {
    for (const bool bad : each(false, true)) {
        World world;
        Backend vif{world};
        Guest guest{world};
        world.bus.own.set("online", 1);
        guest.hotplug();
        guest.offer(1);
        if (bad)
            world.bus.peer.set("tx-ring-ref", "x");
        guest.state(1);
        CHECK(vif.create());
        uint32_t connections = 0;
        const uint64_t start = world.now_ms;
        for (; world.now_ms < start + 60000; world.now_ms += 10) {
            guest.state(4);
            const uint32_t before = world.account.calls(bad ? Call::Log : Call::RingMap);
            vif.world.ends.forget();
            vif.handle(XPV_CHANGED);
            if (world.account.calls(bad ? Call::Log : Call::RingMap) != before)
                ++connections;
            else
                CHECK(vif.world.ends.any_due() && world.ends.delay_ms(XPV_CHANGED) > 0 &&
                      world.ends.delay_ms(XPV_CHANGED) <= 1000);
            guest.state(6);
            vif.handle(XPV_CHANGED);
            guest.state(1);
            vif.handle(XPV_CHANGED);
            CHECK_EQ(world.bus.state(), init_wait);
        }
        CHECK(connections >= (bad ? 60u : 240u));
        CHECK(connections <= (bad ? 68u : 257u));
        // The last one that was refused is served when it was told to be.
        guest.offer(1);
        vif.handle(XPV_CHANGED);
        vif.run_poke();
        CHECK_EQ(world.bus.state(), connected);
    }
}

// What comes to an end by itself is waited for, in the state that it was met in.
TEST(netback_settle_shortages) {
    for (const Call call : each(Call::Alloc, Call::RingMap, Call::Driver0, Call::Bind)) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.offer(2);
        guest.hotplug();
        guest.state(1);
        CHECK(vif.create());
        guest.state(4);
        for (uint32_t i = 0; i < 3; ++i) {
            world.account.fail(call, call == Call::Driver0 ? 1 : 1 + i % 2, 1, -12);
            vif.handle(XPV_CHANGED);
            CHECK_EQ(world.bus.state(), init_wait);
            CHECK(vif.world.ends.any_due() && world.ends.delay_ms(XPV_CHANGED) >= 1000);
            CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
            CHECK_EQ(world.account.channels.outstanding(), 0u);
            CHECK(world.log.has("try again"));
            world.account.fail_nothing();
            vif.world.ends.forget();
        }
        CHECK_EQ(world.bus.reports, 0u);
        xpv_end_poke(&world.bus, XPV_CHANGED, 0);
        vif.run_poke();
        CHECK_EQ(world.bus.state(), connected);
    }
}

// InitWait without features would be taken for a backend that has none.
TEST(netback_settle_features_are_written_first) {
    for (const Call call : each(Call::XsBegin, Call::XsWrite, Call::XsEnd)) {
        World world;
        Backend vif{world};
        Guest guest{world};
        guest.state(1);
        world.account.fail(call, 1, 1000);
        CHECK(vif.create());
        CHECK(world.bus.own.get("feature-sg") == nullptr);
        CHECK_EQ(world.bus.state(), 0u);
        CHECK(vif.world.ends.any_due() && world.ends.delay_ms(XPV_CHANGED) >= 1000);
        world.account.fail_nothing();
        vif.run_poke();
        CHECK_EQ(world.bus.own.number("feature-sg"), 1u);
        CHECK_EQ(world.bus.state(), init_wait);
    }
}

// A step's work is done before anybody sees that it is.
TEST(netback_settle_acts_before_it_shows) {
    struct Seen {
        World* world;
        Backend* vif;
        bool service = false;
        bool rings = true;
        static void look(void* context, Call call) {
            auto* me = static_cast<Seen*>(context);
            if (call != Call::Switch)
                return;
            me->service = me->vif->carrier;
            me->rings = me->world->account.ring_mappings.outstanding() != 0;
        }
    };
    World world;
    Backend vif{world};
    Guest guest{world};
    guest.offer();
    guest.hotplug();
    Seen seen{&world, &vif};
    world.account.at_each_call(Seen::look, &seen);
    CHECK(vif.create());
    CHECK_EQ(world.bus.state(), connected);
    CHECK(seen.service && seen.rings);
    guest.state(5);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), closing);
    CHECK(!seen.service && !seen.rings);
    world.account.at_each_call(nullptr, nullptr);
}

// Connected to our predecessor: it is said why nothing comes of it, and no longer once
// the frontend has connected to us.
TEST(netback_settle_to_a_predecessor) {
    World world;
    Backend vif{world};
    Guest guest{world};
    guest.hotplug();
    guest.state(4);
    vif.device = xpv_netback_create(&world.bus, &vif, &vif.settings);
    CHECK(vif.device != nullptr);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), closing);
    CHECK_EQ(world.bus.reports, 1u);
    CHECK(world.bus.reported);
    CHECK(world.log.has("reconnect by itself"));
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.reports, 1u);
    guest.state(1);
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), init_wait);
    CHECK(world.bus.reported);
    guest.offer();
    vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), connected);
    CHECK(!world.bus.reported);
    CHECK_EQ(world.bus.reports, 1u);
}

// A look that comes late finds nothing to do, whatever the frontend wants.
TEST(netback_settle_no_look_after_remove) {
    World world;
    Connected c{world};
    c.guest.state(6);
    c.vif.handle(XPV_REMOVE);
    CHECK_EQ(world.bus.state(), closed);
    const uint32_t switched = world.bus.switched;
    c.vif.world.ends.forget();
    for (const uint32_t state : each(1u, 4u, 6u, 0u)) {
        c.guest.state(state);
        c.vif.handle(XPV_CHANGED);
    }
    CHECK_EQ(world.bus.switched, switched);
    CHECK(!c.vif.world.ends.any_due());
}
