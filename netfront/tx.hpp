// SPDX-License-Identifier: GPL-2.0-only
// Transmit: xen/io/netif.h, netif_tx_request and its extras.
//
// Packets are copied, densely, into pages of our own that were granted once and
// stay granted while we are connected. So no packet ever waits for the backend, no
// grant table operation falls due for it, and the backend sees no byte that was
// not sent to it. Responses only give ids and slots back; they are looked at when
// slots run low, and no event is asked for unless the queue had to stop. It stops at
// tx_weight, too: a copied packet no longer counts against its socket, and a ring full
// of packets in one burst is more than the socket at the other end takes.
#pragma once

#include "core/grant.hpp"
#include "core/ids.hpp"
#include "net/netif.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

class Queue;

// Buffers of the largest packet.
inline constexpr uint32_t max_tx_buffers = (net::max_packet + page_mask) / page_size;
// A queue with fewer free slots than this stops: any packet must find room. Every
// backend takes 18 slots a packet; ours have up to 16 and an extra.
inline constexpr uint32_t tx_keep_free = net::min_tx_slots + 1;
static_assert(max_tx_buffers + 1 <= net::min_tx_slots);

// Under the transmit queue's lock, but for open and close.
class Tx : NoCopy {
public:
    explicit Tx(Queue& queue) noexcept : queue_{queue} {}

    // May sleep, both.
    Result<void> open() noexcept;
    void close() noexcept;

    // What xpv_netfront_tx() says. total is the sum of the runs.
    uint32_t send(Span<const xpv_bytes> runs, uint32_t total, xpv_offload offload,
                  bool more) noexcept;
    bool due() const noexcept;
    bool poll() noexcept;

    uint32_t ref() const noexcept { return page_.ref(); }
    void look(xpv_netfront_ring_view& view) const noexcept;

private:
    // Slots between two looks at the responses: it bounds the buffers in turn, and
    // so the memory that a steady stream touches.
    static constexpr uint32_t reap_every = 32;
    // A stopped queue starts again when this many slots are free, and three quarters
    // of the weight gone that may be out: the rest keeps the backend busy meanwhile.
    static constexpr uint32_t wake_at = net::ring_slots / 2;
    // Of a packet: about what a socket is charged for it. TCP minds its window itself,
    // so that what it has segmented weighs as one segment.
    static constexpr uint32_t overhead = 640;
    static constexpr uint32_t weight_of(uint32_t total) noexcept {
        return min(total, net::ethernet_header + 1500) + overhead;
    }

    bool take_buffers(uint32_t (&ids)[max_tx_buffers], uint32_t count) noexcept;
    bool prepare(uint32_t id) noexcept;
    void copy(Span<const xpv_bytes> runs, const uint32_t* ids) const noexcept;
    void put_slots(const uint32_t* ids, uint32_t count, uint32_t total,
                   xpv_offload offload) noexcept;
    void publish() noexcept;
    uint32_t reap() noexcept;
    bool full() const noexcept;
    uint32_t lacking() const noexcept;
    bool wait_for_room() noexcept;

    Queue& queue_;
    FrontRing<netif_tx_sring> ring_;
    bool stopped_ = false;
    uint32_t reap_at_ = 0; // request index at which responses are looked at next
    uint32_t weight_ = 0;  // of the packets in flight
    uint32_t extras_ = 0;  // slots in flight that hold an extra and no id
    uint32_t buffers_ = 0; // granted
    IdPool<net::ring_slots> ids_;
    uint16_t weights_[net::ring_slots] = {}; // of the packets whose first slots the ids are
    GrantRefs refs_;
    xpv_page* pages_[net::ring_slots] = {};
    uint8_t* bytes_[net::ring_slots] = {}; // of pages_, which stay where they are
    Grant page_;
};

} // namespace xpv::netfront
