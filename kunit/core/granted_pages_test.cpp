// SPDX-License-Identifier: GPL-2.0-only
// core/granted_pages.hpp: whatever the peer holds and whatever fails, each page comes back
// or is deferred, once, and the counts say so.
#include "core/granted_pages.hpp"
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
constexpr uint32_t count = 12;
using Pages = GrantedPages<count, 8>;

xpv_page* page() noexcept { return xpv_page_alloc(XPV_ALLOC_SLEEP); }

// What close() hands out: pages that came back are freed.
struct Sink {
    uint32_t back = 0;
    uint32_t held = 0;
    Pages::Closed close(Pages& pages) noexcept {
        return pages.close([this](xpv_page* out, bool ended) noexcept {
            ++(ended ? back : held);
            if (ended)
                xpv_page_free(out);
        });
    }
};

// Fresh pages at these indices.
void fill(Pages& pages, Span<const Pages::Index> at, xpv_page** fresh) noexcept {
    for (uint32_t k = 0; k < at.size(); ++k)
        fresh[k] = page();
    pages.grant(at, fresh);
}

} // namespace

TEST(granted_pages_are_shared_by_index) {
    for (Access access : each(Access::ReadOnly, Access::ReadWrite)) {
        World world;
        Pages pages;
        CHECK(pages.open(peer, access).ok());
        CHECK_EQ(world.account.refs.outstanding(), count);
        xpv_page* fresh[3];
        const Pages::Index at[] = {7, 0, 4};
        fill(pages, at, fresh);
        CHECK_EQ(world.account.calls(Call::Grant), 1u);
        pages.grant(11, page());
        for (uint32_t k = 0; k < 3; ++k) {
            CHECK(pages.page(at[k]) == fresh[k]);
            CHECK(world.grants.page(pages.ref(at[k]).number()) == fresh[k]);
        }
        for (uint32_t i : each(7u, 0u, 4u, 11u)) {
            CHECK_EQ(world.grants.domid(pages.ref(i).number()), peer);
            CHECK_EQ(world.grants.readonly(pages.ref(i).number()), access == Access::ReadOnly);
            CHECK(world.grants.page(pages.ref(i).number()) == pages.page(i));
        }
        CHECK(pages.page(1) == nullptr);
        CHECK_EQ(world.grants.state(pages.ref(1).number()), State::Reserved);
        Sink sink;
        const Pages::Closed closed = sink.close(pages);
        CHECK_EQ(closed.ended, 4u);
        CHECK_EQ(closed.deferred, 0u);
        CHECK_EQ(sink.back, 4u);
        CHECK_EQ(world.account.outstanding(), 0u);
        CHECK_EQ(sink.close(pages).ended, 0u);
        CHECK_EQ(sink.back, 4u);
    }
}

// A batch that ended is the caller's: its indices are free for other pages at once.
TEST(granted_pages_end_in_one_call) {
    World world;
    Pages pages;
    CHECK(pages.open(peer, Access::ReadWrite).ok());
    const Pages::Index at[] = {3, 2, 9};
    xpv_page* fresh[3];
    for (uint32_t round = 0; round < 3; ++round) {
        fill(pages, at, fresh);
        const uint32_t calls = world.account.calls(Call::End);
        CHECK_EQ(pages.end(at), 3u);
        CHECK_EQ(world.account.calls(Call::End), calls + 1);
        for (uint32_t k = 0; k < 3; ++k) {
            CHECK(pages.page(at[k]) == nullptr);
            CHECK_EQ(world.grants.state(pages.ref(at[k]).number()), State::Reserved);
            xpv_page_free(fresh[k]);
        }
    }
    CHECK_EQ(pages.end({}), 0u);
    Sink sink;
    CHECK_EQ(sink.close(pages).ended, 0u);
    CHECK_EQ(sink.back, 0u);
}

// The peer holds some of a batch: no page leaves before close(), which counts those only
// that end() did not.
TEST(granted_pages_held_in_a_batch) {
    World world;
    Pages pages;
    CHECK(pages.open(peer, Access::ReadWrite).ok());
    const Pages::Index at[] = {5, 6, 7, 8};
    xpv_page* fresh[4];
    fill(pages, at, fresh);
    pages.grant(0, page());
    const uint32_t held[] = {pages.ref(6).number(), pages.ref(8).number()};
    for (const uint32_t ref : held)
        world.grants.hold(ref);
    CHECK_EQ(pages.end(at), 2u);
    CHECK_EQ(world.grants.loud, 2u);
    for (uint32_t k = 0; k < 4; ++k)
        CHECK(pages.page(at[k]) == fresh[k]);
    CHECK_EQ(world.account.pages.outstanding(), 5u);
    world.grants.let_go(held[1]); // meanwhile
    Sink sink;
    const Pages::Closed closed = sink.close(pages);
    CHECK_EQ(closed.ended, 2u); // the one that was let go of, and index 0
    CHECK_EQ(closed.deferred, 1u);
    CHECK_EQ(sink.back, 4u);
    CHECK_EQ(sink.held, 1u);
    CHECK_EQ(world.grants.state(held[0]), State::Deferred);
    CHECK_EQ(world.account.refs.outstanding(), 1u);
    CHECK_EQ(world.account.pages.outstanding(), 1u);
}

// One that holds everything, for ever, with and without somebody who closes.
TEST(granted_pages_are_deferred) {
    for (bool close : each(true, false)) {
        World world;
        {
            Pages pages;
            CHECK(pages.open(peer, Access::ReadOnly).ok());
            world.grants.hold_all = true;
            pages.grant(2, page());
            pages.grant(3, page());
            world.grants.let_go(pages.ref(3).number());
            if (close) {
                Sink sink;
                const Pages::Closed closed = sink.close(pages);
                CHECK_EQ(closed.ended, 1u);
                CHECK_EQ(closed.deferred, 1u);
                CHECK_EQ(sink.held, 1u);
                world.grants.hold_all = false;
                CHECK(pages.open(peer, Access::ReadOnly).ok()); // another life
                CHECK(pages.page(2) == nullptr);
            }
        }
        CHECK_EQ(world.grants.loud, 0u);
        CHECK_EQ(world.account.deferred.outstanding(), 1u);
        CHECK_EQ(world.account.pages.outstanding(), 1u);
        CHECK_EQ(world.account.refs.outstanding(), 1u);
        CHECK(world.clean());
    }
}

TEST(granted_pages_failures_leave_nothing) {
    uint32_t failures = 0;
    for (uint32_t nth = 1;; ++nth) {
        World world;
        world.account.fail_nth(nth);
        Pages pages;
        const bool ok = pages.open(peer, Access::ReadOnly).ok();
        CHECK_EQ(ok, world.account.injected() == 0);
        Sink sink;
        CHECK_EQ(sink.close(pages).ended, 0u);
        CHECK_EQ(world.account.outstanding(), 0u);
        if (ok)
            break;
        ++failures;
    }
    CHECK_EQ(failures, 2u); // memory and references
}

// ---- one slot of a table -----------------------------------------------------------

TEST(granted_pages_slot_lives) {
    World world;
    GrantSlot slot;
    CHECK(!slot.refers() && !slot.granted());
    CHECK(slot.end());
    world.account.fail(Call::Reserve);
    CHECK(!slot.refer());
    CHECK(!slot.refers());
    CHECK(slot.refer());
    const uint32_t ref = slot.ref().number();
    CHECK(slot.refer());
    CHECK_EQ(slot.ref().number(), ref); // the same
    CHECK(slot.end());                  // it grants nothing
    CHECK(slot.refers());
    xpv_page* const own = page();
    slot.grant(peer, own, Access::ReadOnly);
    CHECK(slot.granted());
    CHECK(world.grants.readonly(ref));
    world.grants.hold(ref);
    CHECK(!slot.end());
    CHECK(slot.granted());
    CHECK_EQ(world.grants.loud, 0u);
    world.grants.let_go(ref);
    CHECK(slot.end());
    CHECK(!slot.refers());
    CHECK(slot.page() == own);
    CHECK(slot.end()); // it did
    CHECK_EQ(world.grants.state(ref), State::Free);
    CHECK(slot.refer()); // once more, the same page
    slot.grant(peer, slot.page(), Access::ReadWrite);
    CHECK(!world.grants.readonly(slot.ref().number()));
    slot.close();
    CHECK(!slot.refers() && slot.page() == nullptr);
    CHECK_EQ(world.account.outstanding(), 0u);
    CHECK(slot.refer());
    slot.unrefer();
    CHECK(!slot.refers());
    CHECK(slot.refer());
    slot.close(); // a reference alone
    slot.close();
    CHECK_EQ(world.account.outstanding(), 0u);
}

TEST(granted_pages_slot_is_deferred) {
    World world;
    GrantSlot slot;
    CHECK(slot.refer());
    slot.grant(peer, page(), Access::ReadWrite);
    const uint32_t ref = slot.ref().number();
    world.grants.hold(ref);
    slot.close();
    CHECK(!slot.refers() && slot.page() == nullptr);
    CHECK_EQ(world.grants.state(ref), State::Deferred);
    CHECK_EQ(world.account.pages.outstanding(), 1u);
}

// Of a chain that is longer than a batch, in batches.
TEST(granted_pages_slots_end_together) {
    constexpr uint32_t most = 130;
    for (uint32_t n : each(0u, 1u, 64u, 65u, most))
        for (uint32_t held : each(0u, 1u, 2u, 3u)) { // 1: the last one, 2: the first
            if (n < 2 && held != 0)
                continue;
            World world;
            GrantSlot slots[most];
            xpv_page* fresh[most];
            for (uint32_t i = 0; i < n; ++i) {
                CHECK(slots[i].refer());
                fresh[i] = page();
                slots[i].grant(peer, fresh[i], Access::ReadWrite);
            }
            if ((held & 1) != 0)
                world.grants.hold(slots[n - 1].ref().number());
            if ((held & 2) != 0)
                world.grants.hold(slots[0].ref().number());
            const bool all =
                GrantSlot::end_all(n == 0 ? nullptr : slots, [&](const GrantSlot& slot) noexcept {
                    const uint32_t after = static_cast<uint32_t>(&slot - slots) + 1;
                    return after == n ? nullptr : &slots[after];
                });
            CHECK_EQ(all, held == 0);
            CHECK_EQ(world.account.calls(Call::End), (n + 63) / 64);
            CHECK_EQ(world.grants.loud, (held & 1) + held / 2);
            for (uint32_t i = 0; i < n; ++i) {
                const bool stays = ((held & 1) != 0 && i == n - 1) || ((held & 2) != 0 && i == 0);
                CHECK_EQ(slots[i].granted(), stays);
                CHECK(slots[i].refers());
                CHECK(slots[i].page() == (stays ? fresh[i] : nullptr));
                if (!stays)
                    xpv_page_free(fresh[i]);
                slots[i].close();
            }
        }
}
