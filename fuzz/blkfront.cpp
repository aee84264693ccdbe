// SPDX-License-Identifier: GPL-2.0-only
// Target: the block frontend with a backend that offers anything, answers anything at any
// time, keeps grants, comes and goes, while memory and grants fail here and there. Every
// request has to come back once.
#include "fuzz/input.hpp"
#include "blkfront/test/fake.hpp"
#include "kunit/check.hpp"

namespace xpv::fuzz {
namespace {

using namespace xpv::fake;

constexpr uint32_t most = 24;

struct Scene {
    Input& in;
    Disk& disk;
    BlockRequest* requests;
    uint32_t busy = 0; // bits
    uint64_t ids[64] = {};
    uint32_t known = 0;
};

void submit(Scene& s) {
    if (s.disk.os.stopped)
        return;
    const uint32_t i = s.in.below(most);
    BlockRequest& request = s.requests[i];
    if ((s.busy & 1U << i) != 0 && request.done == 0)
        return;
    const auto op = static_cast<xpv_blkfront_op>(s.in.below(5));
    const uint32_t count = s.in.flag() ? 1 + s.in.below(16) : 1 + s.in.u16() % 2048;
    const uint64_t sector = s.in.u16() % Disk::sectors;
    const uint32_t skew = s.in.flag() ? 0 : s.in.flag() ? 512 : 4;
    if (request.memory != nullptr)
        s.disk.world.memory.buffer_free(request.memory, request.room);
    request.memory = nullptr;
    request.piece = s.in.flag() ? 0 : 512 * (1 + s.in.below(8));
    s.disk.prepare(request, op, sector, op == XPV_BLKFRONT_FLUSH ? 0 : count, skew, i);
    s.busy |= 1U << i;
    s.disk.submit(request, s.in.flag(), s.in.below(8));
}

// The rings that the nodes tell of, whatever state they are in.
template <class Act> void at_ring(Scene& s, Act act) {
    const uint32_t rings = s.disk.summary().rings;
    if (rings == 0)
        return;
    Blkback back{s.disk, s.in.below(rings)};
    if (!back.valid)
        return;
    back.req_cons = back.rsp_prod;
    act(back);
    if (s.in.below(8) != 0)
        s.disk.world.grants.let_go_all();
}

void answer_all(Scene& s) {
    at_ring(s, [&s](Blkback& back) {
        // What is answered already lies there as an answer; skip it.
        for (uint32_t i = 0; back.requests() != 0 && i < 600; ++i) {
            const volatile uint8_t* const slot = back.slot(back.req_cons);
            uint64_t id = 0;
            for (uint32_t byte = 0; byte < 8; ++byte)
                id |= uint64_t{slot[8 + byte]} << (8 * byte);
            s.ids[s.known++ % 64] = id;
            const uint8_t op = slot[0] == 6 ? slot[1] : slot[0];
            ++back.req_cons;
            const uint8_t how = s.in.u8();
            const int16_t status = how < 200 ? 0 : how < 220 ? -1 : how < 240 ? -2 : 77;
            if (how == 255)
                id ^= uint64_t{1} << s.in.below(64);
            back.answer(id, how == 254 ? s.in.u8() : op, status);
        }
        back.publish();
    });
}

void nodes(Scene& s) {
    static const char* const names[] = {"sectors",
                                        "sector-size",
                                        "info",
                                        "feature-flush-cache",
                                        "feature-barrier",
                                        "feature-discard",
                                        "discard-secure",
                                        "feature-persistent",
                                        "multi-queue-max-queues",
                                        "max-ring-page-order",
                                        "max-ring-pages",
                                        "feature-max-indirect-segments",
                                        "physical-sector-size",
                                        "discard-granularity",
                                        "online"};
    static const uint32_t values[] = {0, 1, 2, 4, 11, 12, 32, 256, 512, 4096, 8192, ~0U};
    const char* const name = names[s.in.below(sizeof(names) / sizeof(names[0]))];
    if (s.in.below(4) == 0) {
        char text[24];
        s.in.text(text, sizeof(text));
        s.disk.world.bus.peer.set(name, text);
    } else {
        s.disk.world.bus.peer.set(name, values[s.in.below(sizeof(values) / sizeof(values[0]))]);
    }
}

void step(Scene& s) {
    Disk& disk = s.disk;
    switch (s.in.below(16)) {
    case 0:
    case 1:
    case 2:
        submit(s);
        break;
    case 3:
    case 4:
        answer_all(s);
        break;
    case 5:
        at_ring(s, [&s](Blkback& back) {
            back.words()[s.in.below(4)] = s.in.near(back.words()[2]);
            s.disk.world.events.raise(back.port);
        });
        break;
    case 6:
        at_ring(s, [&s](Blkback& back) {
            back.answer(s.ids[s.in.below(64)], static_cast<uint8_t>(s.in.below(8)), 0);
            back.publish();
        });
        break;
    case 7:
        nodes(s);
        break;
    case 8:
        disk.peer_state(s.in.below(9));
        disk.handle(XPV_CHANGED);
        break;
    case 9:
        disk.later();
        break;
    case 10:
        disk.world.now_ms += 1000 * s.in.u8();
        xpv_blkfront_tick(disk.device);
        break;
    case 11:
        for (uint32_t i = 0; i < most; ++i)
            if ((s.busy & 1U << i) != 0 && s.requests[i].done == 0) {
                xpv_blkfront_timeout(disk.device, &s.requests[i].pdu);
                break;
            }
        break;
    case 12:
        disk.handle(s.in.flag() ? XPV_RENEW : s.in.flag() ? XPV_RESUMED : XPV_SUSPEND);
        break;
    case 13:
        if (s.in.flag())
            disk.world.grants.let_go_all();
        disk.world.grants.hold_all = s.in.below(4) == 0;
        disk.world.account.fail_nth(s.in.below(4) == 0 ? 1 + s.in.below(64) : 0);
        disk.os.in_use = s.in.flag();
        break;
    case 14:
        xpv_blkfront_commit(disk.device, s.in.below(8));
        break;
    case 15:
        disk.world.account.fail_nothing();
        if (disk.summary().rings == 0)
            disk.world.bus.domid = s.in.flag() ? World::peer_domid : 9;
        break;
    }
}

} // namespace

void one(Input& in) {
    const uint32_t rings = 1 + in.below(4);
    const uint32_t order = in.below(5);
    Disk disk{rings, order, in.flag() ? 256U : 12 * in.below(3)};
    disk.settings.persistent = static_cast<uint8_t>(in.below(3));
    disk.settings.fail_after_s = in.flag() ? 0 : 100;
    BlockRequest* const requests = new BlockRequest[most];
    {
        Scene s{in, disk, requests};
        if (disk.create()) {
            (void)disk.handle(XPV_PROBED);
            disk.peer_state(XenbusStateConnected);
            (void)disk.handle(XPV_CHANGED);
            while (in.left() > 0)
                step(s);
        }
        disk.world.account.fail_nothing();
        disk.world.grants.let_go_all();
        disk.remove();
        for (uint32_t i = 0; i < most; ++i)
            if ((s.busy & 1U << i) != 0)
                EXPECT_EQ(requests[i].done, 1u);
    }
    disk.world.settle();
    delete[] requests;
}

} // namespace xpv::fuzz
