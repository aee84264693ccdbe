// SPDX-License-Identifier: GPL-2.0-only
// More requests than slots, pages or events.
#include "blkfront/hand.hpp"
#include "blkfront/test/fake.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using fake::Blkback;
using fake::BlockRequest;
using fake::BlockRequests;
using fake::Call;
using fake::Disk;
using test::each;

// More than the ring takes: all are accepted, all come back, one event wakes the backend.
TEST(blkfront_more_requests_than_slots) {
    for (uint32_t indirect : each(0u, 256u)) {
        Disk disk{1, 0, indirect};
        CHECK(disk.connect());
        Blkback back{disk};
        BlockRequests requests{100};
        const uint32_t before = disk.world.events.notified();
        for (uint32_t i = 0; i < 100; ++i) {
            disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 80, 80, 0, i);
            disk.submit(requests[i], i != 99);
        }
        CHECK_EQ(disk.world.events.notified(), before + 1);
        CHECK_EQ(back.requests(), 32u);
        back.serve();
        for (uint32_t i = 0; i < 100; ++i) {
            CHECK_EQ(requests[i].done, 1u);
            CHECK(disk.stored(i * 80, 80, i));
        }
        const xpv_blkfront_counters& count = *xpv_blkfront_ring_counters(disk.device, 0);
        CHECK_EQ(count.requests, uint64_t{100});
        CHECK_EQ(count.slots, uint64_t{100});
        CHECK_EQ(count.splits, uint64_t{0});
        CHECK_EQ(count.bytes_copied, uint64_t{indirect != 0 ? 100U * 80 * 512 : 0});
        CHECK_EQ(count.grants, uint64_t{indirect != 0 ? 0U : 1000});
        disk.world.grants.let_go_all();
    }
}

TEST(blkfront_commit_shows_what_was_put) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8);
    disk.submit(request, true);
    CHECK_EQ(back.requests(), 0u);
    xpv_blkfront_commit(disk.device, 0);
    CHECK_EQ(back.serve(), 1u);
    CHECK_EQ(request.done, 1u);
    disk.world.grants.let_go_all();
}

// The pool is smaller than what is asked for: requests wait in line and all go through,
// on both rings.
TEST(blkfront_pool_runs_dry) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
        Disk disk{2, 0};
        disk.settings.persistent = persistent;
        CHECK(disk.connect());
        Blkback one{disk, 0};
        Blkback two{disk, 1};
        BlockRequests requests{12};
        for (uint32_t i = 0; i < 12; ++i) {
            // One that is not aligned has to be copied.
            disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 512, 1024, i % 3 == 0 ? 4 : 0, i);
            disk.submit(requests[i], false, i % 2);
        }
        for (uint32_t i = 0; i < 24; ++i) {
            one.serve();
            two.serve();
        }
        for (uint32_t i = 0; i < 12; ++i)
            CHECK_EQ(requests[i].done, 1u);
        CHECK(xpv_blkfront_ring_counters(disk.device, 0)->pool_empty > 0 ||
              persistent == XPV_BLKFRONT_OFF);
        disk.world.grants.let_go_all();
    }
}

// No memory for more pages than the reserve: slower, never stuck.
TEST(blkfront_no_memory_to_grow) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    disk.world.account.fail(Call::PageAlloc, 1, 1000000);
    BlockRequests requests{8};
    for (uint32_t i = 0; i < 8; ++i) {
        disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1000, 1000, 0, i);
        disk.submit(requests[i]);
    }
    for (uint32_t i = 0; i < 8; ++i)
        back.serve();
    for (uint32_t i = 0; i < 8; ++i) {
        CHECK_EQ(requests[i].done, 1u);
        CHECK(disk.stored(i * 1000, 1000, i));
    }
    disk.world.account.fail_nothing();
    disk.world.grants.let_go_all();
}

TEST(blkfront_idle_pages_go_back) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    const uint32_t reserve = disk.summary().pool_kept;
    BlockRequest requests[2];
    for (BlockRequest& request : requests) {
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 2048);
        disk.submit(request);
    }
    CHECK_EQ(disk.os.ticks, 1u);
    back.serve();
    CHECK_EQ(disk.summary().pool_kept, 514u);
    // All that is mapped stays.
    disk.world.grants.let_go_all();
    for (uint32_t i = 0; i < 20; ++i)
        xpv_blkfront_tick(disk.device);
    CHECK_EQ(disk.summary().pool_kept, reserve);
    CHECK_EQ(disk.summary().pool_free, reserve);
    CHECK_EQ(disk.world.grants.loud, 0u);
}

// One of many slots fails: the request fails once, when all are answered.
TEST(blkfront_a_part_fails) {
    for (uint32_t fails = 0; fails < 24; ++fails) {
        Disk disk{1, 0, 0};
        CHECK(disk.connect());
        Blkback back{disk};
        BlockRequests busy{20};
        BlockRequest request;
        for (BlockRequest& other : busy) {
            disk.prepare(other, XPV_BLKFRONT_READ, 0, 8);
            disk.submit(other);
        }
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 2048);
        disk.submit(request); // only half of it finds slots
        Blkback::Taken taken;
        uint32_t part = 0;
        while (back.take(taken)) {
            const bool ours = taken.inner == 1;
            back.answer(taken.id, taken.inner, ours && part == fails ? -1 : 0);
            part += ours;
            back.publish();
        }
        CHECK_EQ(request.done, 1u);
        CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
        CHECK_EQ(xpv_blkfront_ring_counters(disk.device, 0)->splits, uint64_t{1});
        for (BlockRequest& other : busy)
            CHECK_EQ(other.done, 1u);
        CHECK_EQ(back.requests(), 0u);
        CHECK_EQ(disk.summary().pool_free, disk.summary().pool_kept);
        disk.world.grants.let_go_all();
    }
}

// All slots that were put are answered, but not all were put.
TEST(blkfront_half_of_it_is_answered) {
    Disk disk{1, 0, 0};
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 2048, 0, 5);
    BlockRequests busy{20};
    for (BlockRequest& other : busy) {
        disk.prepare(other, XPV_BLKFRONT_READ, 4096, 8);
        disk.submit(other);
    }
    disk.submit(request);
    Blkback::Taken taken;
    static Blkback::Taken others[20];
    for (Blkback::Taken& other : others)
        CHECK(back.take(other));
    for (uint32_t i = 0; i < 12; ++i) {
        CHECK(back.take(taken));
        back.perform(taken);
        back.answer(taken.id, taken.inner);
    }
    back.publish();
    CHECK_EQ(request.done, 0u);
    CHECK_EQ(back.requests(), 12u);
    for (Blkback::Taken& other : others)
        back.answer(other.id, other.inner);
    back.publish();
    CHECK_EQ(back.serve(), 12u);
    CHECK_EQ(request.done, 1u);
    CHECK(disk.stored(0, 2048, 5));
    disk.world.grants.let_go_all();
}

// One event for several answers: never for more than half of what is in flight, and a look
// follows.
TEST(blkfront_events_for_several_answers) {
    Disk disk;
    disk.settings.event_batch = 4;
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
    uint32_t answered = 0;
    const auto answer = [&]() noexcept {
        back.answer(taken[answered].id, 0);
        ++answered;
        return back.publish();
    };
    CHECK(answer());
    CHECK_EQ(disk.os.looks, 1u);
    for (uint32_t i = 0; i < 3; ++i)
        CHECK(!answer());
    CHECK_EQ(disk.os.done, 1u);
    CHECK(answer()); // the fourth
    CHECK_EQ(disk.os.done, 5u);
    CHECK(!answer());
    // The look finds one, and the next, when there is none, asks for each.
    CHECK(xpv_blkfront_look(disk.device, 0));
    CHECK_EQ(disk.os.done, 6u);
    CHECK(!xpv_blkfront_look(disk.device, 0));
    CHECK(answer());
    while (answered < 16)
        (void)answer();
    (void)xpv_blkfront_look(disk.device, 0);
    CHECK_EQ(disk.os.done, 16u);
    disk.world.grants.let_go_all();
}

// A channel that an event's look may find gone is used with the lock only; who submits is
// kept out by the block layer, and keeps nobody waiting.
TEST(blkfront_notifies_while_the_channel_is_there) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    static uint32_t locks, notified;
    locks = notified = 0;
    disk.world.events.on_notify(
        [](void* context, uint32_t) noexcept {
            ++notified;
            locks = static_cast<Disk*>(context)->world.account.locks;
        },
        &disk);
    BlockRequests requests{40};
    for (BlockRequest& request : requests) {
        disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
        disk.submit(request, &request + 1 != requests.end());
    }
    CHECK_EQ(notified, 1u);
    CHECK_EQ(locks, 0u);
    Blkback::Taken taken;
    while (back.take(taken))
        back.answer(taken.id, taken.inner);
    back.words()[1] = back.req_cons + 1;
    back.publish();
    CHECK_EQ(back.requests(), 8u);
    CHECK_EQ(notified, 2u);
    CHECK(locks != 0);
    CHECK_EQ(back.serve(), 8u);
    disk.world.events.on_notify(nullptr, nullptr);
    disk.world.grants.let_go_all();
}

// Pages at hand: the last one first, no more than there is room for, and each to one taker
// only, whoever comes in between.
TEST(blkfront_hand) {
    blkfront::Hand hand;
    CHECK_EQ(hand.take(), blkfront::Pool::none);
    for (uint16_t page = 0; page < blkfront::Hand::most; ++page) {
        CHECK_EQ(hand.count(), uint32_t{page});
        CHECK(hand.put(page));
    }
    CHECK(!hand.put(9));
    CHECK_EQ(hand.count(), blkfront::Hand::most);
    for (uint16_t page = blkfront::Hand::most; page-- > 0;)
        CHECK_EQ(hand.take(), page);
    CHECK_EQ(hand.take(), blkfront::Pool::none);
    CHECK_EQ(hand.count(), 0u);
#ifdef XPV_TEST_STEPS
    static struct {
        blkfront::Hand hand;
        uint32_t steps, at;
        uint16_t taken;
    } two;
    for (two.at = 1; two.at <= 2; ++two.at) {
        CHECK(two.hand.put(1) && two.hand.put(2));
        two.steps = 0;
        two.taken = blkfront::Pool::none;
        xpv_test_step = [] {
            if (++two.steps != two.at)
                return;
            two.taken = two.hand.take();
            two.hand.put(3);
        };
        const uint16_t taken = two.hand.take();
        xpv_test_step = nullptr;
        CHECK_EQ(two.taken, uint16_t{2});
        CHECK_EQ(taken, uint16_t{3});
        CHECK_EQ(two.hand.take(), uint16_t{1});
        CHECK_EQ(two.hand.count(), 0u);
    }
#endif
}

// A ring's pages at hand do not keep another one waiting: the longest request gets all that
// it needs when there is no memory for more.
TEST(blkfront_pages_at_hand_are_beside_the_reserve) {
    Disk disk{2};
    CHECK(disk.connect());
    Blkback one{disk, 0};
    Blkback two{disk, 1};
    disk.world.account.fail(Call::PageAlloc, 1, 1000000);
    BlockRequests small{16};
    for (uint32_t i = 0; i < 16; ++i) {
        disk.prepare(small[i], XPV_BLKFRONT_WRITE, i * 8, 8, 0, i);
        disk.submit(small[i], false, i % 2);
    }
    one.serve();
    two.serve();
    BlockRequest large;
    disk.prepare(large, XPV_BLKFRONT_WRITE, 1024, 2048, 0, 3);
    disk.submit(large, false, 1);
    CHECK_EQ(two.serve(), 1u);
    CHECK_EQ(large.done, 1u);
    CHECK(disk.stored(1024, 2048, 3));
    // While somebody waits, what comes back is for that one.
    BlockRequest next;
    disk.prepare(large, XPV_BLKFRONT_WRITE, 1024, 2048, 0, 4);
    disk.submit(large, false, 1);
    disk.prepare(next, XPV_BLKFRONT_WRITE, 4096, 2048, 0, 5);
    disk.submit(next, false, 0);
    CHECK_EQ(one.serve(), 0u);
    CHECK_EQ(two.serve(), 1u);
    CHECK_EQ(one.serve(), 1u);
    CHECK_EQ(next.done, 1u);
    disk.world.account.fail_nothing();
    disk.world.grants.let_go_all();
}
