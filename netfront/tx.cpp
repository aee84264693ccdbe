// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/tx.hpp"

#include "netfront/device.hpp"
#include "netfront/look.hpp"

namespace xpv::netfront {

using net::ExtraInfo;
using net::TxRequest;
using net::TxResponse;

Result<void> Tx::open() noexcept {
    Device& device = queue_.device();
    XPV_TRY(refs_.reserve(TxRoom::pages));
    OwnedPage page;
    XPV_TRY_SET(page, OwnedPage::allocate(XPV_ALLOC_SLEEP));
    XPV_TRY_SET(page_, Grant::share(device.peer(), move(page), Access::ReadWrite));
    ring_.attach(page_.address(), page_size);
    reap_at_ = ring_.request_index() + reap_every;
    return {};
}

void Tx::close() noexcept {
    xpv_netfront_counters& counters = queue_.device().counters(queue_.index());
    ring_.detach();
    for (uint32_t i = 0; i < TxRoom::pages; ++i) {
        if (pages_[i] == nullptr)
            continue;
        const uint32_t ref = refs_[i];
        bool ended = false;
        xpv_gnttab_end(1, &ref, &ended);
        if (ended) {
            xpv_page_free(pages_[i]);
            ++counters.grants_ended;
        } else {
            refs_.defer(i, pages_[i]);
            ++counters.grants_deferred;
        }
        pages_[i] = nullptr;
    }
    for (void*& packet : packets_) {
        if (packet == nullptr)
            continue;
        done_[done_count_++] = packet;
        packet = nullptr;
        if (done_count_ == XPV_NETFRONT_BATCH)
            hand_back();
    }
    hand_back();
    buffers_ = 0;
    refs_.release();
    page_ = Grant{};
}

uint32_t Tx::send(Span<const xpv_bytes> runs, uint32_t total, xpv_offload offload,
                  xpv_netfront_sender sender, bool more) noexcept {
    Device& device = queue_.device();
    xpv_netfront_counters& counters = device.counters(queue_.index());
    const uint32_t count = (total + page_mask) / page_size;
    const uint32_t slots = count + (offload.gso != XPV_GSO_NONE);
    const uint32_t most = device.features().sg ? max_tx_buffers : 1;
    const TxRoom room{total};
    uint32_t ids[max_tx_buffers];

    if (device.broken() || total < net::ethernet_header || total > net::max_packet ||
        count > most || slots > ring_.free() || !take_buffers(ids, count, room)) [[unlikely]] {
        ++counters.tx_drops;
        if (!more && !device.broken() && ring_.unpublished() > 0)
            publish();
        return XPV_NETFRONT_TX_DROPPED;
    }
    copy(runs, ids, room);
    put_slots(ids, count, total, offload);
    if (sender.packet != nullptr) {
        packets_[ids[0]] = sender.packet;
        store_once(&held_, held_ + 1);
    }
    ++counters.tx_packets;
    counters.tx_bytes += total;
    counters.tx_slots += slots;

    // Signed distance: the index wraps.
    if (static_cast<int32_t>(ring_.request_index() - reap_at_) >= 0 || full()) {
        reap();
        reap_at_ = ring_.request_index() + reap_every;
    }
    const bool stop = full();
    if (!more || stop)
        publish();
    const bool press = sender.pressed && !pressed_;
    pressed_ = pressed_ || sender.pressed;
    if (stop && !wait_for_room()) {
        ++counters.tx_stops;
        return XPV_NETFRONT_TX_STOP;
    }
    if (press || (stop && pressed_)) // the wait has moved the event
        ask_for_senders();
    return XPV_NETFRONT_TX_SENT;
}

// Ids of count buffers that are there and granted: all of them or none.
bool Tx::take_buffers(uint32_t (&ids)[max_tx_buffers], uint32_t count, TxRoom room) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        ids[i] = ids_.take();
        if (ids[i] != ids_.none &&
            (pages_[room.page(ids[i])] != nullptr || prepare(room.page(ids[i])))) [[likely]]
            continue;
        for (uint32_t k = 0; k <= i; ++k)
            if (ids[k] != ids_.none)
                (void)ids_.give(ids[k]);
        return false;
    }
    return true;
}

// First use of a page: zeroed, granted for as long as we are connected.
bool Tx::prepare(uint32_t index) noexcept {
    Device& device = queue_.device();
    xpv_page* const page = xpv_page_alloc(XPV_ALLOC_ATOMIC);
    if (page == nullptr)
        return false;
    const uint32_t ref = refs_[index];
    xpv_gnttab_grant(device.peer(), 1, &ref, &page, true);
    pages_[index] = page;
    bytes_[index] = static_cast<uint8_t*>(xpv_page_address(page));
    ++buffers_;
    ++device.counters(queue_.index()).tx_buffers;
    return true;
}

void Tx::copy(Span<const xpv_bytes> runs, const uint32_t* ids, TxRoom room) const noexcept {
    uint8_t* to = bytes_[room.page(*ids)] + room.offset(*ids);
    uint32_t space = page_size; // for a packet that ends sooner, more than is needed
    for (const xpv_bytes& run : runs) {
        const auto* from = static_cast<const uint8_t*>(run.address);
        for (uint32_t left = run.length; left > 0;) {
            if (space == 0) {
                to = bytes_[room.page(*++ids)];
                space = page_size;
            }
            const uint32_t part = min(left, space);
            __builtin_memcpy(to, from, part);
            to += part;
            from += part;
            space -= part;
            left -= part;
        }
    }
}

// The first slot carries the size of the whole packet, the others their own;
// extras come right after the first.
void Tx::put_slots(const uint32_t* ids, uint32_t count, uint32_t total,
                   xpv_offload offload) noexcept {
    const bool gso = offload.gso != XPV_GSO_NONE;
    const TxRoom room{total};
    TxRequest request{};
    request.gref = refs_[room.page(ids[0])];
    request.offset = static_cast<uint16_t>(room.offset(ids[0]));
    request.id = static_cast<uint16_t>(ids[0]);
    request.size = static_cast<uint16_t>(total);
    if (offload.csum == XPV_CSUM_BLANK)
        request.flags = NETTXF_csum_blank | NETTXF_data_validated;
    else if (offload.csum == XPV_CSUM_VALIDATED)
        request.flags = NETTXF_data_validated;
    if (gso)
        request.flags |= NETTXF_extra_info;
    if (count > 1)
        request.flags |= NETTXF_more_data;
    ring_.put(request);
    if (gso) {
        ring_.put(net::gso_extra(offload.gso, offload.gso_size, false));
        ++extras_;
    }
    for (uint32_t i = 1; i < count; ++i) {
        const bool last = i + 1 == count;
        request.gref = refs_[room.page(ids[i])];
        request.id = static_cast<uint16_t>(ids[i]);
        request.flags = last ? 0 : NETTXF_more_data;
        request.size = static_cast<uint16_t>(last ? total - i * page_size : page_size);
        ring_.put(request);
    }
}

void Tx::publish() noexcept {
    if (ring_.publish()) {
        queue_.tx_channel().notify();
        ++queue_.device().counters(queue_.index()).tx_notifies;
    }
}

// Take back every slot that the backend answered: how many.
uint32_t Tx::reap() noexcept {
    const Result<uint32_t> pending = ring_.pending();
    if (!pending.ok()) [[unlikely]] {
        queue_.device().fail(queue_.index(), "more transmit responses than requests, in flight",
                             ring_.in_flight());
        return 0;
    }
    uint32_t taken = 0;
    while (taken < pending.value() && take_response())
        ++taken;
    found_ = found_ || taken > 0;
    hand_back();
    return taken;
}

// False: it is one that no backend may send.
bool Tx::take_response() noexcept {
    Device& device = queue_.device();
    const TxResponse response = ring_.take();
    if (response.status == NETIF_RSP_NULL) {
        if (extras_ == 0) [[unlikely]] {
            device.fail(queue_.index(), "a null response without an extra, id", response.id);
            return false;
        }
        --extras_;
        return true;
    }
    if (!ids_.give(response.id).ok()) [[unlikely]] {
        device.fail(queue_.index(), "a transmit response for no request, id", response.id);
        return false;
    }
    if (response.status != NETIF_RSP_OKAY) [[unlikely]]
        ++device.counters(queue_.index()).tx_errors;
    if (void*& packet = packets_[response.id]; packet != nullptr) {
        done_[done_count_++] = packet;
        packet = nullptr;
        if (done_count_ == XPV_NETFRONT_BATCH)
            hand_back();
    }
    return true;
}

void Tx::hand_back() noexcept {
    if (done_count_ == 0)
        return;
    store_once(&held_, held_ - done_count_);
    xpv_netfront_os_tx_done(queue_.device().os(), queue_.index(), done_count_, done_);
    done_count_ = 0;
}

// Everything is published and there is no room. True: there is again. False: an
// event is due when there may be.
bool Tx::wait_for_room() noexcept {
    while (!queue_.device().broken()) {
        if (ring_.free() >= wake_at)
            return true;
        if (!ring_.arm(wake_at - ring_.free())) {
            __atomic_store_n(&stopped_, true, __ATOMIC_RELAXED);
            return false;
        }
        // They came while we armed: each turn takes at least one, or fails.
        reap();
    }
    return false;
}

// Half of what is in flight keeps the backend busy while they send more.
void Tx::ask_for_senders() noexcept {
    while (held_ > 0 && !queue_.device().broken())
        if (!ring_.arm(ring_.in_flight() / 2 + 1) || reap() == 0)
            break;
    pressed_ = held_ > 0;
}

bool Tx::due() const noexcept {
    return __atomic_load_n(&stopped_, __ATOMIC_RELAXED) || load_once(&held_) > 0 ||
           (queue_.split() && queue_.tx_channel().owes_eoi());
}

bool Tx::poll() noexcept {
    Device& device = queue_.device();
    if (device.broken())
        return false; // and no EOI: the backend has nothing more to say
    reap();
    const bool wake = stopped_ && wait_for_room();
    if (wake)
        __atomic_store_n(&stopped_, false, __ATOMIC_RELAXED);
    if (pressed_ && !stopped_)
        ask_for_senders();
    if (device.broken())
        return false;
    if (queue_.split())
        queue_.tx_channel().done(found_);
    else if (found_)
        queue_.rx.found_work();
    found_ = false;
    return wake;
}

void Tx::look(xpv_netfront_ring_view& view) const noexcept {
    look_at(ring_, page_, queue_.tx_channel(), view);
    view.in_flight = ids_.in_use();
    view.buffers = buffers_;
    view.bare = TxRoom::pages - buffers_;
    view.stopped = stopped_;
}

} // namespace xpv::netfront
