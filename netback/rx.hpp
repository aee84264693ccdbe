// SPDX-License-Identifier: GPL-2.0-only
// Guest-RX: our packets into the buffers that the frontend posted.
// xen/io/netif.h, "Guest receive".
#pragma once

#include "core/copy.hpp"
#include "core/fault_line.hpp"
#include "core/gate.hpp"
#include "core/rate.hpp"
#include "net/netif.hpp"
#include "netback/abi.h"
#include "netback/stall.hpp"

namespace xpv::netback {

struct Queue;

// Belongs to the queue's guest-RX poller.
class GuestRx : NoCopy {
public:
    // rx_notify: an event comes when the frontend posts buffers.
    GuestRx(uint16_t domid, bool rx_notify, xpv_netback_counters& counters, QueueFault fault,
            const EventGate<Queue>& gate, RateBucket& rate) noexcept
        : counters_{counters}, fault_{fault}, gate_{gate}, turn_{rate, counters.rx_holds},
          domid_{domid}, rx_notify_{rx_notify} {}

    Result<void> attach(void* shared) noexcept { return ring_.attach(shared, page_size); }

    // abi.h says what it does.
    uint32_t send(const xpv_netback_rx_packet* packets, uint32_t count, uint64_t& hold_ns) noexcept;

    bool starved(uint32_t waited_ms, const xpv_netback_rx_limits& limits) noexcept;
    // All but `event`.
    void stop(bool waiting, xpv_netback_rest& rest) noexcept;
    bool stalled() const noexcept { return stall_.stalled(); }
    // Buffers that the next packet found too few of, when it did.
    uint32_t needed() const noexcept { return needed_; }
    // Packets were sent or buffers posted since the last time this was asked.
    bool take_worked() noexcept;

    const BackRing<netif_rx_sring>& ring() const noexcept { return ring_; }

private:
    // The wire form of one slot that is answered but not yet put, and whose it is.
    union Answer {
        net::RxResponse response;
        net::ExtraInfo extra;
    };
    static_assert(sizeof(Answer) == sizeof(net::RxResponse));

    void copy_packet(const xpv_netback_rx_packet& packet) noexcept;
    void run_copies() noexcept;
    bool recover() noexcept;
    void put_answers() noexcept;

    BackRing<netif_rx_sring> ring_;
    xpv_netback_counters& counters_;
    QueueFault fault_;
    const EventGate<Queue>& gate_;
    RateTurn turn_;
    uint16_t domid_;
    bool rx_notify_;
    bool worked_ = false;
    Stall stall_;
    RingIndex stalled_at_ = 0; // what the frontend had posted
    RingIndex seen_ = 0;
    uint32_t needed_ = 1;
    uint32_t answer_count_ = 0;
    Answer answers_[net::ring_slots];
    // Of each answer, the first one of its packet; is_extra: no status in it.
    uint16_t start_[net::ring_slots];
    bool is_extra_[net::ring_slots];
    bool failed_[net::ring_slots]; // by the packet's first answer
    CopyBatch copies_;
};

} // namespace xpv::netback
