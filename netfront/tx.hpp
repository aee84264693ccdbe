// SPDX-License-Identifier: GPL-2.0-only
// Transmit: xen/io/netif.h, netif_tx_request and its extras.
//
// Packets are copied, densely, into pages of our own that were granted once and
// stay granted while we are connected. So no packet ever waits for the backend, no
// grant table operation falls due for it, and the backend sees no byte that was
// not sent to it. Small packets share a page: Xen claims a grant anew only when the
// backend's next copy is from another one.
//
// Responses give ids and slots back, and the packet to its owner, if somebody counts it
// until then: that is what keeps a socket, or BQL, from filling every queue. They are
// looked at when slots run low, at each poll and after a bounded wait. No event is asked
// for unless the queue had to stop, or an owner, or BQL, is at its limit.
#pragma once

#include "core/granted_pages.hpp"
#include "core/ids.hpp"
#include "core/ring_page.hpp"
#include "net/netif.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

class Queue;

// Buffers of the largest packet.
inline constexpr uint32_t max_tx_buffers = (net::max_packet + page_mask) / page_size;

// Where the bytes of a slot's id are, by the size of its packet: a sixteenth of a page, a
// half or a whole one.
class TxLayout {
public:
    explicit constexpr TxLayout(uint32_t total) noexcept
        : TxLayout{total <= page_size / 16  ? TxLayout{4, net::ring_slots * 3 / 2}
                   : total <= page_size / 2 ? TxLayout{1, net::ring_slots}
                                            : TxLayout{0, 0}} {}

    constexpr uint32_t page(RequestId id) const noexcept {
        return first_ + (id.number() >> share_);
    }
    constexpr uint32_t offset(RequestId id) const noexcept {
        return (id.number() << (page_shift - share_)) & page_mask;
    }

    static constexpr uint32_t pages = net::ring_slots * 3 / 2 + net::ring_slots / 16;

private:
    constexpr TxLayout(uint32_t share, uint32_t first) noexcept : share_{share}, first_{first} {}

    uint32_t share_; // log2 of the ids in a page
    uint32_t first_; // page
};
static_assert(TxLayout{60}.page(RequestId{net::ring_slots - 1}) == TxLayout::pages - 1);
// A queue with fewer free slots than this stops: any packet must find layout. Every
// backend takes 18 slots per packet; ours have up to 16 and an extra.
inline constexpr uint32_t tx_keep_free = net::min_tx_slots + 1;
static_assert(max_tx_buffers + 1 <= net::min_tx_slots);

// Under the transmit queue's lock, but for open and close.
class Transmit : NoCopy {
public:
    explicit Transmit(Queue& queue) noexcept : queue_{queue} {}

    // May sleep, both.
    Result<void> open() noexcept;
    void close() noexcept;

    // What xpv_netfront_tx() says. total is the sum of the runs.
    uint32_t send(Span<const xpv_bytes> runs, uint32_t total, xpv_offload offload,
                  const xpv_netfront_send& how) noexcept;
    // Without the lock, both.
    bool due() const noexcept;
    uint32_t wait_ms() const noexcept;
    bool poll(bool late) noexcept;
    // What xpv_netfront_tx_timeout() says, and what xpv_netfront_tx_release() does.
    void timeout(uint32_t still_ms) noexcept;
    void release() noexcept;
    // Were there responses since the last call? The poller; without the lock.
    bool take_found() noexcept { return load_once(&found_) && atomic_exchange(&found_, false); }

    GrantRef ref() const noexcept { return ring_.refs()[0]; }
    void view(xpv_netfront_ring_view& view) const noexcept;

private:
    // Slots between two looks at the responses: it bounds the buffers in turn, and
    // so the memory that a steady stream touches.
    static constexpr uint32_t reap_every = 32;
    // A stopped queue starts again when this many slots are free: the rest keeps the
    // backend busy meanwhile.
    static constexpr uint32_t wake_at = net::ring_slots / 2;
    // Waits for responses that bring no event: each fruitless one doubles the next.
    static constexpr uint32_t first_wait_ms = 2;
    static constexpr uint32_t last_wait_ms = 512;

    bool take_buffers(RequestId (&ids)[max_tx_buffers], uint32_t count, TxLayout layout) noexcept;
    bool prepare(uint32_t index) noexcept;
    bool negotiated(xpv_offload offload, bool ipv6) const noexcept;
    void copy(Span<const xpv_bytes> runs, const RequestId* ids, TxLayout layout) const noexcept;
    void put_slots(const RequestId* ids, uint32_t count, uint32_t total,
                   xpv_offload offload) noexcept;
    void publish() noexcept;
    uint32_t reap() noexcept;
    bool take_response() noexcept;
    void hand_back() noexcept;
    bool full() const noexcept { return ring_->free() < tx_keep_free; }
    bool wait_for_room() noexcept;
    void ask() noexcept;
    void wait_longer() noexcept;

    Queue& queue_;
    RingPage<netif_tx_sring> ring_;
    bool stopped_ = false;  // an event is due when there is room
    bool asked_ = false;    // or at half of what is in flight, as long as somebody is at a limit
    bool found_ = false;    // responses since take_found()
    uint32_t limit_at_ = 0; // request index after the last packet that met a limit
    uint32_t held_ = 0;     // packets whose owners wait
    uint32_t wait_ms_ = first_wait_ms;
    uint32_t done_count_ = 0;
    uint32_t done_bytes_ = 0;
    uint32_t reap_at_ = 0; // request index at which responses are looked at next
    uint32_t extras_ = 0;  // slots in flight that hold an extra and no id
    uint32_t buffers_ = 0; // pages granted
    IdPool<RequestId, net::ring_slots> ids_;
    // By their first slots' ids: packets that owners wait for, and sizes of all packets.
    void* packets_[net::ring_slots] = {};
    uint16_t size_[net::ring_slots] = {};
    void* done_[XPV_NETFRONT_BATCH]; // to be handed back
    GrantedPages<TxLayout::pages, 1> pages_;
    uint8_t* bytes_[TxLayout::pages] = {}; // of pages_, which stay where they are
};

} // namespace xpv::netfront
