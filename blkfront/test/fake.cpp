// SPDX-License-Identifier: GPL-2.0-only
#include "blkfront/test/fake.hpp"

#include "kunit/each.hpp"

using namespace xpv;
using fake::Account;
using fake::BlockRequest;
using fake::Call;
using fake::Context;
using fake::In;
using fake::world;

// ---- upcalls -------------------------------------------------------------------

uint32_t xpv_blkfront_os_segments(xpv_blkfront_request* pdu, xpv_blkfront_cursor* cursor,
                                  xpv_blkfront_segment* segments, uint32_t max) {
    auto& request = *reinterpret_cast<BlockRequest*>(pdu);
    const uint32_t bytes = pdu->sectors * 512;
    uint64_t& at = cursor->opaque[0];
    uint32_t count = 0;
    while (count < max && at < bytes) {
        uint8_t* const from = request.bytes() + at;
        const auto left = static_cast<uint32_t>(bytes - at);
        const auto offset = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(from) % page_size);
        uint32_t length = min(left, page_size - offset);
        if (request.piece != 0)
            length = min(length, request.piece);
        segments[count++] = {world().memory.find(from), from, length};
        at += length;
    }
    return count;
}

void xpv_blkfront_os_done(xpv_blkfront_os* os, xpv_blkfront_request* first) {
    if (first == nullptr || world().account.locks != 0)
        XPV_FAKE_FAIL("requests handed back: none, or with a lock held");
    while (first != nullptr) {
        auto& request = *reinterpret_cast<BlockRequest*>(first);
        first = first->next;
        if (++request.done != 1)
            XPV_FAKE_FAIL("a request came back %u times", request.done);
        ++os->done;
        os->failed += request.pdu.status != XPV_BLKFRONT_OK ? 1 : 0;
        os->out.give();
    }
}

int xpv_blkfront_os_disk(xpv_blkfront_os* os, const xpv_blkfront_disk* disk) {
    Account& account = world().account;
    account.enter(fake::call_disk, Context::Process);
    if (const int code = account.inject(fake::call_disk, -12); code != 0)
        return code;
    os->disk = *disk;
    ++os->disks;
    if (os->told != nullptr)
        os->told(os->told_context);
    return 0;
}

void xpv_blkfront_os_stop(xpv_blkfront_os* os) { os->stopped = true; }

void xpv_blkfront_os_start(xpv_blkfront_os* os) {
    os->stopped = false;
    ++os->starts;
}

bool xpv_blkfront_os_in_use(xpv_blkfront_os* os) { return os->in_use; }

void xpv_blkfront_os_tick(xpv_blkfront_os* os, uint32_t ms) {
    if (ms < 10 || ms > 60000)
        XPV_FAKE_FAIL("a tick in %u ms", ms);
    ++os->ticks;
}

void xpv_blkfront_os_yield(xpv_blkfront_os* os) { ++os->yields; }

void xpv_blkfront_os_look(xpv_blkfront_os* os, uint32_t, uint32_t) { ++os->looks; }

// ---- the device ----------------------------------------------------------------

namespace xpv::fake {

Disk::Disk(uint32_t rings, uint32_t order, uint32_t indirect) noexcept {
    world.account.watch(os.out);
    medium = static_cast<uint8_t*>(xpv_test_alloc(sectors * 512));
    settings = {rings, order, 256, XPV_BLKFRONT_MIN_PAGES, 1, 0, XPV_BLKFRONT_AUTO, false};
    world.bus.own.set("virtual-device", 51712);
    Folder& peer = world.bus.peer;
    for (const char* feature : test::each("feature-flush-cache", "feature-discard",
                                          "discard-secure", "feature-persistent", "online"))
        peer.set(feature, 1);
    peer.set("multi-queue-max-queues", 8);
    peer.set("max-ring-page-order", 4);
    if (indirect != 0)
        peer.set("feature-max-indirect-segments", indirect);
    peer.set("sectors", sectors);
    peer.set("sector-size", 512);
    peer.set("info", 0u);
    peer_state(XenbusStateInitWait);
    world.ends.on_wait(lets_go, this);
    world.account.at_each_lock(watch_counters, this);
}

Disk::~Disk() {
    remove();
    xpv_test_free(medium);
}

bool Disk::create() noexcept {
    device = xpv_blkfront_create(&world.bus, &os, &settings);
    if (device == nullptr)
        return false;
    xpv_blkfront_name name{};
    return xpv_blkfront_identity(device, &name) == 0;
}

bool Disk::connect() noexcept {
    if (device == nullptr && !create())
        return false;
    if (handle(XPV_PROBED) != 0 || world.bus.state() != XenbusStateInitialised) {
        XPV_FAKE_FAIL("no rings for the backend");
        return false;
    }
    peer_state(XenbusStateConnected);
    handle(XPV_CHANGED);
    return !os.stopped;
}

bool Disk::settle() noexcept {
    for (uint32_t i = 0; i < 20; ++i) {
        switch (world.bus.state()) {
        case XenbusStateInitialising:
            peer_state(XenbusStateInitWait);
            break;
        case XenbusStateInitialised:
            peer_state(XenbusStateConnected);
            break;
        case XenbusStateConnected:
            if (world.bus.peer.number("state") == XenbusStateConnected && !os.stopped)
                return true;
            break;
        case XenbusStateClosing:
            peer_state(XenbusStateClosing);
            break;
        default:
            world.grants.let_go_all();
            peer_state(XenbusStateClosed);
            break;
        }
        handle(XPV_CHANGED);
        later();
    }
    XPV_FAKE_FAIL("the two ends do not come together, ours is in state %u", world.bus.state());
    return false;
}

void Disk::later() noexcept {
    world.ends.run([this](xpv_event event) noexcept { (void)handle(event); });
}

void Disk::remove() noexcept {
    if (device == nullptr)
        return;
    handle(XPV_REMOVE);
    xpv_blkfront_fail_all(device);
    if (os.out.outstanding() != 0)
        XPV_FAKE_FAIL("removed with %u requests out", os.out.outstanding());
    xpv_blkfront_destroy(device);
    device = nullptr;
}

bool Disk::lets_go(void* context, uint16_t) noexcept {
    auto& disk = *static_cast<Disk*>(context);
    disk.world.grants.let_go_all();
    const bool closed = disk.world.bus.state() == XenbusStateClosed;
    disk.peer_state(closed ? XenbusStateClosed : XenbusStateClosing);
    return true;
}

void Disk::watch_counters(void* context, bool taken) noexcept {
    auto& disk = *static_cast<Disk*>(context);
    if (disk.device == nullptr)
        return;
    const bool outermost = (disk.world.account.locks & (disk.world.account.locks - 1)) == 0;
    for (uint32_t i = 0; i < XPV_BLKFRONT_MAX_RINGS; ++i) {
        xpv_blkfront_counters now = *xpv_blkfront_ring_counters(disk.device, i);
        // These have one context each that counts them.
        now.events = now.spurious = now.replayed = 0;
        if (taken && outermost && __builtin_memcmp(&now, &disk.counted_[i], sizeof(now)) != 0)
            XPV_FAKE_FAIL("ring %u counts without a lock", i);
        disk.counted_[i] = now;
    }
}

xpv_blkfront_summary Disk::summary() noexcept {
    xpv_blkfront_summary summary{};
    xpv_blkfront_summarise(device, &summary);
    return summary;
}

// ---- the block layer -----------------------------------------------------------

BlockRequest::~BlockRequest() {
    if (memory != nullptr)
        world().memory.buffer_free(memory, room);
}

BlockRequests::BlockRequests(uint32_t count) noexcept
    : first_{static_cast<BlockRequest*>(xpv_test_alloc(count * sizeof(BlockRequest)))}, count_{
                                                                                            count} {
    for (uint32_t i = 0; i < count; ++i)
        new (&first_[i]) BlockRequest;
}

BlockRequests::~BlockRequests() {
    for (BlockRequest& request : *this)
        request.~BlockRequest();
    xpv_test_free(first_);
}

void Disk::prepare(BlockRequest& request, xpv_blkfront_op op, uint64_t sector, uint32_t count,
                   uint32_t skew, uint32_t seed) noexcept {
    const bool data = op == XPV_BLKFRONT_READ || op == XPV_BLKFRONT_WRITE;
    request.pdu = {};
    request.pdu.op = static_cast<uint8_t>(op);
    request.pdu.sector = sector;
    request.pdu.sectors = count;
    request.done = 0;
    if (!data)
        return;
    if (request.memory == nullptr) {
        request.room = skew + count * 512 + page_size;
        request.memory = static_cast<uint8_t*>(world.memory.buffer(request.room));
    }
    request.offset = skew;
    if (op == XPV_BLKFRONT_WRITE)
        for (uint32_t i = 0; i < count * 512; ++i)
            request.bytes()[i] = pattern(sector * 512 + i, seed);
}

void Disk::submit(BlockRequest& request, bool more, uint32_t queue) noexcept {
    request.pdu.queue = static_cast<uint16_t>(queue);
    request.pdu.next = nullptr;
    request.pdu.memory = request.walked || request.piece != 0 ? nullptr : request.bytes();
    os.out.take();
    const In softirq{world.account, Context::Softirq};
    xpv_blkfront_submit(device, queue, &request.pdu, more);
}

bool Disk::holds(const BlockRequest& request, uint32_t seed) noexcept {
    for (uint32_t i = 0; i < request.pdu.sectors * 512; ++i)
        if (request.bytes()[i] != pattern(request.pdu.sector * 512 + i, seed))
            return false;
    return true;
}

bool Disk::stored(uint64_t sector, uint32_t count, uint32_t seed) const noexcept {
    for (uint64_t i = sector * 512; i < (sector + count) * 512; ++i)
        if (medium[i] != pattern(i, seed))
            return false;
    return true;
}

} // namespace xpv::fake
