// SPDX-License-Identifier: GPL-2.0-only
// A ring's way in: pages, copies, slots.
#include "blkfront/device.hpp"
#include "blkfront/ring.hpp"

namespace xpv::blkfront {
namespace {

constexpr uint32_t pieces = 16; // of a request's memory, looked at together

// Calls piece(Segment) for each piece of a request's memory.
template <class Piece> void walk(Request& request, Piece piece) noexcept {
    xpv_blkfront_cursor cursor{};
    Segment segments[pieces];
    for (;;) {
        const uint32_t count = xpv_blkfront_os_segments(&request, &cursor, segments, pieces);
        for (uint32_t i = 0; i < count; ++i)
            piece(segments[i]);
        if (count < pieces)
            return;
    }
}

bool has_data(const Request& request) noexcept {
    return request.op == XPV_BLKFRONT_READ || request.op == XPV_BLKFRONT_WRITE;
}

// The front of a slot, for ring requests of one segment: most there are.
struct OneSegment {
    uint8_t operation;
    uint8_t nr_segments;
    blkif_vdev_t handle;
    uint32_t padding;
    uint64_t id;
    uint64_t sector_number;
    WireSegment seg[1];
};
static_assert(sizeof(OneSegment) == 32);
static_assert(__builtin_offsetof(OneSegment, seg) == __builtin_offsetof(WireRequest, seg));

} // namespace

// Requests come, that many of them to wait for an event. True: look for answers, an event
// will not tell of those that are there. The lock is held.
inline bool Ring::expect(uint32_t waiters) noexcept {
    waiters_ += waiters;
    if (!quiet_ || waiters == 0 || !open_)
        return false;
    quiet_ = false;
    return ring_->arm(1);
}

void Ring::submit(RequestList& fresh, bool more) noexcept {
    RequestList ready;
    RequestList waiting;
    uint32_t waiters = 0;
    while (Request* const request = fresh.pop()) {
        waiters += request->polled ? 0 : 1;
        const bool first_come = load_once(waiting_.count_address()) == 0;
        (first_come && prepare(*request, false) ? ready : waiting).push(*request);
    }
    RequestList over;
    bool notify = false;
    bool missed = false;
    {
        const Guard guard{lock_};
        count_.pool_empty += waiting.count();
        const bool serves = open_ && !broken_;
        missed = expect(waiters);
        if (serves && ready_.empty() && waiting_.empty() && waiting.empty()) [[likely]] {
            if (!put_list(ready, over))
                ready_.append(ready);
        } else {
            ready_.append(ready);
            waiting_.append(waiting);
            if (serves)
                issue(over);
        }
        if (serves && !more)
            notify = publish();
        begin_finish(over);
    }
    if (notify)
        channel_.notify();
    finish(over);
    if (missed) [[unlikely]]
        (void)look();
    device_.wake_line();
}

void Ring::commit() noexcept {
    bool notify = false;
    {
        const Guard guard{lock_};
        if (open_ && !broken_)
            notify = publish();
    }
    if (notify)
        channel_.notify();
}

bool Ring::remind() noexcept {
    (void)look();
    const Guard guard{lock_};
    if (!open_ || broken_)
        return true;
    const bool moved = ring_->response_index() != reminded_;
    reminded_ = ring_->response_index();
    ++count_.timeouts;
    if (!publish())
        ++count_.notifies;
    channel_.notify();
    return moved;
}

// ---- pages -------------------------------------------------------------------------

uint32_t Ring::count_direct(Request& request) const noexcept {
    const Connection& connection = device_.connection();
    if (connection.copy)
        return 0;
    DirectPlan direct{connection.per_slot, connection.sector_size, connection.lent};
    walk(request, [&direct](const Segment& piece) noexcept { direct.add(piece); });
    return direct.fits() ? direct.grants() : 0;
}

// Most requests need a page, and there is one. No lock is held.
inline bool Ring::prepare_page(Request& request) noexcept {
    if (!device_.connection().copy || request.sectors > page_sectors)
        return false;
    Pool& pool = device_.pool();
    Pool::Index page = hand_.take();
    if (page == Pool::none)
        page = pool.take_one();
    if (page == Pool::none)
        return false;
    pool[page].next = Pool::none;
    pool[page].first = 0;
    pool[page].last = static_cast<uint8_t>(request.sectors - 1);
    request.first = request.at = page;
    request.grants = 1;
    if (request.op == XPV_BLKFRONT_WRITE)
        copy(request, true);
    return true;
}

// All pages that a request needs, and what it writes in them. in_line: the lock is held,
// and on failure the ring is in line for pages.
bool Ring::prepare(Request& request, bool in_line) noexcept {
    if (!has_data(request))
        return true;
    if (!in_line && prepare_page(request)) [[likely]]
        return true;
    const uint32_t direct = count_direct(request);
    const Plan needs =
        plan(direct != 0 ? direct : packed_grants(request.sectors), device_.connection().per_slot);
    const uint32_t kept = needs.indirect + (direct != 0 ? 0 : needs.grants);
    Pool& pool = device_.pool();
    Pool::Chains chains;
    const bool got =
        in_line ? pool.take_in_line(index_, kept, direct, chains) : pool.take(kept, direct, chains);
    if (!got)
        return false;
    Pool::Index data = chains.kept;
    if (needs.indirect != 0) {
        request.indirect = chains.kept;
        Pool::Index last = chains.kept;
        for (uint32_t i = 1; i < needs.indirect; ++i)
            last = pool[last].next;
        data = pool[last].next;
        pool[last].next = Pool::none;
    }
    request.spare = request.indirect;
    request.grants = static_cast<uint16_t>(needs.grants);
    if (direct != 0) {
        prepare_direct(request, chains.lent);
    } else {
        request.first = data;
        uint32_t left = request.sectors;
        for (Pool::Index i = data; i != Pool::none; i = pool[i].next) {
            const uint32_t here = min(left, page_sectors);
            pool[i].first = 0;
            pool[i].last = static_cast<uint8_t>(here - 1);
            left -= here;
        }
        if (request.op == XPV_BLKFRONT_WRITE)
            copy(request, true);
    }
    request.at = request.first;
    return true;
}

void Ring::prepare_direct(Request& request, Pool::Index first) noexcept {
    Pool& pool = device_.pool();
    const Access access = request.op == XPV_BLKFRONT_WRITE ? Access::ReadOnly : Access::ReadWrite;
    request.first = first;
    request.flags |= lent;
    Pool::Index i = first;
    walk(request, [&](const Segment& piece) noexcept {
        Pool::Entry& entry = pool[i];
        const auto offset = reinterpret_cast<uintptr_t>(piece.address) & page_mask;
        entry.first = static_cast<uint8_t>(offset >> sector_shift);
        entry.last = static_cast<uint8_t>((offset + piece.bytes - 1) >> sector_shift);
        pool.lend(i, piece.page, access);
        i = entry.next;
    });
}

// Between a request's memory and its pages. in: into the pages.
void Ring::copy(Request& request, bool in) noexcept {
    const Pool& pool = device_.pool();
    Pool::Index i = request.first;
    uint32_t at = 0;
    const auto copy_piece = [&](uint8_t* ours, uint32_t left) noexcept {
        while (left > 0) {
            const uint32_t bytes = min(left, page_size - at);
            uint8_t* const page = pool[i].address + at;
            __builtin_memcpy(in ? page : ours, in ? ours : page, bytes);
            ours += bytes;
            left -= bytes;
            at += bytes;
            if (at == page_size) {
                at = 0;
                i = pool[i].next;
            }
        }
    };
    if (request.memory != nullptr)
        copy_piece(request.memory, request.sectors << sector_shift);
    else
        walk(request,
             [&](const Segment& piece) noexcept { copy_piece(piece.address, piece.bytes); });
}

// ---- slots; the lock is held ---------------------------------------------------------

inline uint64_t Ring::shadow(Request& request, uint8_t op) noexcept {
    const RequestId id = ids_.take(); // as many as slots, at least
    shadows_[id.number()] = {&request, ring_->request_index(), op};
    ++request.slots;
    return WireId{id.number(), ids_.generation(id)}.wire();
}

inline WireSegment Ring::next_segment(Request& request) noexcept {
    const Pool::Entry& entry = device_.pool()[request.at];
    WireSegment segment{};
    segment.gref = entry.ref().number();
    segment.first_sect = entry.first;
    segment.last_sect = entry.last;
    request.at = entry.next;
    ++request.issued;
    return segment;
}

// A request that is one segment.
inline void Ring::put_page(Request& request) noexcept {
    OneSegment slot{};
    slot.operation = request.op == XPV_BLKFRONT_READ ? BLKIF_OP_READ : BLKIF_OP_WRITE;
    slot.nr_segments = 1;
    slot.handle = static_cast<blkif_vdev_t>(device_.vdevice());
    slot.sector_number = request.sector;
    slot.seg[0] = next_segment(request);
    slot.id = shadow(request, slot.operation);
    ring_->put(slot);
    request.done = request.sectors;
}

// True: nothing is left to put.
inline bool Ring::put_all(Request& request) noexcept {
    if (request.status != XPV_BLKFRONT_OK) [[unlikely]] {
        request.issued = request.grants;
        return true;
    }
    do {
        if (ring_->free() == 0) {
            ++count_.ring_full;
            return false;
        }
        ++count_.slots;
        if (request.grants == 1)
            put_page(request);
        else if (request.grants == 0)
            put_plain(request);
        else
            put_data(request);
    } while (request.issued < request.grants);
    return true;
}

// True: the whole list is put.
inline bool Ring::put_list(RequestList& list, RequestList& over) noexcept {
    while (Request* const request = list.front()) {
        if (!put_all(*request))
            return false;
        (void)list.pop();
        if (request->slots == 0)
            end(*request, over); // failed before all of it was put
    }
    return true;
}

void Ring::issue(RequestList& over) noexcept {
    Pool& pool = device_.pool();
    if (!put_list(ready_, over)) {
        pool.leave_line(index_); // pages are not what it lacks
        return;
    }
    while (Request* const request = waiting_.front()) {
        if (!prepare(*request, true)) {
            if (ring_->free() == ring_->size())
                xpv_blkfront_os_look(device_.os(), index_.number(), retry_us);
            return;
        }
        (void)waiting_.pop();
        if (put_all(*request))
            continue;
        ready_.push(*request);
        pool.leave_line(index_);
        return;
    }
}

void Ring::put_plain(Request& request) noexcept {
    const auto handle = static_cast<blkif_vdev_t>(device_.vdevice());
    if (request.op == XPV_BLKFRONT_FLUSH) {
        WireRequest slot{};
        slot.operation =
            device_.face().has(Face::barriers) ? BLKIF_OP_WRITE_BARRIER : BLKIF_OP_FLUSH_DISKCACHE;
        slot.handle = handle;
        slot.id = shadow(request, slot.operation);
        ring_->put(slot);
        return;
    }
    WireDiscard slot{};
    slot.operation = BLKIF_OP_DISCARD;
    slot.flag = request.op == XPV_BLKFRONT_ERASE ? BLKIF_DISCARD_SECURE : 0;
    slot.handle = handle;
    slot.sector_number = request.sector;
    slot.nr_sectors = request.sectors;
    slot.id = shadow(request, slot.operation);
    ring_->put(slot);
}

// As much of another one as a slot takes.
void Ring::put_data(Request& request) noexcept {
    const auto handle = static_cast<blkif_vdev_t>(device_.vdevice());
    const uint8_t op = request.op == XPV_BLKFRONT_READ ? BLKIF_OP_READ : BLKIF_OP_WRITE;
    const uint32_t count =
        min(static_cast<uint32_t>(request.grants - request.issued), device_.connection().per_slot);
    const uint64_t sector = request.sector + request.done;
    if (request.issued == 0 && count < request.grants)
        ++count_.splits;
    uint32_t sectors = 0;
    const auto next = [&]() noexcept {
        const WireSegment segment = next_segment(request);
        sectors += segment.last_sect - segment.first_sect + 1U;
        return segment;
    };
    if (count <= direct_segments) {
        WireRequest slot{};
        slot.operation = op;
        slot.nr_segments = static_cast<uint8_t>(count);
        slot.handle = handle;
        slot.sector_number = sector;
        for (uint32_t i = 0; i < count; ++i)
            slot.seg[i] = next();
        slot.id = shadow(request, op);
        ring_->put(slot);
    } else {
        Pool::Entry& page = device_.pool()[request.spare];
        request.spare = page.next;
        auto* const segments = reinterpret_cast<WireSegment*>(page.address);
        for (uint32_t i = 0; i < count; ++i)
            copy_to_shared(&segments[i], next());
        WireIndirect slot{};
        slot.operation = BLKIF_OP_INDIRECT;
        slot.indirect_op = op;
        slot.nr_segments = static_cast<uint16_t>(count);
        slot.handle = handle;
        slot.sector_number = sector;
        slot.indirect_grefs[0] = page.ref().number();
        slot.id = shadow(request, op);
        ring_->put(slot);
        ++count_.indirect;
    }
    request.done += sectors;
}

} // namespace xpv::blkfront
