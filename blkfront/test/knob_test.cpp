// SPDX-License-Identifier: GPL-2.0-only
// Settings that change under a disk, and what is counted for whoever chooses them.
#include "blkfront/test/fake.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using fake::Blkback;
using fake::BlockRequest;
using fake::BlockRequests;
using fake::Disk;
using test::each;

namespace {

void set(Disk& disk) noexcept { xpv_blkfront_set(disk.device, &disk.settings); }

// The backend goes, and waits for the next connection.
void leave(Disk& disk) noexcept {
    disk.world.grants.let_go_all();
    disk.peer_state(XenbusStateClosed);
    disk.handle(XPV_CHANGED);
}

} // namespace

// Fewer pages: those that are too many go as they come back, the longest requests still pass.
TEST(blkfront_pages_are_limited_while_it_works) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
        Disk disk;
        disk.settings.persistent = persistent;
        disk.settings.pages = XPV_BLKFRONT_MAX_PAGES;
        CHECK(disk.connect());
        Blkback back{disk};
        CHECK_EQ(disk.summary().pool_capacity, uint32_t{XPV_BLKFRONT_MAX_PAGES});
        BlockRequests requests{8};
        const auto submit_all = [&disk, &requests](uint32_t seed) noexcept {
            for (uint32_t i = 0; i < 8; ++i) {
                disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1024, 1024, i % 3 == 0 ? 4 : 0,
                             seed + i);
                disk.submit(requests[i]);
            }
        };
        submit_all(0);
        if (persistent == XPV_BLKFRONT_ON)
            CHECK(disk.summary().pool_kept > XPV_BLKFRONT_MIN_PAGES);
        disk.settings.pages = XPV_BLKFRONT_MIN_PAGES;
        set(disk);
        CHECK_EQ(disk.summary().pool_capacity, uint32_t{XPV_BLKFRONT_MIN_PAGES});
        for (uint32_t i = 0; i < 16; ++i)
            back.serve();
        disk.world.grants.let_go_all();
        xpv_blkfront_tick(disk.device);
        CHECK(disk.summary().pool_kept <= XPV_BLKFRONT_MIN_PAGES);
        // Never more than that from now on.
        submit_all(1);
        CHECK(disk.summary().pool_kept <= XPV_BLKFRONT_MIN_PAGES);
        for (uint32_t i = 0; i < 16; ++i)
            back.serve();
        for (uint32_t i = 0; i < 8; ++i) {
            CHECK_EQ(requests[i].done, 1u);
            CHECK(disk.stored(i * 1024, 1024, 1 + i));
        }
        disk.world.grants.let_go_all();
    }
}

// What direct grants had is counted when it comes back.
TEST(blkfront_limit_of_direct_grants) {
    Disk disk;
    disk.settings.persistent = XPV_BLKFRONT_OFF;
    disk.settings.pages = XPV_BLKFRONT_MAX_PAGES;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{5};
    for (uint32_t at_once : each(5u, 3u)) {
        for (uint32_t i = 0; i < 5; ++i) {
            disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1024, 1024, 0, i + at_once);
            disk.submit(requests[i]);
        }
        CHECK_EQ(back.requests(), at_once);
        disk.settings.pages = XPV_BLKFRONT_MIN_PAGES;
        set(disk);
        while (back.serve() != 0)
            disk.world.grants.let_go_all();
        for (uint32_t i = 0; i < 5; ++i)
            CHECK(requests[i].done == 1 && disk.stored(i * 1024, 1024, i + at_once));
    }
}

// While too many are in use, what direct grants rely on is not what goes.
TEST(blkfront_limit_leaves_room_for_direct_grants) {
    Disk disk;
    disk.settings.persistent = XPV_BLKFRONT_OFF;
    disk.settings.pages = XPV_BLKFRONT_MAX_PAGES;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{7};
    for (uint32_t i = 0; i < 6; ++i) {
        disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1024, i < 5 ? 1024 : 16, 4, i);
        disk.submit(requests[i]);
    }
    static Blkback::Taken taken[6];
    for (Blkback::Taken& one : taken)
        CHECK(back.take(one));
    back.answer(taken[5].id, taken[5].inner);
    (void)back.publish(); // two pages, one of which is enough for what comes
    disk.settings.pages = XPV_BLKFRONT_MIN_PAGES;
    set(disk);
    disk.prepare(requests[6], XPV_BLKFRONT_WRITE, 6 * 1024, 1024, 0, 6);
    disk.submit(requests[6]);
    CHECK_EQ(back.requests(), 1u);
    for (uint32_t i = 0; i < 5; ++i)
        back.answer(taken[i].id, taken[i].inner);
    CHECK_EQ(back.serve(), 1u);
    CHECK(disk.stored(6 * 1024, 1024, 6));
    disk.world.grants.let_go_all();
    CHECK_EQ(disk.os.done, 7u);
}

// More pages: more requests at once.
TEST(blkfront_more_pages_while_it_works) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{4};
    for (uint32_t pages :
         each(uint32_t{XPV_BLKFRONT_MIN_PAGES}, uint32_t{XPV_BLKFRONT_MAX_PAGES})) {
        disk.settings.pages = pages;
        set(disk);
        for (uint32_t i = 0; i < 4; ++i) {
            disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1920, 1920, 0, i + pages);
            disk.submit(requests[i]);
        }
        CHECK_EQ(back.requests(), pages == XPV_BLKFRONT_MIN_PAGES ? 3u : 4u);
        for (uint32_t i = 0; i < 5; ++i)
            back.serve();
        for (uint32_t i = 0; i < 4; ++i)
            CHECK(requests[i].done == 1 && disk.stored(i * 1920, 1920, i + pages));
    }
    disk.world.grants.let_go_all();
}

// The limit holds for what is left of a former connection, too.
TEST(blkfront_pages_are_limited_between_two_connections) {
    Disk disk;
    disk.settings.pages = XPV_BLKFRONT_MAX_PAGES;
    CHECK(disk.connect());
    BlockRequests requests{4};
    for (uint32_t i = 0; i < 4; ++i) {
        disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1920, 1920, 0, i);
        disk.submit(requests[i]);
    }
    leave(disk);
    disk.settings.pages = XPV_BLKFRONT_MIN_PAGES;
    set(disk);
    CHECK(disk.settle());
    CHECK(disk.summary().pool_kept <= XPV_BLKFRONT_MIN_PAGES);
    Blkback back{disk};
    for (uint32_t i = 0; i < 5; ++i)
        back.serve();
    for (uint32_t i = 0; i < 4; ++i)
        CHECK(requests[i].done == 1 && disk.stored(i * 1920, 1920, i));
    disk.world.grants.let_go_all();
}

TEST(blkfront_deadline_of_a_backend_that_is_gone) {
    Disk disk;
    CHECK(disk.connect());
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    disk.submit(request);
    leave(disk);
    disk.world.now_ms += 40000;
    xpv_blkfront_tick(disk.device);
    CHECK_EQ(request.done, 0u);
    // It has been gone for longer than that already.
    const uint32_t ticks = disk.os.ticks;
    disk.settings.fail_after_s = 30;
    set(disk);
    CHECK_EQ(disk.os.ticks, ticks + 1);
    xpv_blkfront_tick(disk.device);
    CHECK_EQ(request.done, 1u);
    CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
    CHECK(disk.settle());
    CHECK(!disk.summary().failing);
    // And not any more.
    disk.settings.fail_after_s = 0;
    set(disk);
    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    disk.submit(request);
    leave(disk);
    disk.world.now_ms += 40000;
    xpv_blkfront_tick(disk.device);
    CHECK_EQ(request.done, 0u);
    CHECK(disk.settle());
    Blkback back{disk};
    CHECK_EQ(back.serve(), 1u);
    disk.world.grants.let_go_all();
}

TEST(blkfront_events_for_several_answers_from_now_on) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{16};
    static Blkback::Taken taken[16];
    for (BlockRequest& request : requests) {
        disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
        disk.submit(request);
    }
    for (Blkback::Taken& one : taken)
        CHECK(back.take(one));
    for (uint32_t i = 0; i < 4; ++i) {
        back.answer(taken[i].id, 0);
        CHECK(back.publish());
        disk.settings.event_batch = i == 1 ? 2 : 1;
        set(disk);
        if (i != 2)
            continue;
        CHECK_EQ(disk.os.looks, 1u); // its event asked for two
        back.answer(taken[15].id, 0);
        CHECK(!back.publish());
    }
    for (uint32_t i = 4; i < 15; ++i)
        back.answer(taken[i].id, 0);
    CHECK(back.publish());
    CHECK_EQ(disk.os.done, 16u);
    disk.world.grants.let_go_all();
}

// Who was refused is let go after all.
TEST(blkfront_insists_from_now_on) {
    Disk disk;
    CHECK(disk.connect());
    disk.os.in_use = true;
    disk.peer_state(XenbusStateClosing);
    disk.handle(XPV_CHANGED);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateConnected});
    disk.settings.insist = true;
    set(disk);
    disk.later();
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateClosed});
}

// What is negotiated is as it was until the next connection.
TEST(blkfront_settings_of_the_next_connection) {
    Disk disk;
    CHECK(disk.connect());
    disk.settings.persistent = XPV_BLKFRONT_OFF;
    disk.settings.max_rings = 2;
    disk.settings.max_order = 1;
    disk.settings.max_segments = 32;
    set(disk);
    CHECK(disk.summary().persistent);
    CHECK_EQ(disk.summary().segments, 256u);
    leave(disk);
    CHECK(disk.settle());
    CHECK(!disk.summary().persistent);
    CHECK_EQ(disk.summary().segments, 32u);
    CHECK_EQ(disk.summary().rings, 2u);
    CHECK_EQ(disk.node("ring-page-order"), 1u);
    Blkback back{disk};
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 800, 0, 5);
    disk.submit(request);
    while (back.serve() != 0) {
    }
    CHECK(request.done == 1 && disk.stored(0, 800, 5));
    disk.world.grants.let_go_all();
}

// Requests by their segments, each in one class; those without data in none.
TEST(blkfront_counts_segments) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
        Disk disk;
        disk.settings.persistent = persistent;
        CHECK(disk.connect());
        Blkback back{disk};
        const uint32_t pages[] = {1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 64, 128, 129, 256};
        for (uint32_t count : pages) {
            BlockRequest request;
            disk.prepare(request, XPV_BLKFRONT_WRITE, 0, count * 8);
            disk.submit(request);
            back.serve();
            disk.world.grants.let_go_all();
            CHECK_EQ(request.done, 1u);
        }
        BlockRequest flush;
        disk.prepare(flush, XPV_BLKFRONT_FLUSH, 0, 0);
        disk.submit(flush);
        back.serve();
        const uint64_t wanted[XPV_BLKFRONT_LENGTHS] = {2, 1, 2, 2, 2, 1, 1, 1, 2};
        for (uint32_t i = 0; i < XPV_BLKFRONT_LENGTHS; ++i)
            CHECK_EQ(xpv_blkfront_ring_counters(disk.device, 0)->lengths[i], wanted[i]);
    }
}
