// SPDX-License-Identifier: GPL-2.0-only
// Levels, hysteresis, and who is told what, when.
#include <algorithm>

#include "gauge/policy.hpp"
#include "gauge/report.hpp"
#include "gauge/test/check.hpp"

using namespace xpv::gauge;
using xpv::balloon::level_of;

namespace {

constexpr Kib mib = 1024, gib = 1024 * mib;

// 10 GiB: lo is 1 % of it, hi a tenth more. Guests of 1 GiB do not widen that.
struct World {
    Config config;
    Host host{10 * gib, 5 * gib, 0};
    std::vector<Domain> domains;
    Policy policy{config, 1, 1000};
    uint64_t now = 1000000;

    explicit World(size_t guests, const Config& c = {}) : config{c}, policy{c, 1, 1000} {
        for (size_t i = 0; i < guests; ++i)
            add(static_cast<uint32_t>(i + 1), "g" + std::to_string(i + 1));
    }
    void add(uint32_t id, const std::string& name) {
        domains.push_back({id, "uuid-" + name, name, 512 * mib, gib});
    }
    std::vector<Publication> step(uint32_t ms = 1000, bool enomem = false) {
        now += ms;
        return policy.step(now, host, domains, enomem);
    }
    // Free memory at which the pressure is so many sevenths.
    void press(double sevenths) {
        (void)policy.step(now, host, domains, false);
        const Band band = policy.band();
        host.free =
            band.hi - static_cast<Kib>(sevenths / 7 * static_cast<double>(band.hi - band.lo));
    }
    xpv::balloon::Level level(size_t guest = 0) { return policy.guests()[guest].word.level; }
};

} // namespace

TEST(meter_pressure) {
    const Band band{100, 1100};
    CHECK_EQ(pressure_of(0, band), full);
    CHECK_EQ(pressure_of(100, band), full);
    CHECK_EQ(pressure_of(600, band), full / 2);
    CHECK_EQ(pressure_of(1099, band), full / 1000);
    CHECK_EQ(pressure_of(1100, band), 0u);
    CHECK_EQ(pressure_of(UINT64_MAX, band), 0u);
    CHECK_EQ(pressure_of(16384 * gib - 1, {0, 16384 * gib}), 0u);
    CHECK_EQ(pressure_of(5, {5, 5}), full); // no band
    CHECK_EQ((Host{10, 4, 3}).available(), 1u);
    CHECK_EQ((Host{10, 4, 5}).available(), 0u);
}

TEST(meter_weights) {
    CHECK_EQ(weighted(800000, 100), 800000u);
    CHECK_EQ(weighted(800000, 200), 650000u);
    CHECK_EQ(weighted(800000, 50), full);
    CHECK_EQ(weighted(300000, 400), 300000u);
    CHECK_EQ(weighted(full, 400), full);
}

TEST(meter_needle_has_hysteresis) {
    Needle needle;
    const auto at = [&](double sevenths) {
        return needle.move(static_cast<Pressure>(sevenths / 7 * full));
    };
    CHECK_EQ(at(3.4), 3u); // the first: the nearest
    CHECK_EQ(at(3.74), 3u);
    CHECK_EQ(at(3.76), 4u);
    CHECK_EQ(at(3.4), 4u);
    CHECK_EQ(at(3.26), 4u);
    CHECK_EQ(at(3.24), 3u);
    CHECK_EQ(at(7), 7u);
    CHECK_EQ(at(6.3), 7u);
    CHECK_EQ(at(0), 0u);
    CHECK_EQ(at(0.74), 0u);
    CHECK_EQ(at(5.9), 6u);
}

TEST(policy_band) {
    World world{1};
    world.step();
    CHECK_EQ(world.policy.band().lo, world.host.total / 100);
    CHECK_EQ(world.policy.band().hi, world.host.total / 100 * 11);
    world.host.total = gib; // 64 MiB at least
    world.step();
    CHECK_EQ(world.policy.band().lo, 64 * mib);
    // Guests that could have much more than their floors widen it.
    world.host.total = 10 * gib;
    world.domains[0].max = 9 * gib;
    world.step();
    const auto width = [](const World& of) { return of.policy.band().hi - of.policy.band().lo; };
    CHECK_EQ(width(world), stable_width(9 * gib, 12));
    CHECK_EQ(stable_width(9 * gib, 12) / mib, 9216u * 12 / 100);
    // More than the host has is half as bad, and nobody's most is above the host's.
    world.add(2, "g2");
    world.domains[1].max = 80 * gib;
    world.step();
    CHECK_EQ(width(world), stable_width((19 + 10) * gib / 2, 12));
    Config config;
    config.guests = {{"g1", 100, 7 * gib}, {"g2", 50, 0}};
    World other{2, config};
    other.domains[0].max = 8 * gib;
    other.domains[1].max = 9 * gib; // twice as fast as others
    other.step();
    CHECK_EQ(width(other) / mib, stable_width((19 + 10) * gib / 2, 12) / mib);
    other.domains[1].max = 0;
    other.step();
    CHECK_EQ(other.policy.band().hi, other.host.total / 100 * 11);
}

TEST(policy_tells_newcomers_at_once) {
    World world{2};
    auto told = world.step();
    CHECK_EQ(told.size(), 2u);
    CHECK_EQ(told[0].domain, 1u);
    CHECK_EQ(told[0].word.level, 0u);
    CHECK_EQ(told[0].word.sequence, 1000u);
    CHECK_EQ(told[1].word.sequence, 1001u);
    CHECK_EQ(told[1].word.ttl_s, 60u);
    CHECK(world.step().empty());
    world.add(7, "g7");
    told = world.step();
    CHECK_EQ(told.size(), 1u);
    CHECK_EQ(told[0].domain, 7u);
    // A number that is used again is another guest.
    world.domains[2].uuid = "another";
    CHECK_EQ(world.step().size(), 1u);
    world.domains.clear();
    CHECK(world.step().empty());
    CHECK(world.policy.guests().empty());
}

TEST(policy_keeps_its_interval) {
    World world{1};
    world.step();
    uint64_t last = world.now;
    unsigned words = 0, apart[2] = {999, 0};
    for (int i = 0; i < 4000; ++i) {
        if (i % 100 == 0)
            world.press(i % 200 == 0 ? 1 : 5);
        else
            world.host.free += i % 2 != 0 ? 400 * mib : -400 * mib; // somebody signals
        for (const Publication& told : world.step(250)) {
            const auto gap = static_cast<unsigned>(world.now - last);
            CHECK(gap >= 5000);
            apart[0] = std::min(apart[0], gap / 1000);
            apart[1] = std::max(apart[1], gap / 1000);
            last = world.now;
            ++words;
            CHECK_EQ(told.word.sequence, 1000 + words);
        }
    }
    CHECK(words > 60);
    CHECK_EQ(apart[0], 5u); // and not all at the same time
    CHECK(apart[1] >= 9);
}

TEST(policy_repeats_itself_before_the_ttl) {
    World world{3};
    world.step();
    std::map<uint32_t, uint64_t> last;
    for (int i = 0; i < 600; ++i)
        for (const Publication& told : world.step()) {
            if (last[told.domain] != 0)
                CHECK(world.now - last[told.domain] <= 21000);
            last[told.domain] = world.now;
        }
    for (uint32_t id : {1, 2, 3})
        CHECK(world.now - last[id] <= 21000);
    // Not more often than needed, either.
    unsigned count = 0;
    for (int i = 0; i < 600; ++i)
        count += static_cast<unsigned>(world.step().size());
    CHECK(count <= 3 * 600 / 10);
}

TEST(policy_says_at_once_that_nothing_is_left) {
    World world{2};
    world.step();
    world.host.free = world.policy.band().lo;
    CHECK_EQ(world.step(10).size(), 2u);
    CHECK_EQ(world.level(), 1000u);
    CHECK(world.step(10).empty());
    world.press(3);
    CHECK(world.step(10).empty()); // but not at once that there is something again
    for (int i = 0; i < 10; ++i)
        world.step();
    CHECK_EQ(world.level(), level_of(3));
    CHECK_EQ(world.step(10, true).size(), 2u); // Xen's interrupt
    CHECK_EQ(world.level(), 1000u);
}

TEST(policy_claims_are_not_free) {
    World world{1};
    world.host.outstanding = world.host.free;
    CHECK_EQ(world.step().front().word.level, 1000u);
}

TEST(policy_weights_and_floors) {
    Config config;
    config.guests = {{"g1", 400, 0}, {"uuid-g2", 100, 600 * mib}};
    World world{3, config};
    world.press(6);
    for (int i = 0; i < 11; ++i)
        world.step();
    CHECK_EQ(world.level(0), level_of(4)); // a half and a quarter of what is above it
    CHECK_EQ(world.level(1), level_of(3)); // has less than its floor
    CHECK_EQ(world.level(2), level_of(6));
    world.host.free = 0;
    world.step();
    CHECK_EQ(world.level(0), 1000u);
    CHECK_EQ(world.level(1), level_of(3));
    CHECK(world.step(10).empty());
    // Who is spared hears that again and again, too.
    unsigned words = 0;
    for (int i = 0; i < 60; ++i)
        for (const Publication& told : world.step())
            words += told.domain == 2;
    CHECK(words >= 3 && words <= 6);
    // Another configuration holds for those who are there.
    world.policy.configure({});
    for (int i = 0; i < 11; ++i)
        world.step();
    CHECK_EQ(world.level(1), 1000u);
    CHECK_EQ(world.policy.guests()[0].weight, 100u);
    // And so does another name.
    World other{1, config};
    other.step();
    CHECK_EQ(other.policy.guests()[0].weight, 400u);
    other.domains[0].name = "renamed";
    other.step();
    CHECK_EQ(other.policy.guests()[0].weight, 100u);
}

TEST(policy_tries_again_what_failed) {
    World world{1};
    const auto first = world.step();
    world.policy.failed(1);
    const auto second = world.step();
    CHECK_EQ(second.size(), 1u);
    CHECK(second[0].word.sequence > first[0].word.sequence);
    CHECK(world.step().empty());
    world.policy.failed(99);
    CHECK(world.step().empty());
}

TEST(report_escapes_what_it_shows) {
    World world{1};
    world.domains[0].name = "a\"b\\\n";
    world.step();
    Says says;
    says[1].hear(0, "gauge-1");
    says[1].hear(1, "rubbish");
    const std::string json = as_json(5, world.host, world.policy, says);
    CHECK(json.find("\"name\":\"a\\\"b\\\\\\u000a\"") != std::string::npos);
    CHECK(json.find("\"says\":{\"features\":\"gauge-1\",\"refused\":1}") != std::string::npos);
    CHECK_EQ(std::count(json.begin(), json.end(), '\n'), 1);
    CHECK(as_table(world.host, world.policy, says).find("listens") != std::string::npos);
}
