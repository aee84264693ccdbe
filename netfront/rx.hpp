// SPDX-License-Identifier: GPL-2.0-only
// Receive: xen/io/netif.h, netif_rx_request, netif_rx_response and extras.
//
// A buffer is one page and the reference that grants it, numbered 0..255. The bytes
// of small packets are copied out and their buffers are posted again as they are,
// without a grant table operation. Larger packets take their pages along: those
// grants are ended, in one batch per poll, before anybody looks at the page.
#pragma once

#include "core/granted_pages.hpp"
#include "core/ring_page.hpp"
#include "net/netif.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

class Queue;

// Slots that one packet may come in: what every backend may send, and one for a
// header of its own.
inline constexpr uint32_t max_rx_pieces = net::min_tx_slots + 1;
// A packet of 65535 bytes of IP, two VLAN tags.
inline constexpr uint32_t max_rx_packet = net::max_packet + net::ethernet_header + 8;
// One extra of each kind is more than a packet can use.
inline constexpr uint32_t max_rx_extras = XEN_NETIF_EXTRA_TYPE_MAX - 1;

// Owned by the queue's poller, but for open and close.
class Receive : NoCopy {
public:
    explicit Receive(Queue& queue) noexcept : queue_{queue} {}

    // May sleep, both.
    Result<void> open() noexcept;
    void close() noexcept;

    uint32_t poll(uint32_t max, const xpv_netfront_packet** packets) noexcept;
    bool refill() noexcept;
    // Ask for an event. False: there is work.
    [[nodiscard]] bool arm() noexcept { return !ring_->arm(); }
    // Were there responses since the last call?
    bool take_found() noexcept {
        const bool found = found_;
        found_ = false;
        return found;
    }

    GrantRef ref() const noexcept { return ring_.refs()[0]; }
    void view(xpv_netfront_ring_view& view) const noexcept;

private:
    using Buffer = uint16_t; // index of pages_
    static constexpr uint32_t buffers = net::ring_slots;
    static constexpr uint32_t get_batch = 64;

    // What the next response is.
    enum class Expect : uint8_t { First, Extra, Data };

    void keep(Buffer buffer) noexcept { ready_[ready_count_++] = buffer; }
    void take_slot() noexcept;
    void take_first(const Untrusted<net::RxResponse>& response, Buffer buffer) noexcept;
    void take_extra(const Untrusted<net::ExtraInfo>& extra, Buffer buffer) noexcept;
    void take_later(const Untrusted<net::RxResponse>& response, Buffer buffer) noexcept;
    void take_data(const Untrusted<net::RxResponse>& response, Buffer buffer) noexcept;
    void go_on(bool more) noexcept {
        if (more)
            expect_ = Expect::Data;
        else
            finish();
    }
    void spoil() noexcept;
    void finish() noexcept;
    void carry_over() noexcept;
    bool end_grants() noexcept;
    void post(Buffer buffer) noexcept;

    Queue& queue_;
    RingPage<netif_rx_sring> ring_;
    bool found_ = false; // responses since take_found()

    // The packet that is being put together, which may take more than one poll.
    Expect expect_ = Expect::First;
    bool more_ = false; // data slots follow the extras
    bool bad_ = false;
    uint8_t extras_ = 0;
    uint32_t slots_ = 0;
    xpv_netfront_packet packet_{};
    uint32_t packet_start_ = 0; // its first entry of pieces_

    uint32_t ready_count_ = 0;
    uint32_t bare_count_ = 0;
    uint32_t piece_count_ = 0;
    uint32_t packet_count_ = 0;
    uint32_t lent_count_ = 0;
    Buffer slot_[buffers];  // the buffer posted in a ring slot
    Buffer ready_[buffers]; // granted, to be posted again
    Buffer bare_[buffers];  // no page
    Buffer lent_[buffers];  // of this poll, to go up with their packets
    Buffer of_piece_[buffers];
    GrantedPages<buffers, buffers> pages_;
    xpv_netfront_piece pieces_[buffers];
    xpv_netfront_packet packets_[XPV_NETFRONT_BATCH];
};

} // namespace xpv::netfront
