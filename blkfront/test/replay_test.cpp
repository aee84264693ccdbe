// SPDX-License-Identifier: GPL-2.0-only
// Backends that go away: no request is lost, none comes back twice, and none is sent again
// while the last backend could still act on it.
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

constexpr uint32_t many = 40;

void drop(Disk& disk) noexcept {
    disk.peer_state(XenbusStateClosed);
    disk.handle(XPV_CHANGED);
}

} // namespace

// The backend answers so many slots and dies.
TEST(blkfront_cut_at_every_slot) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF))
        for (uint32_t indirect : each(0u, 256u))
            for (uint32_t cut = 0; cut < 70; cut += 3) {
                Disk disk{2, 0, indirect};
                disk.settings.persistent = persistent;
                CHECK(disk.connect());
                BlockRequests requests{many};
                {
                    Blkback backs[] = {Blkback{disk, 0}, Blkback{disk, 1}};
                    for (uint32_t i = 0; i < many; ++i) {
                        disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 100, 100, 0, i);
                        disk.submit(requests[i], false, i % 2);
                    }
                    Blkback::Taken taken;
                    for (uint32_t i = 0; i < cut; ++i)
                        if (backs[i % 2].take(taken)) {
                            backs[i % 2].perform(taken);
                            backs[i % 2].answer(taken.id, taken.inner);
                            if (i % 5 != 0) // some answers nobody was told of
                                backs[i % 2].publish();
                        }
                }
                disk.world.grants.let_go_all();
                drop(disk);
                CHECK(disk.os.stopped);
                CHECK(disk.settle());
                {
                    Blkback one{disk, 0};
                    Blkback two{disk, 1};
                    for (uint32_t i = 0; i < 4; ++i) {
                        one.serve();
                        two.serve();
                    }
                }
                for (uint32_t i = 0; i < many; ++i) {
                    CHECK_EQ(requests[i].done, 1u);
                    CHECK_EQ(requests[i].pdu.status, XPV_BLKFRONT_OK);
                    CHECK(disk.stored(i * 100, 100, i));
                }
                disk.world.grants.let_go_all();
                disk.remove();
                CHECK(disk.world.clean());
            }
}

// No other connection before the last backend has let go of the ring and of every page.
TEST(blkfront_fence) {
    for (uint32_t what : each(0u, 1u, 2u)) {
        Disk disk;
        disk.settings.persistent = what == 2 ? XPV_BLKFRONT_OFF : XPV_BLKFRONT_ON;
        CHECK(disk.connect());
        BlockRequest request;
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8, 0, 9);
        disk.submit(request);
        uint32_t held = disk.node("ring-ref");
        {
            Blkback back{disk};
            Blkback::Taken taken;
            CHECK(back.take(taken));
            disk.world.grants.let_go_all();
            if (what != 0)
                held = taken.refs[0];
        }
        disk.world.grants.hold(held);
        drop(disk);
        for (uint32_t i = 0; i < 25; ++i) {
            disk.peer_state(i % 2 ? XenbusStateInitWait : XenbusStateClosed);
            disk.handle(XPV_CHANGED);
            CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateClosed});
            CHECK(disk.world.ends.due(XPV_CHANGED));
            CHECK_EQ(request.done, 0u);
        }
        // It is reminded now and then.
        CHECK(disk.world.bus.switched > 5);
        disk.world.grants.let_go(held);
        CHECK(disk.settle());
        Blkback back{disk};
        CHECK_EQ(back.serve(), 1u);
        CHECK(disk.stored(0, 8, 9));
        CHECK_EQ(request.done, 1u);
        disk.world.grants.let_go_all();
    }
}

// Blkback that was bound again takes over the rings of who is Connected, as they are: they
// stay until it has seen us leave.
TEST(blkfront_backend_waits_again) {
    for (bool answers : each(false, true)) {
        Disk disk;
        CHECK(disk.connect());
        BlockRequest request;
        disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8, 0, 2);
        disk.submit(request);
        disk.peer_state(XenbusStateInitWait);
        disk.handle(XPV_CHANGED);
        CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateConnected});
        CHECK_EQ(disk.world.grants.state(disk.node("ring-ref")), fake::OurGrants::State::Granted);
        if (answers) {
            Blkback back{disk};
            CHECK_EQ(back.serve(), 1u);
            CHECK_EQ(request.done, 1u);
        }
        disk.world.ends.on_wait(
            [](void* context, uint16_t) noexcept {
                auto& waiting = *static_cast<Disk*>(context);
                if (waiting.world.grants.state(waiting.node("ring-ref")) !=
                    fake::OurGrants::State::Granted)
                    XPV_FAKE_FAIL("the ring is gone before the backend knows");
                return Disk::lets_go(context, 0);
            },
            &disk);
        disk.later();
        disk.world.ends.on_wait(Disk::lets_go, &disk);
        CHECK(disk.os.stopped);
        CHECK(disk.world.bus.state() != XenbusStateConnected);
        disk.world.grants.let_go_all();
        CHECK(disk.settle());
        Blkback back{disk};
        CHECK_EQ(back.serve(), answers ? 0u : 1u);
        CHECK_EQ(request.done, 1u);
        CHECK(disk.stored(0, 8, 2));
        disk.world.grants.let_go_all();
    }
}

TEST(blkfront_flushes_are_sent_last) {
    Disk disk;
    CHECK(disk.connect());
    BlockRequest requests[6];
    for (uint32_t i = 0; i < 6; ++i) {
        disk.prepare(requests[i], i % 3 == 0 ? XPV_BLKFRONT_FLUSH : XPV_BLKFRONT_WRITE, i * 8,
                     i % 3 == 0 ? 0 : 8);
        disk.submit(requests[i]);
    }
    drop(disk);
    CHECK(disk.settle());
    Blkback back{disk};
    Blkback::Taken taken;
    for (uint32_t i = 0; i < 6; ++i) {
        CHECK(back.take(taken));
        CHECK_EQ(taken.op, i < 4 ? 1u : 3u);
        back.answer(taken.id, taken.inner);
    }
    back.publish();
    for (BlockRequest& request : requests)
        CHECK_EQ(request.done, 1u);
    disk.world.grants.let_go_all();
}

// The backend's domain died with its cache: the next flush cannot succeed; the one after
// can. A domain that only lost its driver kept the cache.
TEST(blkfront_a_lost_cache_is_told_once) {
    for (uint32_t written : each(0u, 1u, 2u))
        for (bool other : each(false, true)) {
            Disk disk;
            CHECK(disk.connect());
            BlockRequest request;
            {
                Blkback back{disk};
                if (written != 0) {
                    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8);
                    disk.submit(request);
                    back.serve();
                }
                if (written == 2) {
                    disk.prepare(request, XPV_BLKFRONT_FLUSH, 0, 0);
                    disk.submit(request);
                    back.serve();
                }
            }
            disk.world.grants.let_go_all();
            drop(disk);
            if (other)
                disk.world.bus.domid = 9;
            CHECK(disk.settle());
            disk.prepare(request, XPV_BLKFRONT_FLUSH, 0, 0);
            disk.submit(request);
            const bool lost = other && written == 1;
            CHECK_EQ(request.done, lost ? 1u : 0u);
            if (lost) {
                CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
                disk.prepare(request, XPV_BLKFRONT_FLUSH, 0, 0);
                disk.submit(request);
            }
            Blkback back{disk};
            CHECK_EQ(back.serve(), 1u);
            CHECK_EQ(request.pdu.status, XPV_BLKFRONT_OK);
            disk.world.grants.let_go_all();
        }
}

// The next backend can do less.
TEST(blkfront_a_weaker_backend) {
    Disk disk{4, 2};
    CHECK(disk.connect());
    BlockRequest requests[5];
    disk.prepare(requests[0], XPV_BLKFRONT_WRITE, 0, 2048, 0, 1);
    disk.prepare(requests[1], XPV_BLKFRONT_DISCARD, 0, 8);
    disk.prepare(requests[2], XPV_BLKFRONT_FLUSH, 0, 0);
    disk.prepare(requests[3], XPV_BLKFRONT_READ, 8000, 8);
    disk.prepare(requests[4], XPV_BLKFRONT_ERASE, 0, 8);
    for (uint32_t i = 0; i < 5; ++i)
        disk.submit(requests[i], false, i);
    drop(disk);
    fake::Folder& peer = disk.world.bus.peer;
    for (const char* node :
         each("multi-queue-max-queues", "max-ring-page-order", "feature-max-indirect-segments",
              "feature-flush-cache", "feature-discard", "feature-persistent"))
        peer.remove(node);
    peer.set("sectors", 4096u);
    CHECK(disk.settle());
    CHECK_EQ(disk.summary().rings, 1u);
    CHECK(!disk.os.disk.flush && !disk.os.disk.discard);
    Blkback back{disk};
    CHECK_EQ(back.serve(), 24u);
    CHECK(disk.stored(0, 2048, 1));
    const xpv_blkfront_status status[] = {XPV_BLKFRONT_OK, XPV_BLKFRONT_UNSUPPORTED,
                                          XPV_BLKFRONT_OK, XPV_BLKFRONT_IO_ERROR,
                                          XPV_BLKFRONT_UNSUPPORTED};
    for (uint32_t i = 0; i < 5; ++i) {
        CHECK_EQ(requests[i].done, 1u);
        CHECK_EQ(requests[i].pdu.status, status[i]);
    }
    disk.world.grants.let_go_all();
}

TEST(blkfront_resumes_in_another_life) {
    Disk disk{2};
    CHECK(disk.connect());
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 800, 0, 3);
    disk.submit(request, false, 1);
    CHECK_EQ(disk.handle(XPV_SUSPEND), 0);
    CHECK(!disk.os.stopped); // it may be called off
    CHECK_EQ(disk.handle(XPV_RESUMED), 0);
    CHECK(disk.os.stopped);
    disk.world.bus.own.set("state", uint32_t{XenbusStateInitialising});
    disk.peer_state(XenbusStateInitWait);
    disk.handle(XPV_CHANGED);
    disk.peer_state(XenbusStateConnected);
    disk.handle(XPV_CHANGED);
    Blkback back{disk, 1};
    CHECK_EQ(back.serve(), 1u);
    CHECK(disk.stored(0, 800, 3));
    CHECK_EQ(request.done, 1u);
    disk.world.grants.let_go_all();
}

// Pages at hand are the pool's: the fence holds for them, too.
TEST(blkfront_what_was_at_hand_is_taken_back) {
    Disk disk;
    CHECK(disk.connect());
    BlockRequest requests[3];
    {
        Blkback back{disk};
        for (BlockRequest& request : requests) {
            disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
            disk.submit(request);
        }
        CHECK_EQ(back.serve(), 3u);
    }
    disk.world.grants.let_go_all();
    drop(disk);
    CHECK_EQ(disk.world.account.grants.outstanding(), 0u);
    CHECK_EQ(disk.summary().pool_free, 0u);
}
