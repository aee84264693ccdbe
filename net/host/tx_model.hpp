// SPDX-License-Identifier: GPL-2.0-only
// The lines of a frontend's transmit path that order its ring, its flags and the net
// device's queue: netfront/tx.cpp without packets, pages and grants. Under the transmit
// queue's lock, but for due().
#pragma once

#include "net/host/kernel.hpp"

namespace xpv::host {

class TxModel {
public:
    static constexpr uint32_t keep_free = 1; // fewer, and the queue stops

    // filled: requests in flight from the start, which nobody owns. wake_at: free slots that
    // a stopped queue waits for.
    void attach(Sring& shared, uint32_t filled, uint32_t wake_at) {
        wake_at_ = wake_at;
        ring_.attach(&shared, sizeof(shared));
        for (uint32_t i = 0; i < filled; ++i)
            ring_.put(i);
        (void)ring_.publish();
    }

    // One packet of one slot, which its owner counts until it is answered; at_limit: it may
    // send no more until then. True: stop the queue.
    bool send(xpv_evtchn& channel, bool owned, bool at_limit) {
        if (ring_.free() == 0)
            world().fail("a packet is sent into a full ring");
        ring_.put(0U);
        if (owned)
            store_once(&held_, own(held_) + 1);
        if (full())
            reap();
        const bool stop = full();
        if (publish(ring_))
            xpv_evtchn_notify(&channel);
        const bool first = at_limit && own(asked_) == 0;
        if (at_limit) {
            limit_at_ = ring_.request_index();
            store_once(&asked_, 1U);
        }
        if (stop && !wait_for_room())
            return true;
        if (first || (stop && own(asked_) != 0 && !makes(Fault::EventMoved)))
            ask();
        return false;
    }
    bool due() const {
        return load_once(&stopped_) != 0 || load_once(&asked_) != 0 || load_once(&held_) > 0;
    }
    // True: wake the queue.
    bool poll() {
        reap();
        const bool wake = own(stopped_) != 0 && wait_for_room();
        if (own(asked_) != 0 && own(stopped_) == 0)
            ask();
        return wake;
    }
    bool take_found() {
        if (load_once(&found_) == 0)
            return false;
        store_once(&found_, 0U);
        return true;
    }

    // For conditions and monitors: no steps.
    uint32_t held() const { return held_; }
    const uint32_t& held_word() const { return held_; }
    uint32_t answered() const { return ring_.response_index(); }
    bool waits() const { return stopped_ != 0 || asked_ != 0; }

private:
    // A plain look of who holds the lock: what it stored itself, though others do not see it.
    static uint32_t own(const uint32_t& word) { return *world().from(&word); }
    bool full() const { return ring_.free() < keep_free; }
    uint32_t reap() {
        const uint32_t count = ring_.pending().value();
        for (uint32_t i = 0; i < count; ++i)
            (void)ring_.take();
        if (count > 0)
            store_once(&found_, 1U);
        const uint32_t given = min(count, own(held_));
        if (given > 0)
            store_once(&held_, own(held_) - given);
        return count;
    }
    bool wait_for_room() {
        for (;;) {
            if (ring_.free() >= wake_at_) {
                store_once(&stopped_, 0U);
                return true;
            }
            if (!makes(Fault::StoppedAfterArm))
                store_once(&stopped_, 1U);
            if (!arm(ring_, wake_at_ - ring_.free())) {
                if (makes(Fault::StoppedAfterArm))
                    store_once(&stopped_, 1U);
                return false;
            }
            reap();
        }
    }
    void ask() {
        for (;;) {
            const uint32_t left = limit_at_ - ring_.response_index();
            const bool go_on = left - 1 < ring_.size();
            store_once(&asked_, uint32_t{go_on});
            if (!go_on || !arm(ring_, min(ring_.in_flight() / 2 + 1, left)) || reap() == 0)
                return;
        }
    }

    Front ring_;
    uint32_t wake_at_ = 0;
    uint32_t stopped_ = 0;
    uint32_t asked_ = 0; // an event is due for owners at their limits
    uint32_t held_ = 0;  // packets that are owned
    uint32_t limit_at_ = 0;
    uint32_t found_ = 0; // responses since the last stop()
};

// A backend that answers up to a batch of requests at a time, and sleeps when there is none.
class Answering {
public:
    void attach(Sring& shared) { (void)back_.attach(&shared, sizeof(shared)); }
    // Until stop(), if ever: what its thread does.
    template <class Stop> void run(Kernel& kernel, uint32_t channel, uint32_t batch, Stop stop) {
        xpv_evtchn& ours = kernel.channels[channel];
        while (!stop()) {
            for (;;) {
                const uint32_t count = min(back_.pending().value(), batch);
                if (count == 0 || stop())
                    break;
                for (uint32_t i = 0; i < count; ++i) {
                    (void)back_.take();
                    back_.put(0U);
                }
                if (publish(back_))
                    kernel.ring(channel);
            }
            if (arm(back_))
                continue;
            world().wait([&ours, stop] { return ours.peer_pending || stop(); }, "notified");
            ours.peer_pending = false;
        }
    }

private:
    Back back_;
};

} // namespace xpv::host
