// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/test/fake.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using namespace xpv::balloon;
using fake::World;
using test::each;
using Is = xpv_balloon_os::Is;

namespace {

constexpr Pages plenty = ~Pages{0};

struct Fixture {
    World world;
    xpv_balloon_os os;
    xpv_balloon_counters counters{};
    Extents extents{&os, counters};

    explicit Fixture(uint32_t pages = 8192, bool pv = true) noexcept : os{pages, pv} {}

    // In batches, until nothing moves any more or it is done.
    Pages inflate(Pages want, Pages spare = plenty, Rung rung = Rung::Free) noexcept {
        Pages done = 0;
        while (done < want) {
            const Pages moved = extents.inflate(want - done, spare, rung);
            if (moved == 0)
                break;
            done += moved;
        }
        return done;
    }
    Pages deflate(Pages want) noexcept {
        Pages done = 0;
        while (done < want) {
            const Pages moved = extents.deflate(want - done);
            if (moved == 0)
                break;
            done += moved;
        }
        return done;
    }
    // Nothing is lost that is not counted, and what is out is out.
    bool whole() const noexcept {
        return os.conserved() && os.number(Is::Ours) == extents.out() &&
               os.number_gone() <= extents.out() && os.number_gone() >= extents.back();
    }
};

} // namespace

// The fewest extents that make the number, each no larger than what is left.
TEST(balloon_ladder_is_exact) {
    Fixture f;
    CHECK_EQ(f.inflate(2 * 512 + 3 * 16 + 5), 2u * 512 + 3 * 16 + 5);
    CHECK_EQ(f.extents.count(0), 2u);
    CHECK_EQ(f.extents.count(1), 3u);
    CHECK_EQ(f.extents.count(2), 5u);
    CHECK_EQ(f.os.number_gone(), f.extents.out());
    CHECK(f.whole());
    CHECK_EQ(f.deflate(2 * 512 + 3 * 16 + 5), 2u * 512 + 3 * 16 + 5);
    CHECK_EQ(f.extents.out(), 0u);
    CHECK_EQ(f.os.number(Is::Free), 8191u);
    CHECK(f.whole());
    CHECK_EQ(f.counters.inflated_2m, 1024u);
    CHECK_EQ(f.counters.deflated_64k, 48u);
}

TEST(balloon_smaller_where_no_larger_is_free) {
    Fixture f;
    f.os.no_order = 9;
    CHECK_EQ(f.inflate(1024), 1024u);
    CHECK_EQ(f.extents.count(1), 64u);
    f.os.no_order = 1;
    CHECK_EQ(f.inflate(600), 600u);
    CHECK_EQ(f.extents.count(2), 600u);
    CHECK(f.whole());
    CHECK_EQ(f.deflate(1624), 1624u);
    CHECK(f.whole());
}

// Free memory only down to the reserve, and beyond it only by a reclaim of single pages.
TEST(balloon_spares_the_reserve) {
    Fixture f;
    CHECK_EQ(f.inflate(600, 100), 600u); // 100 at a time
    CHECK_EQ(f.extents.count(0), 0u);
    f.os.use(Is::Cache, 200);
    CHECK_EQ(f.extents.inflate(600, 0, Rung::Free), 0u);
    CHECK_EQ(f.counters.no_pages, 1u);
    CHECK(!f.extents.reclaimed());
    CHECK_EQ(f.extents.inflate(600, 0, Rung::Clean), 64u);
    CHECK(f.extents.reclaimed());
    CHECK_EQ(f.extents.inflate(600, 16, Rung::Clean), 16u);
    CHECK(!f.extents.reclaimed());
    CHECK_EQ(f.extents.inflate(0, plenty, Rung::Swap), 0u);
    CHECK(f.whole());
}

// Xen stops at each page of a batch, in extents of each size.
TEST(balloon_decrease_stops_anywhere) {
    for (uint32_t step = 0; step < steps; ++step) {
        for (uint32_t at = 0; at < 512; at += step == 0 && at > 20 && at < 490 ? 67 : 1) {
            Fixture f{4096, (at & 1) != 0};
            f.os.no_order = ladder[step] + 1;
            f.os.decrease_stops = at;
            const auto size = static_cast<uint32_t>(pages_of(step));
            CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), at / size * size);
            CHECK_EQ(f.counters.decrease_short, 1u);
            // Of larger extents the one in the middle is nobody's; a page is there or gone.
            CHECK_EQ(f.extents.lost(), step == singles ? 0u : size);
            CHECK_EQ(f.extents.back(), at / size * size);
            CHECK(f.whole());
            // What was left of the batch is the kernel's again, and what is lost stays so.
            CHECK_EQ(f.os.number(Is::Free), 4095u - f.extents.out());
            CHECK_EQ(f.inflate(1024), 1024u);
            CHECK_EQ(f.deflate(4096), 1024u + at / size * size);
            CHECK_EQ(f.extents.out(), f.extents.lost());
            CHECK(f.whole());
        }
    }
}

// An order that Xen stopped in is not used again: a block is lost once, not each time.
TEST(balloon_half_given_once) {
    Fixture f;
    f.os.decrease_stops = 100;
    CHECK_EQ(f.inflate(1024), 0u);
    CHECK_EQ(f.extents.lost(), 512u);
    CHECK(f.world.log.has("kept for good"));
    CHECK_EQ(f.inflate(1024), 1024u);
    CHECK_EQ(f.extents.count(0), 0u);
    f.os.decrease_stops = 24;
    CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), 16u);
    CHECK_EQ(f.extents.lost(), 528u);
    CHECK_EQ(f.extents.inflate(100, plenty, Rung::Free), 100u);
    CHECK_EQ(f.extents.count(2), 100u);
    CHECK(f.whole());
}

// A call that did not begin has taken nothing.
TEST(balloon_decrease_refused) {
    for (uint32_t step = 0; step < steps; ++step) {
        Fixture f;
        f.os.no_order = ladder[step] + 1;
        f.os.decrease_code = -12;
        CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), 0u);
        CHECK_EQ(f.extents.out(), 0u);
        CHECK_EQ(f.os.number(Is::Free), 8191u);
        CHECK(f.whole());
        CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), 512u);
    }
}

TEST(balloon_mapping_stays_or_comes_back) {
    for (uint32_t step = 0; step < steps; ++step) {
        const auto size = static_cast<uint32_t>(pages_of(step));
        const uint32_t extents = 512 / size;
        for (uint32_t at = 0; at < extents; ++at) {
            Fixture f;
            f.os.no_order = ladder[step] + 1;
            f.os.detach_stops = at;
            CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), at * size);
            CHECK_EQ(f.extents.lost(), 0u);
            CHECK(f.whole());
            // Refused as a whole, and only some of it can be mapped again.
            f.os.decrease_code = -12;
            f.os.reattach_stops = at;
            CHECK_EQ(f.extents.inflate(512, plenty, Rung::Free), 0u);
            CHECK_EQ(f.extents.lost(), (extents - at) * size);
            CHECK(f.whole());
        }
    }
}

// Xen has memory for some extents of a batch only.
TEST(balloon_populate_stops_anywhere) {
    for (uint32_t step = 1; step < steps; ++step) {
        const auto size = static_cast<uint32_t>(pages_of(step));
        for (uint32_t at = 1; at < 512 / size; ++at) {
            Fixture f;
            f.os.no_order = ladder[step] + 1;
            CHECK_EQ(f.inflate(512), 512u);
            f.os.populate_stops = at;
            CHECK_EQ(f.extents.deflate(512), at * size);
            CHECK_EQ(f.counters.populate_short, 1u);
            CHECK_EQ(f.extents.out(), 512u - at * size);
            CHECK(f.whole());
            CHECK_EQ(f.deflate(512), 512u - at * size);
            CHECK(f.whole());
        }
    }
}

TEST(balloon_populated_but_not_mapped) {
    for (uint32_t step = 0; step < steps; ++step) {
        const auto size = static_cast<uint32_t>(pages_of(step));
        Fixture f;
        f.os.no_order = ladder[step] + 1;
        CHECK_EQ(f.inflate(512), 512u);
        f.os.attach_stops = step == 0 ? 0 : 3;
        const Pages back = f.extents.deflate(512);
        CHECK_EQ(back, step == 0 ? 0u : 3u * size);
        CHECK_EQ(f.extents.lost(), 512u - back);
        CHECK_EQ(f.os.number(Is::Free), 8191u - f.extents.lost());
        CHECK(f.os.conserved());
    }
}

// Without 2 MiB in one piece a block comes back in pages; one is broken up, not all.
TEST(balloon_comes_back_in_pieces) {
    Fixture f;
    CHECK_EQ(f.inflate(2048), 2048u);
    f.os.xen_no_order = 9;
    CHECK_EQ(f.extents.deflate(1024), 512u);
    CHECK_EQ(f.counters.split, 1u);
    CHECK_EQ(f.extents.count(0), 3u);
    CHECK(f.whole());
    CHECK_EQ(f.extents.deflate(5), 5u); // less than a block
    CHECK_EQ(f.counters.split, 2u);
    CHECK_EQ(f.extents.count(2), 507u);
    CHECK(f.whole());
    f.os.xen_no_order = 99;
    CHECK_EQ(f.deflate(2048), 1531u);
    CHECK_EQ(f.extents.out(), 0u);
    CHECK(f.whole());
}

// A host without memory: nothing is lost, and no block is broken up for each attempt.
TEST(balloon_host_is_full) {
    Fixture f;
    CHECK_EQ(f.inflate(2048 + 16), 2064u);
    f.os.xen_free = 0;
    for (uint32_t attempt = 0; attempt < 10; ++attempt)
        CHECK_EQ(f.extents.deflate(1024), 0u);
    CHECK_EQ(f.counters.split, 1u);
    CHECK_EQ(f.extents.out(), 2064u);
    f.os.xen_free = 7;
    CHECK_EQ(f.extents.deflate(1024), 7u);
    CHECK_EQ(f.extents.deflate(1024), 0u);
    CHECK(f.whole());
    f.os.xen_free = 4096;
    CHECK_EQ(f.deflate(4096), 2057u);
    CHECK_EQ(f.extents.deflate(1), 0u);
    CHECK(f.whole());
}
