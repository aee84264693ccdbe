// SPDX-License-Identifier: GPL-2.0-only
// Transmit: xen/io/netif.h, netif_tx_request and its extras.
//
// Packets are copied, densely, into pages of our own that were granted once and
// stay granted while we are connected. So no packet ever waits for the backend, no
// grant table operation falls due for it, and the backend sees no byte that was
// not sent to it. Small packets share a page: Xen claims a grant anew only when the
// backend's next copy is from another one. Responses only give ids and slots back; they are looked
// at when slots run low, and no event is asked for unless the queue had to stop, or a sender is
// pressed: one who is charged for his packets until the backend has them, and so bounds his bursts
// himself instead of filling queues.
#pragma once

#include "core/grant.hpp"
#include "core/ids.hpp"
#include "net/netif.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

class Queue;

// Buffers of the largest packet.
inline constexpr uint32_t max_tx_buffers = (net::max_packet + page_mask) / page_size;

// Where the bytes of a slot's id are, by the size of its packet: a sixteenth of a page, a
// half or a whole one.
class TxRoom {
public:
    explicit constexpr TxRoom(uint32_t total) noexcept
        : TxRoom{total <= page_size / 16  ? TxRoom{4, net::ring_slots * 3 / 2}
                 : total <= page_size / 2 ? TxRoom{1, net::ring_slots}
                                          : TxRoom{0, 0}} {}

    constexpr uint32_t page(uint32_t id) const noexcept { return first_ + (id >> share_); }
    constexpr uint32_t offset(uint32_t id) const noexcept {
        return (id << (page_shift - share_)) & page_mask;
    }

    static constexpr uint32_t pages = net::ring_slots * 3 / 2 + net::ring_slots / 16;

private:
    constexpr TxRoom(uint32_t share, uint32_t first) noexcept : share_{share}, first_{first} {}

    uint32_t share_; // log2 of the ids in a page
    uint32_t first_; // page
};
static_assert(TxRoom{60}.page(net::ring_slots - 1) == TxRoom::pages - 1);
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
                  xpv_netfront_sender sender, bool more) noexcept;
    bool due() const noexcept;
    bool poll() noexcept;

    uint32_t ref() const noexcept { return page_.ref(); }
    void look(xpv_netfront_ring_view& view) const noexcept;

private:
    // Slots between two looks at the responses: it bounds the buffers in turn, and
    // so the memory that a steady stream touches.
    static constexpr uint32_t reap_every = 32;
    // A stopped queue starts again when this many slots are free: the rest keeps the
    // backend busy meanwhile.
    static constexpr uint32_t wake_at = net::ring_slots / 2;

    bool take_buffers(uint32_t (&ids)[max_tx_buffers], uint32_t count, TxRoom room) noexcept;
    bool prepare(uint32_t index) noexcept;
    void copy(Span<const xpv_bytes> runs, const uint32_t* ids, TxRoom room) const noexcept;
    void put_slots(const uint32_t* ids, uint32_t count, uint32_t total,
                   xpv_offload offload) noexcept;
    void publish() noexcept;
    uint32_t reap() noexcept;
    bool take_response() noexcept;
    void hand_back() noexcept;
    bool full() const noexcept { return ring_.free() < tx_keep_free; }
    bool wait_for_room() noexcept;
    void ask_for_senders() noexcept;

    Queue& queue_;
    FrontRing<netif_tx_sring> ring_;
    bool stopped_ = false;
    bool pressed_ = false; // an event is due at half of what is in flight, or wait_for_room's
    bool found_ = false;   // responses since the last EOI
    uint32_t held_ = 0;    // packets whose senders wait
    uint32_t done_count_ = 0;
    uint32_t reap_at_ = 0; // request index at which responses are looked at next
    uint32_t extras_ = 0;  // slots in flight that hold an extra and no id
    uint32_t buffers_ = 0; // pages granted
    IdPool<net::ring_slots> ids_;
    void* packets_[net::ring_slots] = {}; // that senders wait for, by their first slots' ids
    void* done_[XPV_NETFRONT_BATCH];      // to be handed back
    GrantRefs refs_;
    xpv_page* pages_[TxRoom::pages] = {};
    uint8_t* bytes_[TxRoom::pages] = {}; // of pages_, which stay where they are
    Grant page_;
};

} // namespace xpv::netfront
