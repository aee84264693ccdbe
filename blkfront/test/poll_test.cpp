// SPDX-License-Identifier: GPL-2.0-only
// Requests that somebody polls for, and others beside them.
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

void read_polled(Disk& disk, BlockRequest& request, bool polled = true) noexcept {
    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    request.pdu.polled = polled;
    disk.submit(request);
}

} // namespace

// Who polls is not interrupted, and finds answers by itself; ring after ring of them.
TEST(blkfront_polled_requests_need_no_event) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    CHECK(!xpv_blkfront_poll(disk.device, 0));
    for (uint32_t turn = 0; turn < 100; ++turn) {
        BlockRequest request;
        read_polled(disk, request);
        CHECK(!xpv_blkfront_poll(disk.device, 0));
        Blkback::Taken taken;
        CHECK(back.take(taken));
        back.answer(taken.id, taken.inner);
        // The first one finds the ring as it was made, which asks for an event.
        CHECK_EQ(back.publish(), turn == 0);
        if (turn != 0) {
            CHECK_EQ(request.done, 0u);
            CHECK(xpv_blkfront_poll(disk.device, 0));
        }
        CHECK_EQ(request.done, 1u);
    }
    CHECK_EQ(xpv_blkfront_ring_counters(disk.device, 0)->events, uint64_t{1});
    CHECK_EQ(xpv_blkfront_ring_counters(disk.device, 0)->polled, uint64_t{100});
    disk.world.grants.let_go_all();
}

// Others in the same ring get their events, whoever comes or is answered first.
TEST(blkfront_polled_beside_others) {
    for (uint32_t order = 0; order < 4; ++order) {
        const bool other_first = (order & 1) != 0;
        const bool polled_answered_first = (order & 2) != 0;
        Disk disk;
        CHECK(disk.connect());
        Blkback back{disk};
        BlockRequests requests{3};
        read_polled(disk, requests[0]); // quiet from here on
        CHECK_EQ(back.serve(), 1u);
        CHECK(requests[0].done == 1);
        BlockRequest& polled = requests[1];
        BlockRequest& other = requests[2];
        read_polled(disk, other_first ? other : polled, !other_first);
        read_polled(disk, other_first ? polled : other, other_first);
        Blkback::Taken taken[2];
        CHECK(back.take(taken[0]));
        CHECK(back.take(taken[1]));
        const uint32_t first = polled_answered_first == other_first ? 1 : 0;
        for (uint32_t i : each(first, 1 - first)) {
            back.answer(taken[i].id, taken[i].inner);
            (void)back.publish();
        }
        CHECK_EQ(other.done, 1u); // though nobody polled
        (void)xpv_blkfront_poll(disk.device, 0);
        CHECK_EQ(polled.done, 1u);
        disk.world.grants.let_go_all();
    }
}

// An answer that nobody has polled for yet lies there when another comes that needs an event.
TEST(blkfront_polled_answer_lies_there) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequests requests{4};
    read_polled(disk, requests[0]);
    CHECK_EQ(back.serve(), 1u);
    read_polled(disk, requests[1]);
    CHECK_EQ(back.serve(), 1u);
    CHECK_EQ(requests[1].done, 0u);
    read_polled(disk, requests[2], false);
    CHECK_EQ(requests[1].done, 1u); // found by the way
    CHECK_EQ(back.serve(), 1u);
    CHECK_EQ(requests[2].done, 1u);
    disk.world.grants.let_go_all();
}

// Polled requests whose backend goes are replayed, and are still polled for; others that it
// left unanswered are not counted twice.
TEST(blkfront_polled_over_a_restart) {
    Disk disk;
    CHECK(disk.connect());
    BlockRequests requests{5};
    {
        Blkback back{disk};
        read_polled(disk, requests[0]);
        CHECK_EQ(back.serve(), 1u);
        read_polled(disk, requests[1]);
        read_polled(disk, requests[2], false);
    }
    disk.world.grants.let_go_all();
    disk.peer_state(XenbusStateClosed);
    disk.handle(XPV_CHANGED);
    CHECK(!xpv_blkfront_poll(disk.device, 0));
    CHECK(disk.settle());
    Blkback back{disk};
    CHECK_EQ(back.serve(), 2u);
    CHECK_EQ(requests[2].done, 1u);
    CHECK_EQ(requests[1].done, 1u);
    read_polled(disk, requests[3]);
    (void)back.serve();
    (void)xpv_blkfront_poll(disk.device, 0);
    CHECK_EQ(requests[3].done, 1u);
    read_polled(disk, requests[4]);
    CHECK_EQ(back.serve(), 1u);
    CHECK_EQ(requests[4].done, 0u);
    CHECK(xpv_blkfront_poll(disk.device, 0));
    disk.world.grants.let_go_all();
}

// Only who finds nothing lets others have the processor: there, too, where there is no ring.
TEST(blkfront_who_polls_in_vain_yields) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    BlockRequest requests[2];
    read_polled(disk, requests[0]);
    CHECK(!xpv_blkfront_poll(disk.device, 0));
    CHECK_EQ(disk.os.yields, 1u);
    CHECK_EQ(back.serve(), 1u); // with the event that a new ring asks for
    read_polled(disk, requests[1]);
    CHECK_EQ(back.serve(), 1u);
    CHECK(xpv_blkfront_poll(disk.device, 0));
    CHECK_EQ(disk.os.yields, 1u);
    disk.world.grants.let_go_all();
    disk.peer_state(XenbusStateClosed);
    disk.handle(XPV_CHANGED);
    CHECK(!xpv_blkfront_poll(disk.device, 0));
    CHECK_EQ(disk.os.yields, 2u);
}
