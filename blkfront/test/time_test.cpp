// SPDX-License-Identifier: GPL-2.0-only
// What happens when time passes, and when there is not enough of anything.
#include "blkfront/test/fake.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using fake::Blkback;
using fake::BlockRequest;
using fake::BlockRequests;
using fake::Disk;
using test::each;

// By the knob requests fail after a while; not those whose own pages are still in the
// backend's hands.
TEST(blkfront_fails_after_a_while) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
        Disk disk;
        disk.settings.persistent = persistent;
        disk.settings.fail_after_s = 30;
        CHECK(disk.connect());
        BlockRequest request;
        disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
        disk.submit(request);
        uint32_t ref = 0;
        {
            Blkback back{disk};
            Blkback::Taken taken;
            CHECK(back.take(taken));
            ref = taken.refs[0];
        }
        disk.world.grants.let_go_all();
        disk.world.grants.hold(ref);
        disk.peer_state(XenbusStateClosed);
        disk.handle(XPV_CHANGED);
        xpv_blkfront_tick(disk.device);
        CHECK_EQ(request.done, 0u);
        disk.world.now_ms += 31000;
        xpv_blkfront_tick(disk.device);
        CHECK_EQ(request.done, persistent == XPV_BLKFRONT_ON ? 1u : 0u);
        BlockRequest late;
        disk.prepare(late, XPV_BLKFRONT_READ, 0, 8);
        disk.submit(late);
        CHECK_EQ(late.pdu.status, XPV_BLKFRONT_IO_ERROR);
        disk.world.grants.let_go(ref);
        xpv_blkfront_tick(disk.device);
        CHECK_EQ(request.done, 1u);
        CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
        // It comes back.
        CHECK(disk.settle());
        CHECK(!disk.summary().failing);
    }
}

// The driver leaves a backend that keeps everything.
TEST(blkfront_leaves_a_backend_that_keeps_all) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF)) {
        Disk disk;
        disk.settings.persistent = persistent;
        disk.world.grants.hold_all = true;
        disk.world.ends.on_wait([](void*, uint16_t) noexcept { return false; }, nullptr);
        CHECK(disk.connect());
        {
            BlockRequest request;
            disk.prepare(request, XPV_BLKFRONT_READ, 0, 80);
            disk.submit(request);
            disk.remove();
            CHECK_EQ(request.done, 1u);
            CHECK_EQ(request.pdu.status, XPV_BLKFRONT_IO_ERROR);
            CHECK(disk.world.account.deferred.outstanding() > 0);
            disk.world.settle();
        }
        CHECK(disk.world.clean());
    }
}

TEST(blkfront_timeouts) {
    Disk disk;
    CHECK(disk.connect());
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    disk.submit(request);
    Blkback back{disk};
    Blkback::Taken taken;
    // Our event may be lost: another one.
    const uint32_t before = disk.world.events.notified();
    xpv_blkfront_timeout(disk.device, &request.pdu);
    CHECK_EQ(disk.world.events.notified(), before + 1);
    CHECK(!disk.world.ends.any_due());
    // Its event was.
    CHECK(back.take(taken));
    back.answer(taken.id, taken.inner);
    back.words()[2] = back.rsp_prod;
    xpv_blkfront_timeout(disk.device, &request.pdu);
    CHECK_EQ(request.done, 1u);
    // Others are answered: it is slow.
    disk.prepare(request, XPV_BLKFRONT_READ, 0, 8);
    disk.submit(request);
    CHECK(back.take(taken));
    for (uint32_t i = 0; i < 5; ++i) {
        BlockRequest other;
        disk.prepare(other, XPV_BLKFRONT_READ, 0, 8);
        disk.submit(other);
        Blkback::Taken more;
        CHECK(back.take(more));
        back.answer(more.id, more.inner);
        back.publish();
        xpv_blkfront_timeout(disk.device, &request.pdu);
    }
    CHECK(!disk.world.ends.any_due());
    // None at all: away from it, before another one finds us Connected.
    xpv_blkfront_timeout(disk.device, &request.pdu);
    CHECK(!disk.world.ends.any_due());
    xpv_blkfront_timeout(disk.device, &request.pdu);
    CHECK(disk.world.ends.due(XPV_RENEW));
    disk.later();
    CHECK(disk.settle());
    Blkback next{disk};
    CHECK_EQ(next.serve(), 1u);
    CHECK_EQ(request.done, 1u);
    disk.world.grants.let_go_all();
}

// One failure at each place while requests run: none is lost.
TEST(blkfront_failures_while_running) {
    for (uint8_t persistent : each(XPV_BLKFRONT_ON, XPV_BLKFRONT_OFF))
        for (uint32_t nth = 1;; nth += nth < 30 ? 1 : 23) {
            Disk disk;
            disk.settings.persistent = persistent;
            CHECK(disk.connect());
            const uint32_t injected = disk.world.account.injected();
            disk.world.account.fail_nth(nth);
            BlockRequest requests[6];
            for (uint32_t i = 0; i < 6; ++i) {
                disk.prepare(requests[i], XPV_BLKFRONT_WRITE, i * 1200, 1200, 4 * (i % 2), i);
                disk.submit(requests[i]);
            }
            {
                Blkback back{disk};
                for (uint32_t i = 0; i < 6; ++i)
                    back.serve();
            }
            disk.world.grants.let_go_all();
            for (uint32_t i = 0; i < 6; ++i) {
                CHECK_EQ(requests[i].done, 1u);
                CHECK(disk.stored(i * 1200, 1200, i));
            }
            if (disk.world.account.injected() == injected)
                break;
        }
}

// A tick between two connections does not take the new one's ring for the old one's.
TEST(blkfront_ticks_while_it_attaches) {
    Disk disk;
    disk.settings.fail_after_s = 30;
    CHECK(disk.connect());
    disk.peer_state(XenbusStateClosed);
    disk.handle(XPV_CHANGED);
    disk.peer_state(XenbusStateInitWait);
    for (uint32_t i = 0; i < 3; ++i)
        disk.handle(XPV_CHANGED);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateInitialised});
    xpv_blkfront_tick(disk.device);
    CHECK_EQ(disk.world.grants.state(disk.node("ring-ref")), fake::OurGrants::State::Granted);
    CHECK(disk.settle());
    BlockRequest request;
    disk.prepare(request, XPV_BLKFRONT_WRITE, 0, 8, 0, 6);
    disk.submit(request);
    Blkback back{disk};
    CHECK_EQ(back.serve(), 1u);
    CHECK(disk.stored(0, 8, 6));
    disk.world.grants.let_go_all();
}
