// SPDX-License-Identifier: GPL-2.0-only
// core/grant.hpp: a page leaves only when its grant is gone, and whatever fails,
// everything comes back exactly once (the world checks that at the end of each).
#include "core/grant.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::World;
using xpv::test::each;
using State = fake::OurGrants::State;

namespace {

constexpr uint16_t peer = World::peer_domid;

OwnedPage page() noexcept {
    Result<OwnedPage> result = OwnedPage::allocate(XPV_ALLOC_SLEEP);
    EXPECT(result.ok());
    return result.take();
}

Grant shared(Access access = Access::ReadWrite) noexcept {
    Result<Grant> result = Grant::share(peer, page(), access);
    EXPECT(result.ok());
    return result.take();
}

Result<void> map(MappedRing& ring, World& world, const uint32_t* refs,
                 uint32_t count = 1) noexcept {
    GrantRef typed[MappedRing::most];
    for (uint32_t i = 0; i < count; ++i)
        typed[i] = GrantRef{refs[i]};
    return ring.map(&world.bus, {typed, count});
}

} // namespace

TEST(grant_page_has_one_owner) {
    World world;
    OwnedPage a = page();
    xpv_page* const raw = a.get();
    OwnedPage b{move(a)};
    CHECK(!a);
    CHECK_EQ(b.get(), raw);
    OwnedPage c;
    c = move(b);
    CHECK(!b);
    CHECK_EQ(c.get(), raw);
    OwnedPage& same = c;
    c = move(same);
    CHECK_EQ(c.get(), raw);
    OwnedPage d = page();
    d = move(c); // frees what it had
    CHECK_EQ(world.account.pages.outstanding(), 1u);
    d.reset();
    d.reset();
    CHECK_EQ(world.account.pages.outstanding(), 0u);
}

TEST(grant_page_allocation_fails) {
    World world;
    world.account.fail(Call::PageAlloc);
    CHECK_EQ(OwnedPage::allocate(XPV_ALLOC_ATOMIC).error(), Error::NoMemory);
    const fake::In softirq{world.account, fake::Context::Softirq};
    CHECK(OwnedPage::allocate(XPV_ALLOC_ATOMIC).ok());
}

// Every byte that the peer gets to see is zero until it is written.
TEST(grant_shows_a_zeroed_page) {
    World world;
    {
        OwnedPage dirty = page();
        __builtin_memset(dirty.address(), 0x5a, page_size);
    }
    const Grant grant = shared();
    uint8_t byte = 1;
    for (uint32_t i = 0; i < page_size; ++i) {
        CHECK_EQ(world.grants.read(peer, grant.ref().number(), i, &byte, 1), GNTST_okay);
        CHECK_EQ(byte, 0);
    }
}

TEST(grant_is_for_one_domain) {
    World world;
    const Grant grant = shared();
    CHECK_EQ(world.grants.state(grant.ref().number()), State::Granted);
    CHECK_EQ(world.grants.domid(grant.ref().number()), peer);
    CHECK(!world.grants.readonly(grant.ref().number()));
    uint32_t word = 0xfeedbeef;
    CHECK_EQ(world.grants.write(peer, grant.ref().number(), 4092, &word, 4), GNTST_okay);
    CHECK_EQ(static_cast<const uint32_t*>(grant.address())[1023], 0xfeedbeefu);
    CHECK(world.grants.write(peer + 1, grant.ref().number(), 0, &word, 4) != GNTST_okay);
    CHECK(world.grants.read(peer + 1, grant.ref().number(), 0, &word, 4) != GNTST_okay);
}

TEST(grant_readonly) {
    World world;
    const Grant grant = shared(Access::ReadOnly);
    uint32_t word = 1;
    CHECK_EQ(world.grants.read(peer, grant.ref().number(), 0, &word, 4), GNTST_okay);
    CHECK(world.grants.write(peer, grant.ref().number(), 0, &word, 4) != GNTST_okay);
}

TEST(grant_revoke_gives_the_page_back) {
    World world;
    Grant grant = shared();
    const uint32_t ref = grant.ref().number();
    void* const address = grant.address();
    Result<OwnedPage> back = grant.revoke();
    CHECK(back.ok());
    CHECK(back.value().address() == address);
    CHECK(!grant);
    CHECK_EQ(world.grants.state(ref), State::Free);
    uint32_t word = 0;
    CHECK(world.grants.read(peer, ref, 0, &word, 4) != GNTST_okay);
    CHECK_EQ(world.account.pages.outstanding(), 1u); // ours still
}

// The peer holds on: reference and page stay out of every allocator until it lets go.
TEST(grant_revoke_is_deferred) {
    World world;
    Grant grant = shared();
    const uint32_t ref = grant.ref().number();
    world.grants.hold(ref);
    const Result<OwnedPage> back = grant.revoke();
    CHECK(!back.ok());
    CHECK_EQ(back.error(), Error::Busy);
    CHECK(!grant);
    CHECK_EQ(world.grants.state(ref), State::Deferred);
    CHECK_EQ(world.account.pages.outstanding(), 1u);
    CHECK_EQ(world.account.refs.outstanding(), 1u);
    world.grants.poll_deferred();
    CHECK_EQ(world.account.pages.outstanding(), 1u);
    for (int i = 0; i < 50; ++i)
        CHECK(shared().ref().number() != ref); // never reused meanwhile
    world.grants.let_go(ref);
    world.grants.poll_deferred();
    CHECK_EQ(world.account.pages.outstanding(), 0u);
    CHECK_EQ(world.account.refs.outstanding(), 0u);
}

// Revoking what is empty touches no reference, least of all the former one.
TEST(grant_revoke_of_nothing) {
    World world;
    Grant grant = shared();
    CHECK(grant.revoke().ok());
    const Grant other = shared(); // likely the same reference again
    CHECK(!grant.revoke().take());
    CHECK_EQ(world.grants.state(other.ref().number()), State::Granted);
    Grant never;
    CHECK(!never.revoke().take());
}

TEST(grant_destructor_revokes_or_defers) {
    World world;
    uint32_t held = 0;
    {
        const Grant free = shared();
        const Grant busy = shared();
        held = busy.ref().number();
        world.grants.hold(held);
    }
    CHECK_EQ(world.account.pages.outstanding(), 1u);
    CHECK_EQ(world.account.deferred.outstanding(), 1u);
    CHECK_EQ(world.grants.state(held), State::Deferred);
}

TEST(grant_moves) {
    World world;
    Grant a = shared();
    const uint32_t ref = a.ref().number();
    Grant b{move(a)};
    CHECK(!a);
    CHECK_EQ(b.ref().number(), ref);
    Grant& same = b;
    b = move(same);
    CHECK(b ? true : false);
    CHECK_EQ(world.grants.state(ref), State::Granted);
    Grant c = shared();
    const uint32_t other = c.ref().number();
    c = move(b); // gives up what it had
    CHECK_EQ(world.grants.state(other), State::Free);
    CHECK_EQ(c.ref().number(), ref);
    Grant d = shared();
    const uint32_t held = d.ref().number();
    world.grants.hold(held);
    d = move(c);
    CHECK_EQ(world.grants.state(held), State::Deferred);
    CHECK_EQ(d.ref().number(), ref);
}

TEST(grant_share_fails) {
    World world;
    world.account.fail(Call::Reserve);
    CHECK_EQ(Grant::share(peer, page(), Access::ReadWrite).error(), Error::NoSpace);
    CHECK_EQ(world.account.outstanding(), 0u); // the page went, too
    world.grants.capacity = 1;
    const Grant only = shared();
    CHECK_EQ(Grant::share(peer, page(), Access::ReadWrite).error(), Error::NoSpace);
}

TEST(grant_refs_come_and_go) {
    World world;
    GrantRefs refs;
    CHECK_EQ(refs.count(), 0u);
    CHECK(refs.reserve(256).ok());
    CHECK_EQ(refs.count(), 256u);
    CHECK_EQ(world.account.refs.outstanding(), 256u);
    for (uint32_t i = 0; i < 256; ++i) {
        CHECK(!refs.lost(i));
        CHECK_EQ(world.grants.state(refs.raw(i)), State::Reserved);
        for (uint32_t j = 0; j < i; ++j)
            CHECK(refs[i] != refs[j]);
    }
    CHECK(refs.reserve(8).ok()); // gives up the former ones
    CHECK_EQ(world.account.refs.outstanding(), 8u);
    refs.release();
    refs.release();
    CHECK_EQ(world.account.refs.outstanding(), 0u);
    CHECK_EQ(refs.count(), 0u);
}

TEST(grant_refs_failures_leave_nothing) {
    World world;
    GrantRefs refs;
    world.account.fail(Call::Alloc);
    CHECK_EQ(refs.reserve(16).error(), Error::NoMemory);
    CHECK_EQ(refs.count(), 0u);
    world.account.fail(Call::Reserve);
    CHECK_EQ(refs.reserve(16).error(), Error::NoSpace);
    CHECK_EQ(refs.count(), 0u);
    world.grants.capacity = 15;
    CHECK_EQ(refs.reserve(16).error(), Error::NoSpace);
    CHECK_EQ(world.account.outstanding(), 0u);
    CHECK(refs.reserve(15).ok());
    CHECK(!refs.reserve(16).ok()); // the former ones went first
    CHECK_EQ(world.account.outstanding(), 0u);
}

// For good: the reference is the kernel's again or the deferred list's, and the log hears
// nothing of it.
TEST(grant_refs_end_for_good) {
    World world;
    GrantRefs refs;
    CHECK(refs.reserve(4).ok());
    OwnedPage pages[3];
    uint32_t ref[3];
    for (uint32_t i = 0; i < 3; ++i) {
        pages[i] = page();
        xpv_page* const raw = pages[i].get();
        ref[i] = refs.raw(i);
        xpv_gnttab_grant(peer, 1, &ref[i], &raw, false);
    }
    world.grants.hold(ref[1]);
    for (uint32_t i = 0; i < 3; ++i) {
        CHECK_EQ(refs.end(i), i != 1);
        CHECK_EQ(refs.lost(i), i != 1);
        CHECK(world.grants.state(ref[i]) == (i == 1 ? State::Granted : State::Free));
        if (i == 1)
            refs.defer(i, pages[i].release());
        CHECK(refs.lost(i));
    }
    refs.release(); // the fourth alone
    CHECK_EQ(world.account.refs.outstanding(), 1u);
    CHECK_EQ(world.grants.loud, 0u);
    world.settle();
    CHECK_EQ(world.account.refs.outstanding(), 0u);
}

TEST(grant_refs_lost_to_the_peer) {
    World world;
    GrantRefs refs;
    CHECK(refs.reserve(4).ok());
    OwnedPage pages[4];
    for (uint32_t i = 0; i < 4; ++i) {
        pages[i] = page();
        xpv_page* const raw = pages[i].get();
        const uint32_t ref = refs.raw(i);
        xpv_gnttab_grant(peer, 1, &ref, &raw, false);
    }
    const uint32_t held = refs.raw(2);
    world.grants.hold(held);
    uint32_t all[4];
    bool ended[4];
    for (uint32_t i = 0; i < 4; ++i)
        all[i] = refs.raw(i);
    CHECK_EQ(xpv_gnttab_end(4, all, ended), 3u);
    for (uint32_t i = 0; i < 4; ++i) {
        CHECK_EQ(ended[i], i != 2);
        if (!ended[i])
            refs.defer(i, pages[i].release());
        CHECK_EQ(refs.lost(i), i == 2);
    }
    CHECK_EQ(world.grants.state(held), State::Deferred);
    refs.release(); // not the lost one
    CHECK_EQ(world.grants.state(held), State::Deferred);
    CHECK_EQ(world.account.refs.outstanding(), 1u);
    CHECK(refs.reserve(4).ok());
    for (uint32_t i = 0; i < 4; ++i)
        CHECK(!refs.lost(i) && refs.raw(i) != held);
}

TEST(grant_ring_of_the_peer) {
    World world;
    uint32_t refs[16];
    for (uint32_t count : each(1u, 2u, 16u)) {
        void* const theirs = world.peers.share_ring(peer, count, refs);
        MappedRing ring;
        CHECK(!ring);
        CHECK(map(ring, world, refs, count).ok());
        CHECK(ring.address() == theirs);
        CHECK(!world.peers.revoke(refs[count - 1]));
        ring.unmap();
        CHECK(!ring);
        ring.unmap();
        CHECK(world.peers.revoke(refs[0]));
        CHECK(!map(ring, world, refs, count).ok()); // not granted any more
        CHECK(!ring);
    }
}

TEST(grant_ring_references_are_the_peers_to_lie_about) {
    World world;
    MappedRing ring;
    const uint32_t foreign = world.peers.share(peer + 1);
    const uint32_t readonly = world.peers.share(peer, true);
    for (uint32_t ref : each(0u, 7u, foreign, readonly, 100000u, 0xffffffffu)) {
        CHECK(!map(ring, world, &ref).ok());
        CHECK(!ring);
    }
    const uint32_t good = world.peers.share(peer);
    world.account.fail(Call::RingMap);
    CHECK_EQ(map(ring, world, &good).error(), Error::NoMemory);
    CHECK(map(ring, world, &good).ok());
    // A map that fails gives up the former one.
    world.account.fail(Call::RingMap);
    CHECK(!map(ring, world, &good).ok());
    CHECK(!ring);
    CHECK_EQ(world.peers.mapped(good), 0u);
}

// What a handshake does, with one failure at each place in turn.
TEST(grant_nothing_leaks_wherever_it_fails) {
    for (bool hold : each(false, true)) {
        uint32_t failures = 0;
        for (uint32_t nth = 1;; ++nth) {
            World world;
            world.account.fail_nth(nth);
            const uint32_t theirs = world.peers.share(peer);
            const auto all = [&]() -> Result<void> {
                Grant tx;
                Grant rx;
                GrantRefs refs;
                MappedRing ring;
                for (Grant* grant : each(&tx, &rx)) {
                    OwnedPage fresh;
                    XPV_TRY_SET(fresh, OwnedPage::allocate(XPV_ALLOC_SLEEP));
                    XPV_TRY_SET(*grant, Grant::share(peer, move(fresh), Access::ReadWrite));
                    if (hold)
                        world.grants.hold(grant->ref().number());
                }
                XPV_TRY(refs.reserve(32));
                return map(ring, world, &theirs);
            };
            const bool ok = all().ok();
            CHECK_EQ(ok, world.account.injected() == 0);
            CHECK(world.clean());
            if (ok)
                break;
            ++failures;
        }
        CHECK_EQ(failures, 7u); // two pages and their references, memory, references, map
    }
}
