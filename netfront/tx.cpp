// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/tx.hpp"

#include "netfront/device.hpp"

namespace xpv::netfront {

using net::ExtraInfo;
using net::TxRequest;
using net::TxResponse;

Result<void> Transmit::open() noexcept {
    const uint16_t peer = queue_.device().peer();
    XPV_TRY(pages_.open(peer, Access::ReadOnly));
    XPV_TRY(ring_.open(peer));
    reap_at_ = ring_->request_index() + reap_every;
    return {};
}

void Transmit::close() noexcept {
    xpv_netfront_counters& counters = queue_.device().counters(queue_.index());
    ring_.close();
    const auto closed = pages_.close([](xpv_page* page, bool ended) noexcept {
        if (ended)
            xpv_page_free(page);
    });
    counters.grants_ended += closed.ended;
    counters.grants_deferred += closed.deferred;
    release();
    buffers_ = 0;
}

void Transmit::release() noexcept {
    for (void*& packet : packets_) {
        if (packet == nullptr)
            continue;
        done_[done_count_++] = packet;
        packet = nullptr;
        if (done_count_ == XPV_NETFRONT_BATCH)
            hand_back();
    }
    hand_back();
}

// A packet that waited for a while may meet another backend than it was made for.
bool Transmit::negotiated(xpv_offload offload, bool ipv6) const noexcept {
    const xpv_net_features& both = queue_.device().features();
    if (offload.csum == XPV_CSUM_BLANK && !(ipv6 ? both.csum_v6 : both.csum_v4))
        return false;
    return offload.gso == XPV_GSO_NONE ||
           (offload.gso == XPV_GSO_TCPV6 ? both.gso_v6 : both.gso_v4);
}

uint32_t Transmit::send(Span<const xpv_bytes> runs, uint32_t total, xpv_offload offload,
                        const xpv_netfront_send& how) noexcept {
    Device& device = queue_.device();
    xpv_netfront_counters& counters = device.counters(queue_.index());
    const uint32_t count = (total + page_mask) / page_size;
    const uint32_t slots = count + (offload.gso != XPV_GSO_NONE);
    const uint32_t most = device.features().sg ? max_tx_buffers : 1;
    const TxLayout layout{total};
    RequestId ids[max_tx_buffers];

    if (device.broken() || total < net::ethernet_header || total > net::max_packet ||
        count > most || !negotiated(offload, how.ipv6) || slots > ring_->free() ||
        !take_buffers(ids, count, layout)) [[unlikely]] {
        ++counters.tx_drops;
        if (!how.more && !device.broken() && ring_->unpublished() > 0)
            publish();
        return XPV_NETFRONT_TX_DROPPED;
    }
    copy(runs, ids, layout);
    put_slots(ids, count, total, offload);
    size_[ids[0].number()] = static_cast<uint16_t>(total);
    if (how.packet != nullptr) {
        packets_[ids[0].number()] = how.packet;
        store_once(&held_, held_ + 1);
    }
    ++counters.tx_packets;
    counters.tx_bytes += total;
    counters.tx_slots += slots;

    // Signed distance: the index wraps.
    if (static_cast<int32_t>(ring_->request_index() - reap_at_) >= 0 || full()) {
        reap();
        reap_at_ = ring_->request_index() + reap_every;
    }
    const bool stop = full();
    if (!how.more || stop)
        publish();
    const bool first = how.at_limit && !asked_;
    if (how.at_limit) [[unlikely]] {
        ++counters.tx_limits;
        limit_at_ = ring_->request_index();
        store_once(&asked_, true);
    }
    if (stop && !wait_for_room()) {
        ++counters.tx_stops;
        return XPV_NETFRONT_TX_STOP;
    }
    if (first || (stop && asked_)) // the wait has moved the event
        ask();
    return XPV_NETFRONT_TX_SENT;
}

// Ids of count buffers that are there and granted: all of them or none.
bool Transmit::take_buffers(RequestId (&ids)[max_tx_buffers], uint32_t count,
                            TxLayout layout) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        ids[i] = ids_.take();
        if (ids[i] != RequestId::none() && (pages_.page(layout.page(ids[i])) != nullptr ||
                                            prepare(layout.page(ids[i])))) [[likely]]
            continue;
        for (uint32_t k = 0; k <= i; ++k)
            if (ids[k] != RequestId::none())
                (void)ids_.give(ids[k]);
        return false;
    }
    return true;
}

// First use of a page: zeroed, granted for as long as we are connected.
bool Transmit::prepare(uint32_t index) noexcept {
    xpv_page* const page = xpv_page_alloc(XPV_ALLOC_ATOMIC);
    if (page == nullptr)
        return false;
    pages_.grant(index, page);
    bytes_[index] = static_cast<uint8_t*>(xpv_page_address(page));
    ++buffers_;
    ++queue_.device().counters(queue_.index()).tx_buffers;
    return true;
}

void Transmit::copy(Span<const xpv_bytes> runs, const RequestId* ids,
                    TxLayout layout) const noexcept {
    uint8_t* to = bytes_[layout.page(*ids)] + layout.offset(*ids);
    uint32_t space = page_size; // for a packet that ends sooner, more than is needed
    for (const xpv_bytes& run : runs) {
        const auto* from = static_cast<const uint8_t*>(run.address);
        for (uint32_t left = run.length; left > 0;) {
            if (space == 0) {
                to = bytes_[layout.page(*++ids)];
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
void Transmit::put_slots(const RequestId* ids, uint32_t count, uint32_t total,
                         xpv_offload offload) noexcept {
    const bool gso = offload.gso != XPV_GSO_NONE;
    const TxLayout layout{total};
    TxRequest request{};
    request.gref = pages_.ref(layout.page(ids[0])).number();
    request.offset = static_cast<uint16_t>(layout.offset(ids[0]));
    request.id = static_cast<uint16_t>(ids[0].number());
    request.size = static_cast<uint16_t>(total);
    if (offload.csum == XPV_CSUM_BLANK)
        request.flags = NETTXF_csum_blank | NETTXF_data_validated;
    else if (offload.csum == XPV_CSUM_VALIDATED)
        request.flags = NETTXF_data_validated;
    if (gso)
        request.flags |= NETTXF_extra_info;
    if (count > 1)
        request.flags |= NETTXF_more_data;
    ring_->put(request);
    if (gso) {
        ring_->put(net::gso_extra(offload.gso, offload.gso_size, false));
        ++extras_;
    }
    for (uint32_t i = 1; i < count; ++i) {
        const bool last = i + 1 == count;
        request.gref = pages_.ref(layout.page(ids[i])).number();
        request.id = static_cast<uint16_t>(ids[i].number());
        request.flags = last ? 0 : NETTXF_more_data;
        request.size = static_cast<uint16_t>(last ? total - i * page_size : page_size);
        ring_->put(request);
    }
}

void Transmit::publish() noexcept {
    if (ring_->publish()) {
        queue_.tx_gate().notify();
        ++queue_.device().counters(queue_.index()).tx_notifies;
    }
}

// Take back every slot that the backend answered: how many.
uint32_t Transmit::reap() noexcept {
    const Result<uint32_t> pending = ring_->pending();
    if (!pending.ok()) [[unlikely]] {
        queue_.fault().raise("more transmit responses than requests, in flight",
                             ring_->in_flight());
        return 0;
    }
    uint32_t taken = 0;
    while (taken < pending.value() && take_response())
        ++taken;
    if (taken > 0) {
        store_once(&found_, true);
        store_once(&wait_ms_, first_wait_ms);
    }
    hand_back();
    return taken;
}

// False: it is one that no backend may send.
bool Transmit::take_response() noexcept {
    Device& device = queue_.device();
    const Untrusted<TxResponse> response = ring_->take();
    const Untrusted<uint16_t> wire_id = response.part(&TxResponse::id);
    const int16_t status = response.part(&TxResponse::status).raw(); // any other is an error
    if (status == NETIF_RSP_NULL) {
        if (extras_ == 0) [[unlikely]] {
            queue_.fault().raise("a null response without an extra, id", wire_id.raw());
            return false;
        }
        --extras_;
        return true;
    }
    const Result<RequestId> answered =
        wire_id.checked([this](uint16_t number) noexcept { return ids_.find(number); });
    if (!answered.ok()) [[unlikely]] {
        queue_.fault().raise("a transmit response for no request, id", wire_id.raw());
        return false;
    }
    const uint32_t id = answered.value().number();
    (void)ids_.give(answered.value());
    if (status != NETIF_RSP_OKAY) [[unlikely]]
        ++device.counters(queue_.index()).tx_errors;
    done_bytes_ += size_[id];
    size_[id] = 0;
    if (void*& packet = packets_[id]; packet != nullptr) {
        done_[done_count_++] = packet;
        packet = nullptr;
        if (done_count_ == XPV_NETFRONT_BATCH)
            hand_back();
    }
    return true;
}

void Transmit::hand_back() noexcept {
    if (done_count_ == 0 && done_bytes_ == 0)
        return;
    if (done_count_ > 0)
        store_once(&held_, held_ - done_count_);
    xpv_netfront_os_tx_done(queue_.device().os(), queue_.index().number(), done_count_, done_,
                            done_bytes_);
    done_count_ = 0;
    done_bytes_ = 0;
}

// Everything is published and there is no layout. True: there is again. False: an
// event is due when there may be.
bool Transmit::wait_for_room() noexcept {
    while (!queue_.device().broken()) {
        if (ring_->free() >= wake_at) {
            store_once(&stopped_, false);
            return true;
        }
        // Before the event can come: its poll looks here, without the lock.
        store_once(&stopped_, true);
        mb();
        if (!ring_->arm(wake_at - ring_->free()))
            return false;
        // They came while we armed: each turn takes at least one, or fails.
        reap();
    }
    return false;
}

// Half of what is in flight keeps the backend busy while the owners send more. Until
// the packet that last met a limit is answered; asked_ before the event, as above.
void Transmit::ask() noexcept {
    while (!queue_.device().broken()) {
        const uint32_t left = limit_at_ - ring_->response_index();
        const bool go_on = left - 1 < ring_->size();
        store_once(&asked_, go_on);
        if (!go_on || !ring_->arm(min(ring_->in_flight() / 2 + 1, left)) || reap() == 0)
            return;
    }
}

bool Transmit::due() const noexcept {
    return load_once(&stopped_) || load_once(&asked_) || load_once(&held_) > 0 ||
           (queue_.split() && queue_.tx_gate().owes_eoi());
}

uint32_t Transmit::wait_ms() const noexcept {
    return load_once(&held_) > 0 ? load_once(&wait_ms_) : 0;
}

// Nothing came for the whole wait. A backend that answers nothing for about a second,
// the sum of all waits, keeps nobody's packets: nor those that wait behind BQL's limit, which
// forgets what is in the ring. So much as that holds may follow.
void Transmit::wait_longer() noexcept {
    if (wait_ms_ < last_wait_ms) {
        store_once(&wait_ms_, wait_ms_ * 2);
        return;
    }
    queue_.device().counters(queue_.index()).tx_overdue += held_;
    for (uint16_t& bytes : size_) {
        done_bytes_ += bytes;
        bytes = 0;
    }
    release();
}

bool Transmit::poll(bool late) noexcept {
    Device& device = queue_.device();
    if (device.broken())
        return false;
    if (reap() == 0 && late && (held_ > 0 || asked_))
        wait_longer();
    const bool wake = stopped_ && wait_for_room();
    if (asked_ && !stopped_)
        ask();
    return wake && !device.broken();
}

void Transmit::timeout(uint32_t still_ms) noexcept {
    Device& device = queue_.device();
    xpv_netfront_ring_view now{};
    view(now);
    ++device.counters(queue_.index()).tx_timeouts;
    xpv_log(device.bus(), XPV_LOG_WARN,
            "queue %u: nothing sent for %u ms, the backend owes answers for %u of %u slots "
            "(request %u, answer %u, its %u, event at %u)%s",
            queue_.index().number(), still_ms, now.ring.req - now.ring.rsp, now.ring.size,
            now.ring.req, now.ring.rsp, now.ring.shared_rsp_prod, now.ring.shared_rsp_event,
            now.ring.owes_eoi ? ", an event came" : "");
    queue_.tx_gate().notify();
}

void Transmit::view(xpv_netfront_ring_view& view) const noexcept {
    ring_.view(view.ring);
    view.ring.port = queue_.tx_gate().port().number();
    view.ring.owes_eoi = queue_.tx_gate().owes_eoi();
    view.in_flight = ids_.in_use();
    view.buffers = buffers_;
    view.bare = TxLayout::pages - buffers_;
    view.stopped = stopped_;
}

} // namespace xpv::netfront
