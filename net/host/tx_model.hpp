// SPDX-License-Identifier: GPL-2.0-only
// The lines of a frontend's transmit path that order its ring, its flags and the net
// device's queue: netfront/tx.cpp without packets, pages and grants. Under the transmit
// queue's lock, but for due().
#pragma once

#include "net/host/kernel.hpp"

namespace xpv::host {

class TxModel {
public:
    static constexpr uint32_t keep_free = 2; // fewer, and the queue stops
    static constexpr uint32_t wake_at = slots / 2;

    // The backend takes what lies there from the start: requests of somebody else.
    void attach(Sring& shared, uint32_t filled) {
        ring_.attach(&shared, sizeof(shared));
        for (uint32_t i = 0; i < filled; ++i)
            ring_.put(i);
        (void)ring_.publish();
        held_ = filled;
    }

    // One packet of one slot, of a sender who waits for it if he is at his limit. True:
    // stop the queue.
    bool send(xpv_evtchn& channel, bool at_limit) {
        if (ring_.free() == 0)
            world().fail("a packet is sent into a full ring");
        ring_.put(0U);
        store_once(&held_, held_ + 1);
        if (full())
            reap();
        const bool stop = full();
        if (publish(ring_))
            xpv_evtchn_notify(&channel);
        const bool press = at_limit && !pressed_;
        pressed_ = pressed_ || at_limit;
        if (stop && !wait_for_room())
            return true;
        if (press || (stop && pressed_ && !makes(Fault::EventMoved)))
            ask_for_senders();
        return false;
    }
    bool due() const { return load_once(&stopped_) != 0 || load_once(&held_) > 0; }
    // A queue without owned packets: only its stop makes it due.
    bool due_if_stopped() const { return load_once(&stopped_) != 0; }
    // True: wake the queue. found: responses came.
    bool poll(bool& found) {
        found = reap() > 0 || found;
        const bool wake = stopped_ != 0 && wait_for_room();
        if (pressed_ && stopped_ == 0)
            ask_for_senders();
        return wake;
    }

    uint32_t told() const { return told_; }
    uint32_t held() const { return held_; }
    uint32_t answered() const { return ring_.response_index(); }
    bool waits() const { return stopped_ != 0 || pressed_; }

private:
    bool full() const { return ring_.free() < keep_free; }
    uint32_t reap() {
        const uint32_t count = ring_.pending().value();
        for (uint32_t i = 0; i < count; ++i)
            (void)ring_.take();
        if (count > 0) {
            store_once(&held_, held_ - count);
            told_ += count;
        }
        return count;
    }
    bool wait_for_room() {
        for (;;) {
            if (ring_.free() >= wake_at) {
                store_once(&stopped_, 0U);
                return true;
            }
            if (!makes(Fault::StoppedAfterArm))
                store_once(&stopped_, 1U);
            if (!arm(ring_, wake_at - ring_.free())) {
                store_once(&stopped_, 1U);
                return false;
            }
            reap();
        }
    }
    void ask_for_senders() {
        while (held_ > 0)
            if (!arm(ring_, ring_.in_flight() / 2 + 1) || reap() == 0)
                break;
        pressed_ = held_ > 0;
    }

    Front ring_;
    uint32_t stopped_ = 0;
    uint32_t held_ = 0; // packets whose senders wait
    uint32_t told_ = 0;
    bool pressed_ = false;
};

// A backend that answers one request at a time, and sleeps when there is none.
class Answering {
public:
    void attach(Sring& shared) { (void)back_.attach(&shared, sizeof(shared)); }
    // Until stop(), if ever: what its thread does.
    template <class Stop>
    void run(Kernel& kernel, uint32_t channel, Stop stop) {
        xpv_evtchn& ours = kernel.channels[channel];
        while (!stop()) {
            while (back_.pending().value() > 0 && !stop()) {
                (void)back_.take();
                back_.put(0U);
                if (publish(back_))
                    kernel.ring(channel);
            }
            if (arm(back_))
                continue;
            world().wait([&ours, stop] { return ours.peer_pending || stop(); }, "notified");
            ours.peer_pending = false;
        }
    }
    uint32_t answered() const { return back_.response_index(); }

private:
    Back back_;
};

} // namespace xpv::host
