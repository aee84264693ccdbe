// SPDX-License-Identifier: GPL-2.0-only
// Backends that lie, and what they cannot do.
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

// A disk with one request in flight.
struct Caught : NoCopy {
    Disk disk{1, 0};
    Blkback* back = nullptr;
    Blkback::Taken taken{};
    BlockRequest request;

    ~Caught() { disk.world.grants.let_go_all(); }
    // It was found out, the requests are safe, and another backend answers them.
    bool found(Blkback& old, const char* what) noexcept {
        const bool seen = EXPECT(disk.world.ends.due(XPV_BROKE)) && EXPECT_EQ(request.done, 0u);
        (void)old;
        disk.later();
        if (!seen || !EXPECT_EQ(disk.world.ends.reports, 1u) ||
            !EXPECT(disk.world.bus.state() != XenbusStateConnected) || !EXPECT(disk.os.stopped) ||
            !EXPECT(disk.settle()))
            return false;
        (void)what;
        Blkback next{disk};
        next.serve();
        return EXPECT_EQ(request.done, 1u) && EXPECT_EQ(request.pdu.status, XPV_BLKFRONT_OK) &&
               EXPECT(disk.stored(0, 8, 1));
    }
};

} // namespace

TEST(blkfront_answers_to_nothing) {
    for (uint32_t lie = 0; lie < 9; ++lie) {
        Caught c;
        CHECK(c.disk.connect());
        Blkback back{c.disk};
        BlockRequest first;
        c.disk.prepare(first, XPV_BLKFRONT_READ, 0, 8);
        c.disk.submit(first);
        CHECK(back.take(c.taken));
        const uint64_t old = c.taken.id;
        back.answer(old, c.taken.inner);
        back.publish();
        CHECK_EQ(first.done, 1u);
        c.disk.prepare(c.request, XPV_BLKFRONT_WRITE, 0, 8);
        c.disk.submit(c.request);
        CHECK(back.take(c.taken));
        const uint64_t id = c.taken.id;
        CHECK_EQ(id & 0xffff, 0x00ffu);
        switch (lie) {
        case 0:
            back.answer(old, 1); // once more
            break;
        case 1:
            back.answer(id ^ 1, 1);
            break;
        case 2:
            back.answer(id ^ 0x100, 1);
            break;
        case 3:
            back.answer(id ^ 0x10000, 1);
            break;
        case 4:
            back.answer(id | 0xffff0000, 1);
            break;
        case 5:
            back.answer(id ^ 0x8000000000000000, 1);
            break;
        case 6:
            back.answer(id, 0); // another operation
            break;
        case 7:
            back.answer(0, 1);
            break;
        case 8:
            back.rsp_prod += 2; // more than were asked
            break;
        }
        back.publish();
        CHECK(c.found(back, ""));
    }
}

// Garbage all over the ring changes nothing but answers.
TEST(blkfront_scribbles) {
    for (uint32_t word = 0; word < 1024; word += 7) {
        Disk disk;
        CHECK(disk.connect());
        Blkback back{disk};
        BlockRequests requests{8};
        for (BlockRequest& request : requests) {
            disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
            disk.submit(request);
        }
        back.words()[word] = back.words()[word] ^ 0x5a5a5a5a;
        disk.world.events.raise(back.port);
        disk.later();
        disk.world.grants.let_go_all();
        disk.remove();
        for (BlockRequest& request : requests)
            CHECK_EQ(request.done, 1u);
    }
}

// Answered, but the page is still mapped: not the block layer's before it is not.
TEST(blkfront_keeps_a_page_after_the_answer) {
    Caught c;
    c.disk.settings.persistent = XPV_BLKFRONT_OFF;
    CHECK(c.disk.connect());
    Blkback back{c.disk};
    c.disk.prepare(c.request, XPV_BLKFRONT_WRITE, 0, 8);
    c.disk.submit(c.request);
    CHECK(back.take(c.taken));
    c.disk.world.grants.hold(c.taken.refs[0]);
    back.answer(c.taken.id, c.taken.inner);
    back.publish();
    CHECK_EQ(c.disk.world.grants.loud, 1u);
    CHECK(c.found(back, ""));
}

// A backend that starts over in our ring finds no request in what was answered.
TEST(blkfront_answered_requests_do_not_run_again) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{24};
    static Blkback::Taken taken[24];
    for (BlockRequest& request : requests) {
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8);
        disk.submit(request);
    }
    for (Blkback::Taken& one : taken)
        CHECK(back.take(one));
    // The last first, and some not at all.
    for (uint32_t i = 0; i < 20; ++i) {
        back.answer(taken[23 - i].id, 1);
        back.publish();
        for (uint32_t slot = 0; slot < 24; ++slot) {
            const bool answered = slot > 23 - i - 1;
            const bool overlaid = slot <= i;
            CHECK_EQ(back.slot(slot)[0], answered || overlaid ? 0xffu : 1u);
        }
    }
    for (uint32_t i = 20; i < 24; ++i)
        back.answer(taken[23 - i].id, 1);
    back.publish();
    for (BlockRequest& request : requests)
        CHECK_EQ(request.done, 1u);
    disk.world.grants.let_go_all();
}

// Nobody sees a byte that was not meant for the disk.
TEST(blkfront_shows_no_secrets) {
    Disk disk;
    CHECK(disk.connect());
    {
        Blkback back{disk};
        BlockRequest request;
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 1);
        for (uint32_t i = 0; i < request.room; ++i)
            request.memory[i] = 0xc3;
        for (uint32_t i = 0; i < 512; ++i)
            request.bytes()[i] = 0;
        disk.submit(request);
        back.serve();
        CHECK(!disk.world.grants.peer_sees(0xc3));
    }
    disk.world.grants.let_go_all();
}
