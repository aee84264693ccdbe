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
    XPV_TRY(refs_.reserve(net::ring_slots));
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
    for (uint32_t id = 0; id < net::ring_slots; ++id) {
        if (pages_[id] == nullptr)
            continue;
        const uint32_t ref = refs_[id];
        bool ended = false;
        xpv_gnttab_end(1, &ref, &ended);
        if (ended) {
            xpv_page_free(pages_[id]);
            ++counters.grants_ended;
        } else {
            refs_.defer(id, pages_[id]);
            ++counters.grants_deferred;
        }
        pages_[id] = nullptr;
    }
    buffers_ = 0;
    refs_.release();
    page_ = Grant{};
}

uint32_t Tx::send(Span<const xpv_bytes> runs, uint32_t total, xpv_offload offload,
                  bool more) noexcept {
    Device& device = queue_.device();
    xpv_netfront_counters& counters = device.counters(queue_.index());
    const uint32_t count = (total + page_mask) / page_size;
    const uint32_t slots = count + (offload.gso != XPV_GSO_NONE);
    const uint32_t most = device.features().sg ? max_tx_buffers : 1;
    uint32_t ids[max_tx_buffers];

    if (device.broken() || total < net::ethernet_header || total > net::max_packet ||
        count > most || slots > ring_.free() || !take_buffers(ids, count)) [[unlikely]] {
        ++counters.tx_drops;
        if (!more && !device.broken() && ring_.unpublished() > 0)
            publish();
        return XPV_NETFRONT_TX_DROPPED;
    }
    copy(runs, ids);
    put_slots(ids, count, total, offload);
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
    if (stop && !wait_for_room()) {
        ++counters.tx_stops;
        return XPV_NETFRONT_TX_STOP;
    }
    return XPV_NETFRONT_TX_SENT;
}

// Ids of count buffers that are there and granted: all of them or none.
bool Tx::take_buffers(uint32_t (&ids)[max_tx_buffers], uint32_t count) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        ids[i] = ids_.take();
        if (ids[i] != ids_.none && (pages_[ids[i]] != nullptr || prepare(ids[i]))) [[likely]]
            continue;
        for (uint32_t k = 0; k <= i; ++k)
            if (ids[k] != ids_.none)
                (void)ids_.give(ids[k]);
        return false;
    }
    return true;
}

// First use of an id: its own zeroed page, granted for as long as we are connected.
bool Tx::prepare(uint32_t id) noexcept {
    Device& device = queue_.device();
    xpv_page* const page = xpv_page_alloc(XPV_ALLOC_ATOMIC);
    if (page == nullptr)
        return false;
    const uint32_t ref = refs_[id];
    xpv_gnttab_grant(device.peer(), 1, &ref, &page, true);
    pages_[id] = page;
    bytes_[id] = static_cast<uint8_t*>(xpv_page_address(page));
    ++buffers_;
    ++device.counters(queue_.index()).tx_buffers;
    return true;
}

void Tx::copy(Span<const xpv_bytes> runs, const uint32_t* ids) const noexcept {
    uint8_t* to = bytes_[*ids];
    uint32_t room = page_size;
    for (const xpv_bytes& run : runs) {
        const auto* from = static_cast<const uint8_t*>(run.address);
        for (uint32_t left = run.length; left > 0;) {
            if (room == 0) {
                to = bytes_[*++ids];
                room = page_size;
            }
            const uint32_t part = min(left, room);
            __builtin_memcpy(to, from, part);
            to += part;
            from += part;
            room -= part;
            left -= part;
        }
    }
}

// The first slot carries the size of the whole packet, the others their own;
// extras come right after the first.
void Tx::put_slots(const uint32_t* ids, uint32_t count, uint32_t total,
                   xpv_offload offload) noexcept {
    const bool gso = offload.gso != XPV_GSO_NONE;
    TxRequest request{};
    request.gref = refs_[ids[0]];
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
    weights_[ids[0]] = static_cast<uint16_t>(weight_of(total));
    weight_ += weight_of(total);
    if (gso) {
        ring_.put(net::gso_extra(offload.gso, offload.gso_size, false));
        ++extras_;
    }
    for (uint32_t i = 1; i < count; ++i) {
        const bool last = i + 1 == count;
        request.gref = refs_[ids[i]];
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
    Device& device = queue_.device();
    const Result<uint32_t> pending = ring_.pending();
    if (!pending.ok()) [[unlikely]] {
        device.fail(queue_.index(), "more transmit responses than requests, in flight",
                    ring_.in_flight());
        return 0;
    }
    uint32_t errors = 0;
    for (uint32_t i = 0; i < pending.value(); ++i) {
        const TxResponse response = ring_.take();
        if (response.status == NETIF_RSP_NULL) {
            if (extras_ == 0) [[unlikely]] {
                device.fail(queue_.index(), "a null response without an extra, id", response.id);
                return i;
            }
            --extras_;
            continue;
        }
        if (!ids_.give(response.id).ok()) [[unlikely]] {
            device.fail(queue_.index(), "a transmit response for no request, id", response.id);
            return i;
        }
        weight_ -= weights_[response.id];
        weights_[response.id] = 0;
        errors += response.status != NETIF_RSP_OKAY;
    }
    device.counters(queue_.index()).tx_errors += errors;
    return pending.value();
}

bool Tx::full() const noexcept {
    return ring_.free() < tx_keep_free || weight_ >= queue_.device().settings().tx_weight;
}

// Responses that a stopped queue waits for; more, if these turn out to be light.
uint32_t Tx::lacking() const noexcept {
    const uint32_t slots = ring_.free() < wake_at ? wake_at - ring_.free() : 0;
    const uint32_t most = queue_.device().settings().tx_weight / 4;
    if (weight_ <= most)
        return slots;
    return max(slots, (ring_.in_flight() * (weight_ - most) + weight_ - 1) / weight_);
}

// Everything is published and there is no room. True: there is again. False: an
// event is due when there may be.
bool Tx::wait_for_room() noexcept {
    while (!queue_.device().broken()) {
        if (!ring_.arm(lacking())) {
            __atomic_store_n(&stopped_, true, __ATOMIC_RELAXED);
            return false;
        }
        // They came while we armed: each turn takes at least one, or fails.
        reap();
        if (lacking() == 0)
            return true;
    }
    return false;
}

bool Tx::due() const noexcept {
    return __atomic_load_n(&stopped_, __ATOMIC_RELAXED) ||
           (queue_.split() && queue_.tx_channel().owes_eoi());
}

bool Tx::poll() noexcept {
    Device& device = queue_.device();
    if (device.broken())
        return false; // and no EOI: the backend has nothing more to say
    bool wake = false;
    const uint32_t found = reap();
    if (stopped_ && !device.broken()) {
        wake = lacking() == 0 || wait_for_room();
        if (wake)
            __atomic_store_n(&stopped_, false, __ATOMIC_RELAXED);
    }
    if (device.broken())
        return false;
    if (queue_.split())
        queue_.tx_channel().done(found > 0);
    else if (found > 0)
        queue_.rx.found_work();
    return wake;
}

void Tx::look(xpv_netfront_ring_view& view) const noexcept {
    look_at(ring_, page_, queue_.tx_channel(), view);
    view.in_flight = ids_.in_use();
    view.buffers = buffers_;
    view.bare = net::ring_slots - buffers_;
    view.stopped = stopped_;
}

} // namespace xpv::netfront
