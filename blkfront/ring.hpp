// SPDX-License-Identifier: GPL-2.0-only
// One ring and the requests that came to it. A request is *waiting* for pages, *ready* with
// all its pages but maybe not all its slots, or in flight; it is over when its last slot is
// answered. Requests have no order among each other.
//
// Every request is accepted, whatever is free: the block layer's queues never stop.
#pragma once

#include "blkfront/blkif.hpp"
#include "blkfront/features.hpp"
#include "blkfront/hand.hpp"
#include "blkfront/plan.hpp"
#include "blkfront/pool.hpp"
#include "core/evtchn.hpp"
#include "core/ring_page.hpp"
#include "core/untrusted.hpp"

namespace xpv::blkfront {

class Device;

class Ring : NoCopy {
public:
    Ring(Device& device, QueueIndex index) noexcept;

    // May sleep.
    Result<void> create() noexcept { return lock_.create(0); }
    // Pages, channel. May sleep.
    Result<void> open(uint32_t order) noexcept;
    // No connection any more; what it had goes to unanswered, with direct grants still in
    // place. Nobody submits. May sleep.
    void close(RequestList& unanswered) noexcept;
    // Has the other end let go of the ring? May sleep.
    bool ended() noexcept { return ring_.ended(); }

    // Softirq or process context. more: somebody calls submit() or commit() after it.
    void submit(RequestList& fresh, bool more) noexcept;
    void commit() noexcept;
    // For a request without an answer: look for it, or send our event once more. Whether
    // there were answers since the last time. Any context.
    bool remind() noexcept;
    // Whether there were answers. Any context.
    bool look() noexcept;
    // Pages may have come back. Any context.
    void kick() noexcept;

    // Pages of the pool that are at hand.
    uint32_t at_hand() const noexcept { return hand_.count(); }
    RingPlace place() const noexcept { return {ring_.refs(), channel_.port()}; }
    void view(xpv_blkfront_view& view) const noexcept;

private:
    enum Flag : uint8_t {
        lent = 1 << 0,   // its first chain is of others' pages
        covers = 1 << 1, // a flush that covers writes
    };
    friend class Device;

    struct Shadow {
        Request* request;
        RingIndex at;
        uint8_t op; // as answered
    };
    static constexpr uint32_t no_op = 0xff;
    // Looks in one event, while answers keep coming.
    static constexpr uint32_t most_looks = 4;
    static constexpr uint32_t next_look_us = 50;
    // After a shortage that no answer will end.
    static constexpr uint32_t retry_us = 10000;

    bool prepare(Request& request, bool in_line) noexcept;
    bool prepare_page(Request& request) noexcept;
    void prepare_direct(Request& request, Pool::Index first) noexcept;
    void copy(Request& request, bool in) noexcept;
    uint32_t count_direct(Request& request) const noexcept;

    void issue(RequestList& over) noexcept;
    bool put_list(RequestList& list, RequestList& over) noexcept;
    bool put_all(Request& request) noexcept;
    void put_plain(Request& request) noexcept;
    void put_page(Request& request) noexcept;
    void put_data(Request& request) noexcept;
    uint64_t shadow(Request& request, uint8_t op) noexcept;
    WireSegment next_segment(Request& request) noexcept;
    bool publish() noexcept {
        if (ring_->unpublished() == 0 || !ring_->publish())
            return false;
        ++count_.notifies;
        return true;
    }
    // For those whom close() does not keep out: the channel may be gone when the lock is.
    void notify_if_wanted() noexcept {
        if (publish())
            channel_.notify();
    }

    bool arm(bool found) noexcept;
    bool expect(uint32_t waiters) noexcept;
    bool reap(RequestList& over) noexcept;
    Result<RequestId> asked(uint64_t wire_id) const noexcept;
    Result<void> answer(const Untrusted<WireResponse>& response, RingIndex index,
                        RequestList& over) noexcept;
    void judge(Request& request, uint8_t op, int16_t status) noexcept;
    bool broken(const char* what, uint32_t value) noexcept;
    void end(Request& request, RequestList& over) noexcept;
    // With the lock, and when it is dropped: requests that are over. close() waits for it.
    void begin_finish(const RequestList& over) noexcept {
        if (!over.empty())
            (void)__atomic_add_fetch(&finishing_, 1, __ATOMIC_SEQ_CST);
    }
    void finish(RequestList& over) noexcept;
    void collect(RequestList& unanswered) noexcept;

    static void on_event(void* context) noexcept;

    Device& device_;
    const QueueIndex index_;
    // All but the handler's events and spurious are counted with the lock.
    xpv_blkfront_counters& count_;
    uint32_t finishing_ = 0; // calls of finish(), atomic
    Hand hand_;
    Lock lock_; // all below
    bool open_ = false;
    bool broken_ = false;
    // Requests that came by poll queues need no event: while there are no others, none is
    // asked for.
    bool quiet_ = false;
    uint32_t waiters_ = 0;   // requests that are here and that nobody polls for
    RingIndex reminded_ = 0; // where the answers were when remind() was called last
    RingPage<blkif_sring> ring_;
    RequestList ready_;
    RequestList waiting_;
    RequestList held_; // answered, but the backend keeps their pages
    SlotIds ids_;
    Shadow shadows_[max_slots] = {};
    EventChannel channel_;
};

} // namespace xpv::blkfront
