// SPDX-License-Identifier: GPL-2.0-only
// core/end.hpp with the least that a driver has to write: one ring page, one channel.
#include "core/end.hpp"
#include "core/evtchn.hpp"
#include "core/grant.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::World;
using test::each;

namespace {

// What both toys count.
struct Counts {
    uint32_t connects = 0;
    uint32_t quiesced = 0;
    uint32_t announced = 0;
};

class ToyFront : public End<ToyFront, Role::Front>, public Counts {
public:
    using End::End;

    Result<void> connect() noexcept {
        ++connects;
        OwnedPage page;
        XPV_TRY_SET(page, OwnedPage::allocate(XPV_ALLOC_SLEEP));
        XPV_TRY_SET(ring_, Grant::share(peer(), move(page), Access::ReadWrite));
        XPV_TRY(channel_.offer(bus(), "toy", on_event, this));
        return store().transact([this]() noexcept -> Result<void> {
            XPV_TRY(store().write("ring-ref", ring_.ref()));
            return store().write("event-channel", channel_.port());
        });
    }
    void quiesce() noexcept { ++quiesced; }
    void disconnect() noexcept {
        channel_.unbind();
        ring_ = Grant{};
    }
    void announce() noexcept { ++announced; }

    bool has_ring() const noexcept { return static_cast<bool>(ring_); }

private:
    static void on_event(void*) noexcept {}

    Grant ring_;
    EventChannel channel_;
};

class ToyBack : public End<ToyBack, Role::Back>, public Counts {
public:
    using End::End;

    Result<void> advertise() noexcept {
        return store().transact([this]() noexcept { return store().write("feature-toy", 1); });
    }
    Result<void> connect() noexcept {
        ++connects;
        uint32_t ref = 0;
        uint32_t port = 0;
        XPV_TRY_SET(ref, store().require(XPV_XS_PEER, "ring-ref", 0, UINT32_MAX));
        XPV_TRY_SET(port, store().require(XPV_XS_PEER, "event-channel", 1, last_port));
        const GrantRef granted{ref};
        XPV_TRY(ring_.map(bus(), Span<const GrantRef>{&granted, 1}));
        return channel_.bind(bus(), Port{port}, "toy", on_event, this);
    }
    void disconnect() noexcept {
        channel_.unbind();
        ring_.unmap();
    }
    void announce() noexcept { ++announced; }

    bool has_ring() const noexcept { return static_cast<bool>(ring_); }

private:
    static void on_event(void*) noexcept {}

    MappedRing ring_;
    EventChannel channel_;
};

// A device and its other end's folder.
template <class Toy> struct Bench : NoCopy {
    World world;
    Toy toy{&world.bus};

    Bench() noexcept {
        world.bus.peer.set("online", 1);
        world.bus.own.set("hotplug-status", "connected");
    }
    ~Bench() {
        toy.handle(XPV_REMOVE);
        EXPECT(!toy.has_ring());
    }
    int peer(uint32_t state) noexcept {
        world.bus.peer.set("state", state);
        return toy.handle(XPV_CHANGED);
    }
    void later() noexcept {
        world.ends.run([this](xpv_event event) noexcept { (void)toy.handle(event); });
    }
    // A backend that behaves lets go when it is waited for.
    void backend_lets_go() noexcept {
        world.ends.on_wait(
            [](void* context, uint16_t) noexcept {
                auto& bench = *static_cast<Bench*>(context);
                bench.world.grants.let_go_all();
                const bool closed = bench.world.bus.state() == XenbusStateClosed;
                bench.world.bus.peer.set("state", closed ? XenbusStateClosed : XenbusStateClosing);
                return true;
            },
            this);
    }
    // Rings that a frontend would have made.
    void offer() noexcept {
        world.bus.peer.set("ring-ref", world.peers.share(World::peer_domid));
        world.bus.peer.set("event-channel", world.events.offer_by_peer());
    }
};

} // namespace

TEST(end_front_connects) {
    Bench<ToyFront> b;
    CHECK_EQ(b.toy.handle(XPV_PROBED), 0);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateInitialising});
    CHECK_EQ(b.peer(XenbusStateInitWait), 0);
    CHECK(b.toy.has_ring());
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateConnected});
    CHECK_EQ(b.toy.announced, 0u);
    CHECK_EQ(b.peer(XenbusStateConnected), 0);
    CHECK_EQ(b.peer(XenbusStateConnected), 0);
    CHECK_EQ(b.toy.announced, 1u);
    CHECK_EQ(b.toy.connects, 1u);
    CHECK_EQ(b.toy.handle(XPV_SUSPEND), 0); // called off
    CHECK_EQ(b.toy.phase(), Phase::Connected);
    // The backend restarts.
    b.peer(XenbusStateClosing);
    CHECK_EQ(b.toy.quiesced, 1u);
    b.peer(XenbusStateClosed);
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.toy.announced, 2u);
    CHECK_EQ(b.world.ends.reports, 0u);
    CHECK(!b.world.ends.any_due());
}

TEST(end_front_that_is_broken) {
    Bench<ToyFront> b;
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    b.toy.faults().raise("responses beyond requests", QueueIndex{3}, 77);
    b.toy.faults().raise("and its echo", QueueIndex{0}, 0);
    CHECK(b.toy.broken());
    CHECK(b.toy.has_ring()); // whoever found it may be in an interrupt
    CHECK_EQ(b.world.ends.asked(XPV_BROKE), 1u);
    b.later();
    CHECK(!b.toy.has_ring());
    CHECK(!b.toy.broken());
    CHECK_EQ(b.world.ends.reports, 1u);
    CHECK_STREQ(b.world.ends.reported(), "the other end broke the protocol: responses beyond "
                                         "requests (queue 3, value 77)");
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosing});
    CHECK(b.world.bus.reported);
    // A fault whose connection is over is no news.
    CHECK_EQ(b.toy.handle(XPV_BROKE), 0);
    CHECK_EQ(b.world.ends.reports, 1u);
    b.peer(XenbusStateClosed);
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.toy.announced, 2u);
    CHECK(!b.world.bus.reported);         // in service again: the toolstack's node is taken back
    CHECK_EQ(b.toy.handle(XPV_BROKE), 0); // the work comes late
    CHECK(b.toy.has_ring());
    CHECK_EQ(b.toy.phase(), Phase::Connected);
}

// One that breaks the protocol again and again: at first we come back at once, then in time.
TEST(end_front_comes_back_in_time) {
    Bench<ToyFront> b;
    uint64_t waited = 0;
    for (uint32_t i = 0; i < 100; ++i) {
        b.peer(XenbusStateInitWait);
        if (!b.toy.has_ring()) {
            CHECK(i >= 16);
            CHECK(b.world.ends.due(XPV_CHANGED));
            const uint32_t wait_ms = b.world.ends.longest_ms();
            CHECK(wait_ms > 0 && wait_ms <= 250);
            b.world.now_ms += wait_ms;
            waited += wait_ms;
            b.later();
        }
        CHECK(b.toy.has_ring());
        b.peer(XenbusStateConnected);
        b.toy.faults().raise("again", QueueIndex{0}, i);
        b.later();
        CHECK(!b.toy.has_ring());
        b.peer(XenbusStateClosed);
    }
    CHECK_EQ(waited, uint64_t{(100 - 16) * 250});
}

// Of our own will: the backend lets go before the grants end.
TEST(end_front_renews) {
    Bench<ToyFront> b;
    b.backend_lets_go();
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    b.world.grants.hold(b.world.bus.own.number("ring-ref"));
    CHECK_EQ(b.toy.handle(XPV_RENEW), 0);
    CHECK_EQ(b.toy.quiesced, 1u);
    CHECK(!b.toy.has_ring());
    CHECK_EQ(b.world.account.calls(Call::Defer), 0u);
    b.peer(XenbusStateClosed);
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.toy.announced, 2u);
    // A backend that does not move costs a bounded wait; what it holds is deferred.
    b.world.ends.on_wait(nullptr, nullptr);
    b.world.grants.hold(b.world.bus.own.number("ring-ref"));
    CHECK_EQ(b.toy.handle(XPV_RENEW), 0);
    CHECK_EQ(b.world.account.calls(Call::Defer), 1u);
    CHECK_EQ(b.toy.phase(), Phase::Closed);
    // Without rings there is nothing to renew.
    CHECK_EQ(b.toy.handle(XPV_RENEW), 0);
    CHECK_EQ(b.toy.phase(), Phase::Closed);
}

TEST(end_front_leaves) {
    Bench<ToyFront> b;
    b.backend_lets_go();
    b.peer(XenbusStateInitWait);
    b.peer(XenbusStateConnected);
    b.world.grants.hold(b.world.bus.own.number("ring-ref"));
    CHECK_EQ(b.toy.handle(XPV_REMOVE), 0);
    CHECK(!b.toy.has_ring());
    CHECK_EQ(b.world.account.calls(Call::Defer), 0u);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
    b.peer(XenbusStateInitWait); // nothing moves it any more
    CHECK_EQ(b.toy.connects, 1u);
    for (const xpv_event event : each(XPV_BROKE, XPV_RENEW, XPV_RESUMED, XPV_REMOVE))
        CHECK_EQ(b.toy.handle(event), 0);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
}

// Xenstore does not answer, so nobody knows what the other end does: nothing stays of ours.
TEST(end_leaves_though_xenstore_is_silent) {
    Bench<ToyFront> front;
    front.peer(XenbusStateInitWait);
    front.peer(XenbusStateConnected);
    CHECK(front.toy.has_ring());
    front.world.account.fail(Call::XsRead, 1, 1000);
    front.toy.handle(XPV_REMOVE);
    CHECK(!front.toy.has_ring());
    front.world.account.fail_nothing();
}

// Another life: nothing is said to a backend that is another one, and no wait.
TEST(end_front_is_resumed) {
    for (const bool broken : each(false, true)) {
        Bench<ToyFront> b;
        b.peer(XenbusStateInitWait);
        b.peer(XenbusStateConnected);
        if (broken)
            b.toy.faults().raise("something", QueueIndex{0}, 0);
        const uint32_t said = b.world.bus.switched;
        b.toy.handle(XPV_SUSPEND);
        b.toy.handle(XPV_RESUMED);
        CHECK(!b.toy.has_ring());
        CHECK_EQ(b.world.bus.switched, said);
        CHECK_EQ(b.world.ends.waits, 0u);
        b.later(); // the old life's fault
        CHECK_EQ(b.world.ends.reports, 0u);
        b.peer(XenbusStateInitWait);
        b.peer(XenbusStateConnected);
        CHECK_EQ(b.toy.announced, 2u);
    }
}

TEST(end_front_fails_at_each_step) {
    uint32_t failures = 0;
    uint32_t retries = 0;
    for (uint32_t nth = 1; nth < 100; ++nth) {
        Bench<ToyFront> b;
        b.world.account.fail_nth(nth);
        b.toy.handle(XPV_PROBED);
        const int code = b.peer(XenbusStateInitWait);
        const bool injected = b.world.account.injected() != 0;
        b.world.account.fail_nothing();
        if (!injected)
            break;
        if (code != 0) {
            ++failures;
            // Attached: xenstore did not answer afterwards.
            CHECK_EQ(b.toy.has_ring(), b.toy.phase() == Phase::Attached);
            CHECK_EQ(b.world.account.grants.outstanding(), b.toy.has_ring());
            CHECK_EQ(b.world.account.channels.outstanding(), b.toy.has_ring());
            const bool shortage = code == -12 || code == -28 || code == -11;
            CHECK_EQ(b.world.ends.due(XPV_CHANGED), shortage);
            retries += shortage;
        }
        b.toy.handle(XPV_CHANGED); // the retry, or the backend's next word
        CHECK(b.toy.has_ring());
        CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateConnected});
    }
    CHECK(failures > 5);
    CHECK(retries > 2);
}

TEST(end_back_connects) {
    Bench<ToyBack> b;
    b.world.bus.own.set("hotplug-status", "connecting");
    CHECK_EQ(b.peer(XenbusStateInitialising), 0);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateInitWait});
    CHECK_EQ(b.world.bus.own.number("feature-toy"), 1u);
    b.offer();
    CHECK_EQ(b.peer(XenbusStateConnected), 0);
    CHECK(b.toy.has_ring());
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateInitWait}); // the script is still to come
    b.world.bus.own.set("hotplug-status", "connected");
    CHECK_EQ(b.toy.handle(XPV_CHANGED), 0);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateConnected});
    CHECK_EQ(b.toy.announced, 1u);
    // The frontend goes and comes.
    for (const uint32_t state :
         each(XenbusStateClosing, XenbusStateClosed, XenbusStateInitialising))
        b.peer(static_cast<uint32_t>(state));
    CHECK(!b.toy.has_ring());
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateInitWait});
    b.offer();
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.toy.announced, 2u);
}

TEST(end_back_that_is_broken) {
    Bench<ToyBack> b;
    b.peer(XenbusStateInitialising);
    b.offer();
    b.peer(XenbusStateConnected);
    b.toy.faults().raise("an endless chain", QueueIndex{1}, 65);
    CHECK_EQ(b.toy.handle(XPV_CHANGED), 0); // whatever comes first
    b.later();
    CHECK(!b.toy.has_ring());
    CHECK_EQ(b.world.ends.reports, 1u);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosing});
    CHECK_EQ(b.toy.handle(XPV_CHANGED), 0); // it still says Connected: not again
    CHECK_EQ(b.toy.connects, 1u);
    b.peer(XenbusStateInitialising);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateInitWait});
}

// Rings that cannot be used: told once, and the frontend may try others.
TEST(end_back_cannot_connect) {
    Bench<ToyBack> b;
    b.peer(XenbusStateInitialising);
    b.world.bus.peer.set("ring-ref", "rubbish");
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.world.ends.reports, 1u);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosing});
    b.toy.handle(XPV_CHANGED);
    CHECK_EQ(b.toy.connects, 1u);
    b.peer(XenbusStateClosed);
    b.peer(XenbusStateInitialising);
    b.offer();
    b.peer(XenbusStateConnected);
    CHECK_EQ(b.toy.announced, 1u);
    CHECK_EQ(b.world.ends.reports, 1u);
}

TEST(end_back_fails_at_each_step) {
    uint32_t retries = 0;
    for (uint32_t nth = 1; nth < 100; ++nth) {
        Bench<ToyBack> b;
        b.world.account.fail_nth(nth);
        (void)b.peer(XenbusStateInitialising);
        b.offer();
        (void)b.peer(XenbusStateConnected);
        const bool injected = b.world.account.injected() != 0;
        b.world.account.fail_nothing();
        if (!injected)
            break;
        // InitWait is never shown without what it promises.
        if (b.world.bus.state() == XenbusStateInitWait)
            CHECK_EQ(b.world.bus.own.number("feature-toy"), 1u);
        retries += b.world.ends.due(XPV_CHANGED);
        b.later();
        // A frontend that follows our states gets there.
        for (uint32_t i = 0; i < 8 && b.toy.phase() != Phase::Connected; ++i) {
            switch (b.world.bus.state()) {
            case XenbusStateInitWait:
                b.offer();
                b.peer(XenbusStateConnected);
                break;
            case XenbusStateClosing:
                b.peer(XenbusStateClosed);
                break;
            default:
                b.peer(XenbusStateInitialising);
                break;
            }
        }
        CHECK_EQ(b.toy.phase(), Phase::Connected);
        // Once more, if it could not be shown.
        CHECK(b.toy.announced == 1 || b.toy.announced == 2);
    }
    CHECK(retries > 2);
}

// The toolstack is: we close and stay, it removes our folder.
TEST(end_back_is_done_with) {
    Bench<ToyBack> b;
    b.peer(XenbusStateInitialising);
    b.offer();
    b.peer(XenbusStateConnected);
    b.world.bus.own.set("online", "0");
    b.toy.handle(XPV_CHANGED);
    b.peer(XenbusStateClosed);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
    b.peer(XenbusStateInitialising);
    b.world.bus.peer.clear();
    b.toy.handle(XPV_CHANGED);
    CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
    CHECK_EQ(b.toy.connects, 1u);
}

// The other end's folder vanishes, maybe with its domain, which may still map what it was
// granted: whatever xenstore says of it to this domain, the end settles, and does not ask again.
TEST(end_front_whose_backend_is_gone) {
    for (const int gone : each(-2, -13)) {
        Bench<ToyFront> b;
        b.world.bus.gone = gone;
        b.peer(XenbusStateInitWait);
        b.peer(XenbusStateConnected);
        b.world.grants.hold(b.world.bus.own.number("ring-ref"));
        b.world.bus.peer.clear();
        for (uint32_t i = 0; i < 2; ++i) {
            CHECK_EQ(b.toy.handle(XPV_CHANGED), 0);
            CHECK(!b.toy.has_ring());
            CHECK_EQ(b.world.account.calls(Call::Defer), 1u);
            CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
            CHECK_EQ(b.world.ends.waits, 0u);
            CHECK(!b.world.ends.any_due());
            CHECK_EQ(b.world.log.lines(), 1u);
        }
    }
}

TEST(end_back_whose_frontend_is_gone) {
    for (const int gone : each(-2, -13)) {
        Bench<ToyBack> b;
        b.world.bus.gone = gone;
        b.peer(XenbusStateInitialising);
        b.offer();
        b.peer(XenbusStateConnected);
        CHECK(b.toy.has_ring());
        b.world.bus.peer.clear();
        CHECK_EQ(b.toy.handle(XPV_CHANGED), 0);
        CHECK(!b.toy.has_ring());
        CHECK_EQ(b.world.bus.state(), uint32_t{XenbusStateClosed});
        CHECK(!b.world.ends.any_due());
        CHECK_EQ(b.world.log.lines(), 0u); // it was its own to leave
        // One that only hid it, which a guest can do from all but dom0, may come back.
        b.peer(XenbusStateInitialising);
        b.offer();
        b.peer(XenbusStateConnected);
        CHECK_EQ(b.toy.announced, 2u);
    }
}

// Any story of states and events, pseudorandom: no call is endless, the driver's calls
// come in pairs, and a well-behaved other end afterwards gets its service.
template <class Toy> static void any_story(uint32_t seed, uint32_t wanted) {
    Bench<Toy> b;
    uint32_t random = seed * 2654435761U + 1;
    const auto below = [&random](uint32_t n) noexcept {
        random = random * 1664525 + 1013904223;
        return (random >> 16) % n;
    };
    for (uint32_t i = 0; i < 60; ++i) {
        b.world.bus.peer.set("state", below(9));
        b.offer();
        if (below(8) == 0)
            b.toy.faults().raise("story", QueueIndex{0}, i);
        constexpr xpv_event stories[] = {XPV_CHANGED, XPV_CHANGED, XPV_CHANGED,
                                         XPV_BROKE,   XPV_RENEW,   XPV_RESUMED};
        (void)b.toy.handle(stories[below(6)]);
        if (b.toy.phase() != Phase::Attached && b.toy.phase() != Phase::Connected &&
            b.toy.phase() != Phase::Closing)
            CHECK(!b.toy.has_ring() || b.toy.phase() == Phase::Closed);
    }
    b.later();
    for (uint32_t i = 0; i < 12 && b.toy.phase() != Phase::Connected; ++i) {
        static constexpr uint32_t answer[][2] = {
            // ours: a backend's, a frontend's
            {XenbusStateInitWait, XenbusStateInitialising},  // Unknown
            {XenbusStateInitWait, XenbusStateInitialising},  // Initialising
            {XenbusStateInitialising, XenbusStateConnected}, // InitWait
            {XenbusStateInitWait, XenbusStateConnected},     // Initialised
            {XenbusStateConnected, XenbusStateConnected},    // Connected
            {XenbusStateClosed, XenbusStateClosed},          // Closing
            {XenbusStateInitWait, XenbusStateInitialising},  // Closed
        };
        b.offer();
        b.peer(answer[wire_state(wanted == 0 ? Role::Front : Role::Back, b.toy.phase())][wanted]);
    }
    CHECK_EQ(b.toy.phase(), Phase::Connected);
}

TEST(end_both_roles_end_any_story) {
    for (uint32_t seed = 1; seed <= 200; ++seed) {
        any_story<ToyFront>(seed, 0);
        any_story<ToyBack>(seed, 1);
    }
}
