// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/test/fake.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using namespace xpv::balloon;
using fake::World;
using test::each;
using Is = xpv_balloon_os::Is;

namespace {

constexpr uint32_t pages = 65536; // 256 MiB
constexpr uint64_t kib = 4;

// A guest of 256 MiB, of which 32 are somebody's.
struct Fixture {
    World world;
    xpv_balloon_os os{pages};
    xpv_balloon_settings settings{XPV_BALLOON_TAKE_OVER, 0, 0, 5, 100, 1000, false};
    xpv_balloon* balloon = nullptr;
    uint64_t slept = 0; // of the last run

    Fixture() noexcept {
        os.use(Is::User, 8191);
        os.sample.watermarks = 256;
        target(pages);
        os.put("memory/static-max", "262144");
        balloon = xpv_balloon_create(&os, &settings);
    }
    ~Fixture() { xpv_balloon_destroy(balloon); }

    void target(uint64_t wanted) noexcept {
        char text[24];
        uint32_t at = sizeof(text) - 1;
        text[at] = '\0';
        for (uint64_t left = wanted * kib; left != 0; left /= 10)
            text[--at] = static_cast<char>('0' + left % 10);
        os.put("memory/target", text + at);
    }
    uint32_t turn(uint32_t events = 0) noexcept { return xpv_balloon_turn(balloon, events); }
    // Until it rests for good, or so long: whether it rests.
    bool run(uint32_t events = 0, uint64_t most_ms = 5000) noexcept {
        slept = 0;
        for (uint32_t turns = 0; turns < 2000; ++turns) {
            const uint32_t delay = turn(events);
            events = 0;
            if (delay == XPV_BALLOON_NEVER)
                return true;
            if (slept + delay > most_ms)
                return false;
            slept += delay;
            world.now_ms += delay;
        }
        return false;
    }
    bool retarget(uint64_t wanted) noexcept {
        target(wanted);
        return run(XPV_BALLOON_TARGET_NODE);
    }
    xpv_balloon_state state() const noexcept {
        xpv_balloon_state is;
        xpv_balloon_show(balloon, &is);
        return is;
    }
    uint64_t held() const noexcept { return state().held; }
    const xpv_balloon_counters& count() const noexcept { return *xpv_balloon_count(balloon); }
};

} // namespace

TEST(balloon_follows_the_target) {
    Fixture f;
    CHECK(f.run());
    CHECK_EQ(f.held(), pages);
    CHECK_STREQ(f.os.get("data/xpv-balloon/features"), "1");
    CHECK_STREQ(f.os.get("data/xpv-balloon/held"), "262144");
    for (uint64_t wanted : each(65000u, 40001u, 52345u, 65536u, 50000u, 65536u)) {
        const uint32_t writes = f.os.writes;
        CHECK(f.retarget(wanted));
        CHECK_EQ(f.held(), wanted);
        CHECK(f.os.writes - writes <= 2); // not for each batch
        CHECK_EQ(f.os.number_gone(), pages - wanted);
        CHECK_EQ(f.os.managed, wanted);
        CHECK(f.os.conserved());
        CHECK_EQ(f.os.held, wanted != pages);
    }
    CHECK_STREQ(f.os.get("data/xpv-balloon/held"), "262144");
    CHECK_EQ(f.count().lost, 0u);
    CHECK_EQ(f.count().bad_nodes, 0u);
    // Nothing changes: no timer, and nothing is written.
    CHECK_EQ(f.turn(), XPV_BALLOON_NEVER);
}

// As the target sinks below what cannot be reclaimed it stops, says so once per target,
// looks again ever more seldom, and goes on when the guest needs less.
TEST(balloon_stops_at_the_floor) {
    Fixture f;
    CHECK(f.run());
    CHECK(!f.retarget(1000));
    const uint64_t floor = f.state().floor;
    CHECK(floor > 8192 + 16384);
    CHECK_EQ(f.held(), floor);
    CHECK(f.world.log.has("is below the floor"));
    CHECK_EQ(f.world.log.warnings, 1u);
    CHECK(!f.run(0, 200000));
    CHECK_EQ(f.state().backoff_ms, 32000u);
    CHECK_EQ(f.held(), floor);
    CHECK_EQ(f.world.log.warnings, 1u);
    CHECK(!f.retarget(900));
    CHECK_EQ(f.world.log.warnings, 2u);
    for (uint32_t i = 1; i <= 1000; ++i) { // it needs 1000 less, but 100 alone are nothing
        f.os.pages[pages - i].is = Is::Free;
        if (i == 100) {
            CHECK(!f.run(0, 64000));
            CHECK_EQ(f.held(), floor);
        }
    }
    CHECK(!f.run(0, 64000));
    CHECK_EQ(f.held(), floor - 1000);
    // A floor that rises takes nothing away from the host.
    f.os.use(Is::User, 2000);
    CHECK(!f.run(0, 64000));
    CHECK_EQ(f.held(), floor - 1000);
    CHECK(f.retarget(pages));
    CHECK_EQ(f.held(), pages);
}

TEST(balloon_configured_floor) {
    Fixture f;
    f.settings.floor_pages = 50000;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    CHECK(f.run());
    CHECK(!f.retarget(30000));
    CHECK_EQ(f.held(), 50000u);
    f.settings.floor_pages = 40000;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    CHECK(!f.run(XPV_BALLOON_SETTINGS));
    CHECK_EQ(f.held(), 40000u);
}

// What is not free now is reclaimed, and what cannot be is left.
TEST(balloon_reclaims_cache) {
    Fixture f;
    f.os.use(Is::Cache, 40000);
    CHECK(f.run());
    CHECK(f.retarget(45000));
    CHECK_EQ(f.held(), 45000u);
    CHECK(f.os.number(Is::Cache) < 40000);
    CHECK(f.os.conserved());
}

TEST(balloon_linux_stands_still) {
    Fixture f;
    CHECK(f.run());
    CHECK(f.os.still);
    const uint32_t sets = f.os.stock_sets;
    f.os.stock.target = 50000; // its own watch
    CHECK(f.retarget(50000));
    CHECK_EQ(f.os.stock.target, pages);
    CHECK_EQ(f.os.stock_sets, sets + 1);
    CHECK_EQ(f.held(), 50000u);
    // It was quicker, and has moved some.
    f.os.stock.target = 49000;
    f.os.stock.current_pages = pages - 512;
    CHECK(f.retarget(49000));
    CHECK_EQ(f.os.stock.target, pages - 512);
    CHECK_EQ(f.held(), 49000u);
    // Only it can bring those back.
    CHECK(!f.retarget(pages));
    CHECK_EQ(f.os.stock.target, pages);
    CHECK_EQ(f.state().out[0], 0u);
    f.os.stock.current_pages = pages;
    CHECK(f.run());
    CHECK_EQ(f.held(), pages);
}

// Of a PVH guest's figure Xen has some for itself.
TEST(balloon_hidden_pages) {
    Fixture f;
    f.os.stock = {pages - 300, pages - 300, pages - 300, true};
    CHECK(f.run());
    CHECK_EQ(f.held(), pages - 300u);
    CHECK(f.retarget(50000));
    CHECK_EQ(f.held(), 50000u - 300);
    CHECK(f.retarget(pages));
    CHECK_EQ(f.held(), pages - 300u);
}

// A driver whose target is elsewhere is no measure.
TEST(balloon_hidden_pages_are_few) {
    Fixture f;
    f.os.stock = {pages - 300, 30000, pages - 300, true};
    CHECK(f.run());
    CHECK(f.world.log.has("the kernel's own target"));
    CHECK_EQ(f.held(), pages - 300u);
    // So the target cannot be reached, and no memory is to be added for that.
    CHECK_EQ(f.os.stock.target, pages - 300u);
    f.os.put("memory/static-max", "524288");
    CHECK(!f.retarget(2 * pages)); // for more it is
    CHECK_EQ(f.os.stock.target, 2u * pages);
}

TEST(balloon_bad_nodes) {
    Fixture f;
    CHECK(f.run());
    CHECK(f.retarget(50000));
    uint32_t bad = 0;
    for (const char* text :
         each("abc", "-5", "", "3", "0", "1e5", "200000 ", "262145", "99999999999999999999999")) {
        f.os.put("memory/target", text);
        CHECK(f.run(XPV_BALLOON_TARGET_NODE));
        CHECK_EQ(f.held(), 50000u);
        CHECK_EQ(f.count().bad_nodes, ++bad);
        CHECK(f.world.log.has("is not a number of KiB in 4..262144: the target stays at 200000"));
    }
    f.os.put("memory/target", nullptr);
    CHECK(f.run(XPV_BALLOON_TARGET_NODE));
    CHECK_EQ(f.held(), 50000u);
    for (const char* text : each("-1", "much", "0"))
        f.os.put("memory/static-max", text);
    CHECK(f.run(XPV_BALLOON_TARGET_NODE));
    CHECK(f.world.log.has("memory/static-max"));
    CHECK_EQ(f.held(), 50000u);
    CHECK_EQ(f.count().bad_nodes, ++bad);
    CHECK(f.retarget(pages));
}

TEST(balloon_asks_for_itself) {
    Fixture f;
    CHECK(f.run());
    for (const char* text : each("", "-1", "x", "100", "262148", "18446744073709551616")) {
        CHECK_EQ(xpv_balloon_ask(f.balloon, text), to_errno(Error::Range));
        CHECK(f.world.log.has("..262144"));
    }
    CHECK_EQ(xpv_balloon_ask(f.balloon, "200000"), 0);
    CHECK(f.run(XPV_BALLOON_SETTINGS));
    CHECK_EQ(f.held(), 50000u);
}

// The host is full, or max_pages too low: ever more seldom, never given up.
TEST(balloon_backs_off) {
    Fixture f;
    CHECK(f.run());
    CHECK(f.retarget(50000));
    f.os.xen_free = 0;
    f.target(pages);
    uint32_t delay = 0;
    for (uint32_t wanted : each(1000u, 2000u, 4000u, 8000u, 16000u, 32000u, 32000u)) {
        delay = f.turn(delay == 0 ? XPV_BALLOON_TARGET_NODE : 0);
        CHECK_EQ(delay, wanted);
        f.world.now_ms += delay;
    }
    CHECK_EQ(f.held(), 50000u);
    f.os.xen_free = 600;
    CHECK(!f.run(0, 900));
    CHECK_EQ(f.held(), 50600u);
    f.os.xen_free = pages;
    CHECK(f.run());
    CHECK_EQ(f.held(), pages);
}

TEST(balloon_relieves) {
    Fixture f;
    CHECK_EQ(xpv_balloon_oom(f.balloon), 0u); // before the first look
    CHECK(f.run());
    CHECK_EQ(xpv_balloon_oom(f.balloon), 0u);
    CHECK(f.retarget(40000));
    const uint32_t allocations = f.os.allocations;
    CHECK_EQ(xpv_balloon_oom(f.balloon), 512u);
    CHECK_EQ(f.os.allocations, allocations);
    CHECK_EQ(f.held(), 40512u);
    CHECK(f.os.conserved());
    // The host has nothing: then nothing was freed.
    const uint64_t had = f.os.xen_free;
    f.os.xen_free = 0;
    CHECK_EQ(xpv_balloon_oom(f.balloon), 0u);
    f.os.xen_free = 7;
    CHECK_EQ(xpv_balloon_oom(f.balloon), 7u);
    f.os.xen_free = had;
    CHECK_EQ(f.count().oom_pages, 519u);
    CHECK_EQ(f.count().oom_calls, 5u);
    // For a minute it is not asked back, target or not.
    CHECK(!f.run(XPV_BALLOON_OOM, 58000));
    CHECK_EQ(f.held(), 40519u);
    CHECK(f.run(0, 9000));
    CHECK_EQ(f.held(), 40000u);
}

TEST(balloon_gives_all_back) {
    Fixture f;
    CHECK(f.run());
    CHECK(f.retarget(40000));
    f.settings.released = true;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    CHECK(f.run(XPV_BALLOON_SETTINGS));
    CHECK_EQ(f.os.number_gone(), 0u);
    CHECK(!f.os.held);
    CHECK(!f.os.still);
    CHECK_EQ(f.os.stock.target, 40000u); // Linux's driver goes on
    f.os.stock.target = 900;             // and again, by its own watch
    CHECK(f.retarget(900));
    CHECK(f.os.stock.target > 20000); // but not to where its guest dies
    f.settings.released = false;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    f.target(45000);
    CHECK(f.run(XPV_BALLOON_SETTINGS | XPV_BALLOON_TARGET_NODE));
    CHECK_EQ(f.held(), 45000u);
}

TEST(balloon_steers) {
    Fixture f;
    f.settings.mode = XPV_BALLOON_STEER;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    CHECK(f.run());
    CHECK(!f.os.still);
    f.os.stock.target = 40000;
    (void)f.retarget(40000);
    CHECK_EQ(f.os.stock.target, 40000u);
    CHECK_EQ(f.os.number(Is::Ours), 0u);
    f.os.stock.current_pages = 40000;
    CHECK(f.run());
    f.os.stock.target = 1000;
    (void)f.retarget(1000);
    CHECK(f.os.stock.target > 20000);
    CHECK_EQ(xpv_balloon_oom(f.balloon), 0u);
}

TEST(balloon_mode_with_pages_out) {
    Fixture f;
    CHECK(f.run());
    CHECK(f.retarget(40000));
    f.settings.mode = XPV_BALLOON_STEER;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), to_errno(Error::Busy));
    CHECK(f.retarget(pages));
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
}

// A kernel without a balloon of its own.
TEST(balloon_alone) {
    Fixture f;
    f.settings.mode = XPV_BALLOON_TARGET;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    f.os.stock.present = false;
    CHECK(f.run());
    CHECK(f.retarget(40000));
    CHECK_EQ(f.held(), 40000u);
    CHECK(f.retarget(pages));
    CHECK_EQ(f.os.number_gone(), 0u);
}

TEST(balloon_hears_the_gauge) {
    Fixture f;
    f.settings.tick_ms = 1000;
    CHECK(f.run());
    f.os.put("memory/xpv-gauge", "1 1.000 1 60");
    CHECK(!f.run(XPV_BALLOON_GAUGE_NODE, 20000));
    CHECK(f.state().gauge);
    CHECK_EQ(f.state().level, 1000u);
    const uint64_t squeezed = f.held();
    CHECK(squeezed < pages);
    CHECK(squeezed >= f.state().floor);
    // Rubbish, old words, and none: counted, and it fades.
    uint32_t bad = 0;
    for (const char* text : each("1e9", "nan", "1 0.5 2 60", "1 1.001 2 60", "1 0.500 3 0")) {
        f.os.put("memory/xpv-gauge", text);
        (void)f.run(XPV_BALLOON_GAUGE_NODE, 0);
        CHECK_EQ(f.count().bad_nodes, ++bad);
    }
    f.os.put("memory/xpv-gauge", nullptr);
    (void)f.run(XPV_BALLOON_GAUGE_NODE, 400000);
    CHECK_EQ(f.state().level, 0u);
    CHECK(f.held() > squeezed);
    CHECK(f.os.conserved());
}

// A part of a processor: so much work, then a rest.
TEST(balloon_budget) {
    Fixture f;
    f.settings.cpu_percent = 25;
    CHECK_EQ(xpv_balloon_set(f.balloon, &f.settings), 0);
    f.os.ns_per_call = 5'000'000; // a turn costs 5 ms, and 5 pass between two
    CHECK(f.run());
    f.target(30000);
    uint32_t events = XPV_BALLOON_TARGET_NODE;
    uint64_t worked = 0;
    uint64_t rested = 0;
    for (uint32_t turns = 0; turns < 40; ++turns) {
        const uint32_t delay = f.turn(events);
        events = 0;
        worked += 5;
        rested += delay;
        f.os.now_ns += uint64_t{delay} * 1'000'000;
    }
    CHECK(rested * 10 >= worked * 15);
    CHECK(rested <= worked * 3);
    Budget late;
    CHECK_EQ(late.spend(0, 20'000'000, 90), 0u);
    CHECK_EQ(late.spend(20'000'000, 90'000'000, 90), 11u);
    CHECK_EQ(late.spend(100'000'000, 101'000'000, 90), 0u);
    CHECK(late.spend(200'000'000, 1'200'000'000, 50) >= 900u); // one long batch
    CHECK_EQ(late.spend(5'000'000'000, 6'000'000'000, 100), 0u);
}
