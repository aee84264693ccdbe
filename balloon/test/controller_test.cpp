// SPDX-License-Identifier: GPL-2.0-only
// balloon/controller.hpp: the law, its order of rights, and that nobody goes below the floor.
#include "balloon/controller.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using namespace xpv::balloon;
using xpv::test::each;

namespace {

constexpr Pages mib = 256;

// A guest of 2 GiB that has 1 GiB, most of it cache, and lacks nothing: its floor is
// 150 + 16 + 20 + 6 + 3 + 64 = 259 MiB.
Sample calm() noexcept {
    Sample sample;
    sample.now_ms = 1000;
    sample.held = 1024 * mib;
    sample.max = 2048 * mib;
    sample.free = 100 * mib;
    sample.available = 820 * mib;
    sample.cache = 600 * mib;
    sample.anonymous = 150 * mib;
    sample.unevictable = 16 * mib;
    sample.slab_fixed = 20 * mib;
    sample.kernel = 6 * mib;
    sample.watermarks = 2 * mib;
    return sample;
}

constexpr Pages calm_floor = 259 * mib;
constexpr Pages calm_slack = 1024 * mib - calm_floor;

struct Guest {
    Sample sample = calm();
    Controller controller;

    explicit Guest(const Limits& limits = {}) noexcept : controller{limits} {}

    Decision tick(Level level, uint64_t ms = 1000, bool known = true) noexcept {
        sample.now_ms += ms;
        return controller.tick(sample, level, known);
    }
    // And the balloon does as it is told.
    Decision obey(Level level) noexcept {
        const Decision decision = tick(level);
        const int64_t moved = static_cast<int64_t>(decision.goal - sample.held);
        sample.held = decision.goal;
        sample.available = static_cast<Pages>(static_cast<int64_t>(sample.available) + moved);
        return decision;
    }
};

} // namespace

TEST(controller_floor_is_what_cannot_go) {
    Guest guest;
    CHECK_EQ(guest.tick(0).floor, calm_floor);
    guest.controller.set({.floor = 400 * mib});
    CHECK_EQ(guest.tick(0).floor, 400 * mib);
    guest.controller.set({.floor = 200 * mib});
    CHECK_EQ(guest.tick(0).floor, calm_floor);
    guest.sample.anonymous += 100 * mib;
    CHECK_EQ(guest.tick(0).floor, calm_floor + 100 * mib);
}

TEST(controller_without_a_gauge_is_a_balloon) {
    Guest guest;
    CHECK_EQ(guest.tick(0, 1000, false).goal, 2048 * mib);
    guest.sample.max = 512 * mib;
    CHECK_EQ(guest.tick(0, 1000, false).goal, 512 * mib);
    guest.sample.held = 512 * mib;
    CHECK(guest.tick(0, 1000, false).at_rest);
    guest.sample.max = 513 * mib;
    CHECK(!guest.tick(0, 1000, false).at_rest);
}

TEST(controller_target_ends_at_the_floor) {
    Guest guest;
    guest.sample.max = 96 * mib;
    for (const bool known : each(false, true))
        for (const Level level : each(0u, 1000u)) {
            const Decision decision = guest.tick(level, 1000, known);
            CHECK_EQ(decision.goal, calm_floor);
            CHECK(!decision.at_rest);
        }
    // Who has less than the floor already gives nothing, and gets nothing above max.
    guest.sample.held = 200 * mib;
    CHECK_EQ(guest.tick(1000).goal, 200 * mib);
    guest.sample.held = 90 * mib;
    CHECK_EQ(guest.tick(1000).goal, 96 * mib);
}

TEST(controller_grows_into_plenty) {
    Guest guest;
    // 1 % per second of half the room at level 0, less as it gets scarce.
    CHECK_EQ(guest.tick(0).goal, 1024 * mib + 1024 * mib * 5 / 1000);
    CHECK_EQ(guest.tick(286).goal, 1024 * mib + 1024 * mib * 214 / 100000);
    // Eight times as fast to what it wishes.
    guest.controller.set({.wish = 1024 * mib - calm_floor + 512 * mib});
    CHECK_EQ(guest.tick(0).goal, 1024 * mib + 512 * mib * 40 / 1000);
    // Ticks far apart: all of it, and no more.
    guest.controller.set({.wish = 1024 * mib - calm_floor + 512 * mib, .tick_ms = 60000});
    CHECK_EQ(guest.tick(0, 60000).goal, 1024 * mib + 512 * mib);
    guest.controller.set({});
    // To the last page.
    guest.sample.held = 2048 * mib - 1;
    CHECK_EQ(guest.tick(0).goal, 2048 * mib);
    guest.sample.held = 2048 * mib;
    const Decision decision = guest.tick(0);
    CHECK_EQ(decision.goal, 2048 * mib);
    CHECK(decision.at_rest);
}

TEST(controller_rests_in_the_middle) {
    Guest guest;
    CHECK_EQ(guest.tick(429).goal, 1024 * mib);
    // It may still get hungry, so somebody has to look.
    CHECK(!guest.tick(429).at_rest);
    // 4/7: an eighth of a percent per second from who has slack.
    CHECK_EQ(guest.tick(571).goal, 1024 * mib - calm_slack * 125 / 100000);
}

TEST(controller_gives_when_it_is_scarce) {
    Guest guest;
    CHECK_EQ(guest.tick(714).goal, 1024 * mib - calm_slack * 428 / 100000);
    CHECK_EQ(guest.tick(857).goal, 1024 * mib - calm_slack * 714 / 100000);
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib - calm_slack * 5 / 100);
    // Never more than the slew allows, however long ago the last tick was.
    CHECK_EQ(guest.tick(1000, 60000).goal, 1024 * mib - calm_slack * 5 / 100);
    guest.controller.set({.slew_percent = 1});
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib - calm_slack / 100);
    // Late by half a tick: half as much more.
    guest.controller.set({});
    CHECK_EQ(guest.tick(714, 1500).goal, 1024 * mib - calm_slack * 642 / 100000);
}

TEST(controller_never_below_its_floor) {
    Guest guest;
    guest.sample.max = 4096 * mib;
    for (uint32_t i = 0; i < 2000; ++i) {
        const Decision decision = guest.obey(level_of(i * 7919 % 8));
        CHECK(decision.goal >= calm_floor);
    }
    for (uint32_t i = 0; i < 2000; ++i)
        guest.obey(1000);
    CHECK(guest.sample.held >= calm_floor);
    CHECK(guest.sample.held < calm_floor + mib);
}

TEST(controller_hunger_comes_first) {
    Guest guest;
    guest.tick(1000);
    guest.sample.available = 8 * mib; // below the reserve of 2 + 16 + 8 MiB
    guest.sample.held = 1024 * mib;
    Decision decision = guest.tick(1000, 1000);
    CHECK(decision.hungry);
    // To twice the reserve, and as much as it grew by since the last look.
    CHECK_EQ(decision.goal, 1024 * mib + 2 * 26 * mib - 8 * mib + 812 * mib);
    guest.sample.max = 1030 * mib;
    CHECK_EQ(guest.tick(1000).goal, 1030 * mib);
    guest.sample.max = 2048 * mib;
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib + 2 * 26 * mib - 8 * mib);
    // A floor that grew past what the guest has.
    Guest other;
    other.sample.anonymous = 1200 * mib;
    decision = other.tick(1000);
    CHECK(decision.hungry);
    CHECK_EQ(decision.goal, decision.floor);
}

TEST(controller_refaults_are_hunger) {
    Guest guest;
    guest.sample.refaults = 1000000;
    CHECK(!guest.tick(429).hungry); // from before our time
    guest.sample.refaults += 200;
    CHECK(!guest.tick(429).hungry); // one burst is none
    for (uint32_t i = 0; i < 20; ++i) {
        guest.sample.refaults += 200;
        guest.tick(429);
    }
    guest.sample.refaults += 200;
    Decision decision = guest.tick(429);
    CHECK(decision.hungry);
    CHECK(decision.goal > 1024 * mib + 4 * 180);
    CHECK(decision.goal <= 1024 * mib + 4 * 200);
    guest.sample.refaults += 200;
    CHECK(guest.tick(857).goal > 1024 * mib);
    // Cache is no reason to take the host's last memory: that is for those who have none.
    guest.sample.refaults += 200;
    decision = guest.tick(1000);
    CHECK(decision.hungry);
    CHECK_EQ(decision.goal, 1024 * mib - calm_slack * 5 / 100);
    // A hundred per second for a while is too little to be hungry, and too much to give.
    for (uint32_t i = 0; i < 60; ++i) {
        guest.sample.refaults += 60;
        decision = guest.tick(857);
    }
    CHECK(!decision.hungry);
    CHECK_EQ(decision.goal, 1024 * mib);
    CHECK(guest.tick(1000).goal < 1024 * mib);
    for (uint32_t i = 0; i < 30; ++i)
        decision = guest.tick(857);
    CHECK(decision.goal < 1024 * mib);
    guest.sample.refaults = 0; // counted anew
    CHECK(!guest.tick(429).hungry);
}

TEST(controller_reclaim_of_its_own_is_no_news) {
    Guest guest;
    guest.tick(714);
    guest.sample.direct_reclaims = 5;
    CHECK_EQ(guest.tick(714).goal, 1024 * mib); // somebody had to wait for memory
    CHECK(guest.tick(714).goal < 1024 * mib);
    guest.sample.direct_reclaims = 10;
    guest.sample.ours = true;
    CHECK(guest.tick(714).goal < 1024 * mib);
}

TEST(controller_more_looks_move_no_more) {
    Guest guest;
    const Pages goal = guest.tick(714).goal;
    CHECK(goal < 1024 * mib);
    CHECK_EQ(guest.tick(714, 100).goal, goal);
    guest.sample.held = goal;
    CHECK_EQ(guest.tick(714, 100).goal, goal);
    CHECK_EQ(guest.tick(286, 100).goal, goal);  // the host has memory again: no more
    CHECK_EQ(guest.tick(1000, 100).goal, goal); // and at the next tick
    CHECK(guest.tick(1000, 200).goal < goal);
    // A clock that goes back is one that goes on.
    guest.sample.now_ms = 0;
    CHECK(guest.tick(714, 0).goal < goal);
    // Growth stops where it is when the host runs out.
    Guest other;
    const Pages more = other.tick(0).goal;
    CHECK(more > 1024 * mib);
    CHECK_EQ(other.tick(0, 100).goal, more);
    CHECK_EQ(other.tick(1000, 100).goal, 1024 * mib);
    // Not if it is hungry.
    Guest hungry;
    hungry.sample.available = 0;
    const Pages need = hungry.tick(0).goal;
    CHECK(need > 1024 * mib);
    CHECK_EQ(hungry.tick(1000, 100).goal, need);
    hungry.sample.max = 1025 * mib;
    CHECK_EQ(hungry.tick(1000, 100).goal, 1025 * mib);
}

TEST(controller_climbs_a_rung_a_tick) {
    Guest guest;
    guest.sample.free = 4 * mib; // below the reserve
    guest.sample.cache = mib;
    guest.sample.available = 300 * mib;
    guest.sample.swap = true;
    CHECK_EQ(guest.tick(1000).rung, Rung::Clean);
    CHECK_EQ(guest.tick(1000).rung, Rung::Slab);
    CHECK_EQ(guest.tick(1000, 100).rung, Rung::Slab);
    CHECK_EQ(guest.tick(1000).rung, Rung::Slab); // 274 MiB are there without swap
    guest.sample.available = 60 * mib;
    CHECK(guest.tick(1000).hungry); // 240 MiB less than a tick ago
    for (const Rung rung : each(Rung::Clean, Rung::Slab, Rung::Swap, Rung::Swap))
        CHECK_EQ(guest.tick(1000).rung, rung);
    CHECK_EQ(guest.tick(857).rung, Rung::Slab);
    CHECK_EQ(guest.tick(714).rung, Rung::Clean);
    CHECK_EQ(guest.tick(571).rung, Rung::Free); // a tax is paid from what lies idle
    guest.sample.swap = false;
    guest.sample.held = 1024 * mib;
    for (uint32_t i = 0; i < 4; ++i)
        CHECK(guest.tick(1000).rung != Rung::Swap);
    CHECK_EQ(guest.tick(0).rung, Rung::Free);
    // As gently as will do.
    guest.sample.free = 200 * mib;
    for (uint32_t i = 0; i < 4; ++i)
        CHECK_EQ(guest.tick(1000).rung, Rung::Free);
    guest.sample.free = 40 * mib;
    guest.sample.cache = 600 * mib;
    for (uint32_t i = 0; i < 4; ++i)
        CHECK_EQ(guest.tick(1000).rung, Rung::Clean);
    // The toolstack's word allows all of them at once.
    guest.sample.max = 512 * mib;
    guest.sample.free = guest.sample.cache = 0;
    CHECK_EQ(guest.tick(0).rung, Rung::Slab);
}

TEST(controller_relief_is_left_alone) {
    Guest guest;
    guest.controller.relieved(calm_slack, guest.sample.now_ms);
    guest.sample.now_ms += 30000;
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib);
    guest.sample.max = 512 * mib;
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib); // not by a target either
    CHECK(!guest.tick(1000).at_rest);
    guest.sample.now_ms += 30000;
    CHECK_EQ(guest.tick(0).goal, 512 * mib);
    // Twice adds up, and is bounded.
    guest.controller.relieved(UINT64_MAX, guest.sample.now_ms);
    guest.controller.relieved(UINT64_MAX, guest.sample.now_ms);
    CHECK_EQ(guest.tick(1000).goal, 1024 * mib);
}

TEST(controller_any_numbers) {
    // Whatever is said, a goal is between what the guest has, its floor and its max.
    uint64_t seed = 1;
    const auto any = [&seed](uint64_t near) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint64_t bits = seed >> 33;
        return bits % 8 == 0 ? seed : bits % 8 == 1 ? 0 : near / 2 + bits % (near + 1);
    };
    Controller controller{{}};
    constexpr Pages most = Pages{1} << 44;
    uint64_t now = 0;
    for (uint32_t i = 0; i < 20000; ++i) {
        Limits limits;
        limits.floor = any(200 * mib);
        limits.wish = any(100 * mib);
        limits.slew_percent = 1 + static_cast<uint32_t>(any(50) % 100);
        controller.set(limits);
        Sample sample;
        now += any(1000) % 100000;
        sample.now_ms = now;
        sample.held = any(1024 * mib);
        sample.max = any(2048 * mib);
        sample.free = any(64 * mib);
        sample.available = any(256 * mib);
        sample.cache = any(256 * mib);
        sample.anonymous = any(128 * mib) % most;
        sample.watermarks = any(mib) % most;
        sample.refaults = any(100000);
        sample.direct_reclaims = any(100);
        sample.swap = any(2) % 2 != 0;
        sample.ours = any(2) % 2 != 0;
        if (any(64) % 64 == 0)
            controller.relieved(any(mib), now);
        const Decision decision =
            controller.tick(sample, static_cast<Level>(any(1000) % 1001), any(8) % 8 != 0);
        const Pages held = min(sample.held, most), top = min(sample.max, most);
        CHECK(decision.goal <= max(held, top));
        CHECK(decision.goal >= min(min(held, decision.floor), max(top, held)) ||
              decision.goal == top);
        if (decision.goal < held)
            CHECK(decision.goal >= decision.floor);
        if (decision.goal > held)
            CHECK(decision.goal <= top);
    }
}
