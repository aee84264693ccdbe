// SPDX-License-Identifier: GPL-2.0-only
// A frontend that posts no guest-RX buffers, and what becomes of the packets for it.
// They may hold other guests' pages, and what waits behind them in the stack may too:
//
//     serving   packets wait for buffers, until the first has waited for drain_ms
//     draining  whatever comes is dropped at once, so that nothing waits anywhere, until
//               there is a buffer
//     stalled   nothing was sent for stall_ms although packets came: the carrier goes off,
//               until the frontend posts buffers again
#pragma once

#include "core/barrier.hpp"
#include "netback/abi.h"

namespace xpv::netback {

// Belongs to the queue's guest-RX poller; anybody may ask stalled().
class Stall {
public:
    // A packet was sent.
    void sent() noexcept { starved_ = false; }

    // A packet found buffers, but no credit: up to now the guest has kept it waiting for nothing.
    void held(uint64_t now_ms) noexcept {
        starved_ = false;
        held_ = true;
        held_ms_ = now_ms;
    }

    // A packet found no buffers; it waits since waited_ms. True: it is to be dropped, and
    // all that come. With what is dropped later it is asked again.
    bool starved(uint64_t now_ms, uint32_t waited_ms,
                 const xpv_netback_rx_limits& limits) noexcept {
        if (held_ && waited_ms > now_ms - held_ms_)
            waited_ms = static_cast<uint32_t>(now_ms - held_ms_);
        if (!starved_) {
            starved_ = true;
            since_ms_ = now_ms;
        }
        const uint64_t waited_for = now_ms - since_ms_;
        if (limits.stall_ms != 0 && waited_for >= limits.stall_ms)
            store_once(&stalled_, true);
        draining_ = draining_ || stalled_ || waited_ms >= limits.drain_ms;
        if (draining_)
            return true;
        look_at_ms_ = now_ms + limits.drain_ms - waited_ms;
        if (limits.stall_ms != 0)
            look_at_ms_ = min(look_at_ms_, since_ms_ + limits.stall_ms);
        return false;
    }

    // The frontend has buffers again. enough: for the packet that found none; fewer end
    // the draining, for smaller packets, but the time without service goes on.
    void recovered(bool enough) noexcept {
        draining_ = false;
        starved_ = starved_ && !enough && !stalled_;
        store_once(&stalled_, false);
    }

    // When packets wait: milliseconds until the first has waited for too long, 1..
    uint32_t look_ms(uint64_t now_ms) const noexcept {
        return look_at_ms_ > now_ms ? static_cast<uint32_t>(look_at_ms_ - now_ms) : 1;
    }

    bool draining() const noexcept { return draining_; }
    bool stalled() const noexcept { return load_once(&stalled_); }

private:
    bool held_ = false;    // last at held_ms_
    bool starved_ = false; // since since_ms_ nothing was sent
    bool draining_ = false;
    bool stalled_ = false;
    uint64_t held_ms_ = 0;
    uint64_t since_ms_ = 0;
    uint64_t look_at_ms_ = 0;
};

} // namespace xpv::netback
