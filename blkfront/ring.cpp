// SPDX-License-Identifier: GPL-2.0-only
// A ring's life, answers, completions. ring_put.cpp: the way in.
#include "blkfront/ring.hpp"

#include "blkfront/device.hpp"

namespace xpv::blkfront {

Ring::Ring(Device& device, QueueIndex index) noexcept
    : device_{device}, index_{index}, count_{device.counters(index)} {}

Result<void> Ring::open(uint32_t order) noexcept {
    XPV_TRY(ring_.open(device_.peer(), order));
    {
        const Guard guard{lock_};
        reminded_ = 0;
        broken_ = quiet_ = false;
        open_ = true;
    }
    const NodeName name{"vbd", device_.vdevice(), "-q"};
    return channel_.offer(device_.bus(), NodeName{name.text(), index_.number()}.text(), on_event,
                          this);
}

void Ring::close(RequestList& unanswered) noexcept {
    (void)look();
    {
        const Guard guard{lock_};
        open_ = false;
    }
    channel_.unbind();
    while (atomic_load(&finishing_) != 0)
        xpv_sleep_ms(1); // a timer's or a timeout's look
    for (Pool::Index page = hand_.take(); page != Pool::none; page = hand_.take()) {
        device_.pool()[page].next = Pool::none;
        device_.pool().give({page, Pool::none});
    }
    const Guard guard{lock_};
    collect(unanswered);
    ring_.detach();
}

// The lock is held. A request in flight by several slots is taken once.
void Ring::collect(RequestList& unanswered) noexcept {
    RequestList* const lists[] = {&ready_, &waiting_, &held_};
    for (RequestList* const list : lists)
        while (Request* const request = list->pop()) {
            request->slots = 0;
            unanswered.push(*request);
        }
    for (uint32_t i = 0; i < max_slots; ++i) {
        Request* const request = ids_.is_taken(i) ? shadows_[i].request : nullptr;
        if (request == nullptr || request->slots == 0)
            continue;
        request->slots = 0;
        unanswered.push(*request);
    }
    ids_.reset();
    waiters_ = 0;
}

void Ring::on_event(void* context) noexcept {
    Ring& ring = *static_cast<Ring*>(context);
    ++ring.count_.events;
    const bool found = ring.look();
    if (!found)
        ++ring.count_.spurious;
    ring.channel_.eoi(!found);
}

bool Ring::look() noexcept {
    bool found = false;
    for (uint32_t looks = 1;; ++looks) {
        RequestList over;
        bool again = false;
        {
            const Guard guard{lock_};
            if (!open_ || broken_)
                break;
            found = reap(over) || found;
            if (!broken_) {
                issue(over);
                notify_if_wanted();
                again = arm(found);
            }
            begin_finish(over);
        }
        finish(over);
        if (!again)
            break;
        if (looks == most_looks) {
            xpv_blkfront_os_look(device_.os(), index_.number(), next_look_us);
            break;
        }
    }
    device_.wake_line();
    return found;
}

// Ask for the next event; whether it is not needed. While answers come, one event may stand
// for several, but never for more than half of what is in flight, and not for long: a look
// in a while that finds nothing asks for each again.
bool Ring::arm(bool found) noexcept {
    quiet_ = waiters_ == 0;
    if (quiet_)
        return false;
    const uint32_t more = found ? min(device_.event_batch(), ring_->in_flight() / 2) : 1;
    const bool there = ring_->arm(max(more, 1U));
    if (!there && more > 1)
        xpv_blkfront_os_look(device_.os(), index_.number(), next_look_us);
    return there;
}

bool Ring::broken(const char* what, uint32_t value) noexcept {
    broken_ = true;
    device_.faults().raise(what, index_, value);
    return false;
}

// Which of our requests an answer's id means.
inline Result<RequestId> Ring::asked(uint64_t wire_id) const noexcept {
    WireId id;
    XPV_TRY_SET(id, WireId::of(wire_id));
    return ids_.find(id.index, id.life);
}

// Of xpv_blkfront_counters' lengths.
constexpr uint32_t length_of(uint32_t segments) noexcept {
    return segments == 1 ? 0 : 32 - static_cast<uint32_t>(__builtin_clz(segments - 1));
}
static_assert(length_of(1) == 0 && length_of(2) == 1 && length_of(3) == 2 && length_of(4) == 2 &&
              length_of(5) == 3);
static_assert(length_of(XPV_BLKFRONT_MAX_SECTORS / page_sectors) == XPV_BLKFRONT_LENGTHS - 1);

// It is over, but for what finish() does.
void Ring::end(Request& request, RequestList& over) noexcept {
    ++count_.requests;
    if (request.polled)
        ++count_.polled;
    else
        --waiters_;
    if (request.grants != 0)
        ++count_.lengths[length_of(request.grants)];
    if ((request.flags & lent) != 0) {
        count_.grants += request.grants;
    } else if (request.grants != 0) {
        count_.bytes_copied += uint64_t{request.sectors} << sector_shift;
        if (!device_.connection().copy)
            ++count_.bounced;
    }
    over.push(request);
}

inline Result<void> Ring::answer(const Untrusted<WireResponse>& response, RingIndex index,
                                 RequestList& over) noexcept {
    const Untrusted<uint64_t> id = response.part(&WireResponse::id);
    const Result<RequestId> slot =
        id.checked([this](uint64_t wire_id) noexcept { return asked(wire_id); });
    if (!slot.ok()) {
        broken("an answer to no request, id", static_cast<uint32_t>(id.raw()));
        return slot.error();
    }
    const Shadow& shadow = shadows_[slot.value().number()];
    const Untrusted<uint8_t> operation = response.part(&WireResponse::operation);
    if (!operation.is(shadow.op)) {
        broken("an answer to another operation", operation.raw());
        return Error::Protocol;
    }
    (void)ids_.give(slot.value());
    // A request that no answer lies over yet, and which is not to run again in the hands of
    // a backend that starts over. What lies there later has the same byte.
    if (static_cast<int32_t>(shadow.at - index) > 0)
        ring_->scrub(shadow.at, no_op);
    Request& request = *shadow.request;
    const int16_t status = response.part(&WireResponse::status).raw(); // judge() knows them all
    if (status != BLKIF_RSP_OKAY) [[unlikely]]
        judge(request, shadow.op, status);
    if (--request.slots == 0 && request.issued == request.grants)
        end(request, over);
    return {};
}

// An answer that is no success.
void Ring::judge(Request& request, uint8_t op, int16_t status) noexcept {
    ++count_.errors;
    const bool unknown = status == BLKIF_RSP_EOPNOTSUPP;
    if (unknown && request.op == XPV_BLKFRONT_FLUSH) {
        device_.lose_flush();
        return; // there is no cache that we could flush: as good as done
    }
    if (unknown && op == BLKIF_OP_DISCARD)
        device_.lose_discard(request.op == XPV_BLKFRONT_ERASE);
    request.status = unknown ? XPV_BLKFRONT_UNSUPPORTED : XPV_BLKFRONT_IO_ERROR;
}

// The lock is held.
bool Ring::reap(RequestList& over) noexcept {
    const Result<uint32_t> pending = ring_->pending();
    if (!pending.ok())
        return broken("more answers than requests in flight", ring_->in_flight());
    for (uint32_t i = 0; i < pending.value(); ++i) {
        const RingIndex index = ring_->response_index();
        if (!answer(ring_->take(), index, over).ok())
            break;
    }
    return pending.value() != 0;
}

// Copies, gives everything back and hands up. No lock is held.
void Ring::finish(RequestList& over) noexcept {
    if (over.empty())
        return;
    Pool& pool = device_.pool();
    Pool::Index pages = Pool::none; // of requests of one page, together
    Request* done = nullptr;
    Request** end = &done;
    Request* next = over.take_chain();
    while (next != nullptr) {
        Request& request = *next;
        next = request.next;
        const Pool::Index first = request.first;
        if ((request.flags & lent) != 0) {
            if (!pool.unlend(first)) {
                device_.faults().raise("grants in use after the answer", index_, request.grants);
                const Guard guard{lock_};
                held_.push(request);
                continue;
            }
            pool.give({request.indirect, first});
        } else if (request.grants != 0) {
            if (request.op == XPV_BLKFRONT_READ && request.status == XPV_BLKFRONT_OK)
                copy(request, false);
            if (request.grants == 1) {
                if (pool.anybody() || !hand_.put(first)) {
                    pool[first].next = pages;
                    pages = first;
                }
            } else {
                pool.give({first, Pool::none});
                pool.give({request.indirect, Pool::none});
            }
        }
        request.first = request.indirect = Pool::none;
        device_.note(request);
        *end = &request;
        end = &request.next;
    }
    *end = nullptr;
    if (pages != Pool::none)
        pool.give({pages, Pool::none});
    if (done != nullptr)
        xpv_blkfront_os_done(device_.os(), done);
    (void)__atomic_sub_fetch(&finishing_, 1, __ATOMIC_SEQ_CST);
}

void Ring::kick() noexcept {
    RequestList over;
    {
        const Guard guard{lock_};
        if (!open_ || broken_) {
            device_.pool().leave_line(index_);
            return;
        }
        issue(over);
        notify_if_wanted();
        begin_finish(over);
    }
    finish(over);
}

void Ring::view(xpv_blkfront_view& view) const noexcept {
    const Guard guard{lock_};
    view = {};
    view.connected = open_;
    view.ready = ready_.count();
    view.waiting = waiting_.count();
    if (!open_)
        return;
    ring_.view(view.ring);
    view.ring.port = channel_.port().number();
}

} // namespace xpv::blkfront
