// SPDX-License-Identifier: GPL-2.0-only
// Requests through a backend with a disk of bytes.
#include "blkfront/plan.hpp"
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

namespace {

// Write, and read back into other memory.
bool there_and_back(Disk& disk, Blkback& back, uint64_t sector, uint32_t count, uint32_t skew,
                    uint32_t piece, uint32_t seed) noexcept {
    BlockRequest write;
    disk.prepare(write, XPV_BLKFRONT_WRITE, sector, count, skew, seed);
    write.piece = piece;
    write.walked = seed % 2 != 0;
    disk.submit(write);
    back.serve();
    if (!EXPECT_EQ(write.done, 1u) || !EXPECT_EQ(write.pdu.status, XPV_BLKFRONT_OK) ||
        !EXPECT(disk.stored(sector, count, seed)))
        return false;
    BlockRequest read;
    disk.prepare(read, XPV_BLKFRONT_READ, sector, count, skew);
    read.piece = piece;
    read.walked = seed % 3 != 0;
    disk.submit(read);
    back.serve();
    return EXPECT_EQ(read.done, 1u) && EXPECT(Disk::holds(read, seed));
}

} // namespace

TEST(blkfront_plans) {
    for (uint32_t per_slot : each(11u, 12u, 32u, 255u, 256u))
        for (uint32_t grants = 1; grants <= 300; ++grants) {
            const blkfront::Plan p = blkfront::plan(grants, per_slot);
            CHECK_EQ(p.slots, (grants + per_slot - 1) / per_slot);
            uint32_t indirect = 0;
            for (uint32_t left = grants; left > 0;) {
                const uint32_t here = min(left, per_slot);
                indirect += here > 11;
                left -= here;
            }
            CHECK_EQ(p.indirect, indirect);
        }
    CHECK_EQ(blkfront::most_pages(11), 256u);
    CHECK_EQ(blkfront::most_pages(256), 257u);
    CHECK_EQ(blkfront::segments_per_slot(0), 11u);
    CHECK_EQ(blkfront::segments_per_slot(9), 11u);
    CHECK_EQ(blkfront::segments_per_slot(70000), 512u);
}

// Every number of pages, copied and not, with and without indirect segments.
TEST(blkfront_every_length) {
    for (uint32_t indirect : each(0u, 12u, 32u, 256u))
        for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
            Disk disk{1, 0, indirect};
            disk.settings.persistent = persistent;
            CHECK(disk.connect());
            {
                Blkback back{disk};
                for (uint32_t pages = 1; pages <= 256; pages += pages < 40 ? 1 : 27)
                    for (uint32_t less : each(0u, 1u, 7u))
                        CHECK(there_and_back(disk, back, pages % 5 * 8 + less, pages * 8 - less,
                                             less * 512, 0, pages));
                CHECK(there_and_back(disk, back, 64, 2048, 0, 0, 3));
                // More pieces than can be granted are copied.
                CHECK(there_and_back(disk, back, 64, 2048, 512, 0, 4));
                CHECK(there_and_back(disk, back, 8, 2040, 512, 512, 5));
                CHECK(there_and_back(disk, back, 8, 2040, 0, 1536, 6));
                // So is what is not aligned.
                CHECK(there_and_back(disk, back, 8, 80, 4, 0, 7));
                CHECK(there_and_back(disk, back, 8, 80, 512, 260, 8));
            }
            CHECK_EQ(disk.world.grants.loud, 0u);
            disk.world.grants.let_go_all();
            disk.remove();
            CHECK(disk.world.clean());
        }
}

TEST(blkfront_blocks_of_4096_are_not_split) {
    Disk disk{1, 0, 0};
    disk.settings.persistent = XPV_BLKFRONT_OFF;
    disk.world.bus.peer.set("sector-size", 4096u);
    CHECK(disk.connect());
    Blkback back{disk};
    // Eleven pieces of 512 bytes would be a cut inside a block.
    CHECK(there_and_back(disk, back, 8, 256, 0, 512, 1));
    CHECK(there_and_back(disk, back, 8, 256, 512, 0, 2));
    CHECK(there_and_back(disk, back, 8, 2048, 0, 0, 3));
    disk.world.grants.let_go_all();
}

TEST(blkfront_orders_and_rings) {
    for (uint32_t order = 0; order <= 4; ++order)
        for (uint32_t rings : each(1u, 2u, 4u, 8u)) {
            Disk disk{rings, order};
            CHECK(disk.connect());
            for (uint32_t queue = 0; queue < rings * 2; ++queue) {
                Blkback back{disk, queue % rings};
                CHECK(back.valid);
                back.req_cons = back.rsp_prod = back.words()[2];
                BlockRequest request;
                disk.prepare(request, XPV_BLKFRONT_WRITE, queue * 8, 8, 0, queue);
                disk.submit(request, false, queue);
                CHECK_EQ(back.serve(), 1u);
                CHECK_EQ(request.done, 1u);
                CHECK(disk.stored(queue * 8, 8, queue));
            }
            disk.world.grants.let_go_all();
        }
}

TEST(blkfront_flush_and_discard) {
    for (uint32_t barrier : each(0u, 1u)) {
        Disk disk;
        disk.world.bus.peer.set("feature-flush-cache", 1 - barrier);
        disk.world.bus.peer.set("feature-barrier", 1u);
        CHECK(disk.connect());
        Blkback back{disk};
        Blkback::Taken taken;
        BlockRequest request;
        disk.prepare(request, XPV_BLKFRONT_FLUSH, 0, 0);
        disk.submit(request);
        CHECK(back.take(taken));
        CHECK_EQ(taken.op, barrier != 0 ? 2u : 3u);
        CHECK_EQ(taken.segments, 0u);
        back.answer(taken.id, taken.op);
        back.publish();
        CHECK_EQ(request.done, 1u);
        for (xpv_blkfront_op op : each(XPV_BLKFRONT_DISCARD, XPV_BLKFRONT_ERASE)) {
            disk.prepare(request, op, 40, 3000);
            disk.submit(request);
            CHECK(back.take(taken));
            CHECK_EQ(taken.op, 5u);
            CHECK_EQ(taken.sector, 40u);
            CHECK_EQ(taken.count, 3000u);
            CHECK_EQ(taken.flag, op == XPV_BLKFRONT_ERASE ? 1u : 0u);
            back.answer(taken.id, taken.op);
            back.publish();
            CHECK_EQ(request.done, 1u);
            CHECK_EQ(request.pdu.status, XPV_BLKFRONT_OK);
        }
        disk.world.grants.let_go_all();
    }
}

// What the disk cannot do is over at once.
TEST(blkfront_what_the_disk_cannot_do) {
    Disk disk;
    disk.world.bus.peer.set("info", 4u);
    disk.world.bus.peer.set("feature-flush-cache", 0u);
    CHECK(disk.connect());
    Blkback back{disk};
    const struct {
        xpv_blkfront_op op;
        uint64_t sector;
        uint32_t count;
        xpv_blkfront_status status;
    } rows[] = {
        {XPV_BLKFRONT_WRITE, 0, 8, XPV_BLKFRONT_IO_ERROR},
        {XPV_BLKFRONT_FLUSH, 0, 0, XPV_BLKFRONT_OK},
        {XPV_BLKFRONT_DISCARD, 0, 8, XPV_BLKFRONT_UNSUPPORTED},
        {XPV_BLKFRONT_ERASE, 0, 8, XPV_BLKFRONT_UNSUPPORTED},
        {XPV_BLKFRONT_READ, Disk::sectors - 7, 8, XPV_BLKFRONT_IO_ERROR},
        {XPV_BLKFRONT_READ, ~uint64_t{0} - 3, 8, XPV_BLKFRONT_IO_ERROR},
        {XPV_BLKFRONT_READ, 0, 2056, XPV_BLKFRONT_IO_ERROR},
        {XPV_BLKFRONT_READ, 0, 0, XPV_BLKFRONT_IO_ERROR},
    };
    for (const auto& row : rows) {
        BlockRequest request;
        disk.prepare(request, row.op, row.sector, row.count);
        disk.submit(request);
        CHECK_EQ(request.done, 1u);
        CHECK_EQ(request.pdu.status, row.status);
    }
    CHECK_EQ(back.requests(), 0u);
    disk.world.grants.let_go_all();
}

TEST(blkfront_operations_that_turn_out_unknown) {
    Disk disk;
    CHECK(disk.connect());
    Blkback back{disk};
    Blkback::Taken taken;
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_FLUSH, 0, 0);
    disk.submit(request);
    CHECK(back.take(taken));
    back.answer(taken.id, taken.op, -2);
    back.publish();
    CHECK_EQ(request.pdu.status, XPV_BLKFRONT_OK);
    disk.later();
    CHECK(!disk.os.disk.flush);
    CHECK_EQ(disk.world.log.warnings, 1u);

    disk.prepare(request, XPV_BLKFRONT_ERASE, 0, 8);
    disk.submit(request);
    CHECK(back.take(taken));
    back.answer(taken.id, taken.op, -2);
    back.publish();
    CHECK_EQ(request.pdu.status, XPV_BLKFRONT_UNSUPPORTED);
    disk.later();
    CHECK(disk.os.disk.discard && !disk.os.disk.erase);

    disk.prepare(request, XPV_BLKFRONT_DISCARD, 0, 8);
    disk.submit(request);
    CHECK(back.take(taken));
    back.answer(taken.id, taken.op, -2);
    back.publish();
    disk.later();
    CHECK(!disk.os.disk.discard);

    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    disk.submit(request);
    CHECK(back.take(taken));
    back.answer(taken.id, taken.op, -1);
    back.publish();
    CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
    disk.world.grants.let_go_all();
}

// Who hears that the disk has grown uses it at once; and what it lost is refused from then
// on, too.
TEST(blkfront_grows_before_anybody_hears) {
    Disk disk;
    disk.world.bus.peer.set("sectors", 4096u);
    CHECK(disk.connect());
    Blkback back{disk};
    struct Sudden {
        Disk& disk;
        BlockRequest request;
    };
    for (uint32_t sectors : each(8192u, 4096u)) {
        Sudden sudden{disk, {}};
        disk.os.told = [](void* context) noexcept {
            auto& now = *static_cast<Sudden*>(context);
            now.disk.prepare(now.request, XPV_BLKFRONT_READ, 8000, 8);
            now.disk.submit(now.request);
        };
        disk.os.told_context = &sudden;
        disk.world.bus.peer.set("sectors", sectors);
        CHECK_EQ(disk.handle(XPV_CHANGED), 0);
        disk.os.told = nullptr;
        CHECK_EQ(disk.os.disk.sectors, uint64_t{sectors});
        CHECK_EQ(back.serve(), sectors == 8192 ? 1u : 0u);
        CHECK_EQ(sudden.request.done, 1u);
        CHECK_EQ(sudden.request.pdu.status,
                 sectors == 8192 ? XPV_BLKFRONT_OK : XPV_BLKFRONT_IO_ERROR);
    }
    disk.world.grants.let_go_all();
}
