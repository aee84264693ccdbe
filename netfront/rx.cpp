// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/rx.hpp"

#include "netfront/device.hpp"

namespace xpv::netfront {

using net::ExtraInfo;
using net::RxRequest;
using net::RxResponse;

namespace {

// The bytes that a response says are in its page, behind its offset; 0: they cannot be.
uint32_t bytes_of(const RxResponse& response) noexcept {
    const int32_t length = response.status;
    if (length <= 0 || response.offset + static_cast<uint32_t>(length) > page_size)
        return 0;
    return static_cast<uint32_t>(length);
}

} // namespace

Result<void> Receive::open() noexcept {
    for (uint32_t i = 0; i < buffers; ++i)
        bare_[i] = static_cast<Buffer>(buffers - 1 - i);
    bare_count_ = buffers;
    const uint16_t peer = queue_.device().peer();
    XPV_TRY(pages_.open(peer, Access::ReadWrite));
    return ring_.open(peer);
}

// Pages go back to their pool, or to the deferred list if the backend holds them.
void Receive::close() noexcept {
    Device& device = queue_.device();
    xpv_netfront_counters& counters = device.counters(queue_.index());
    ring_.close();
    const auto closed = pages_.close([&](xpv_page* page, bool ended) noexcept {
        if (ended)
            xpv_netfront_os_pages_put(device.os(), queue_.index().number(), 1, &page);
        else
            xpv_netfront_os_page_detach(device.os(), queue_.index().number(), page);
    });
    counters.grants_ended += closed.ended;
    counters.grants_deferred += closed.deferred;
}

uint32_t Receive::poll(uint32_t max, const xpv_netfront_packet** packets) noexcept {
    Device& device = queue_.device();
    *packets = packets_;
    packet_count_ = 0;
    lent_count_ = 0;
    if (device.broken())
        return 0;
    carry_over();
    const Result<uint32_t> pending = ring_->pending();
    if (!pending.ok()) [[unlikely]] {
        queue_.fault().raise("more receive responses than requests, in flight", ring_->in_flight());
        return 0;
    }
    const RingIndex start = ring_->response_index();
    for (uint32_t left = pending.value(); left > 0 && packet_count_ < max; --left)
        take_slot();

    xpv_netfront_counters& counters = device.counters(queue_.index());
    counters.rx_slots += ring_->response_index() - start;
    found_ |= ring_->response_index() != start;
    if (lent_count_ > 0 && !end_grants()) [[unlikely]]
        return 0;
    counters.rx_packets += packet_count_;
    return packet_count_;
}

// The slots of an unfinished packet stay with us until the next poll.
void Receive::carry_over() noexcept {
    const uint32_t count = piece_count_ - packet_start_;
    for (uint32_t i = 0; i < count; ++i) {
        pieces_[i] = pieces_[packet_start_ + i];
        of_piece_[i] = of_piece_[packet_start_ + i];
    }
    packet_start_ = 0;
    piece_count_ = count;
}

// A response lies in its request's own slot: that, not its id, says which buffer it
// is about.
void Receive::take_slot() noexcept {
    const Buffer buffer = slot_[ring_->slot_of(ring_->response_index())];
    switch (expect_) {
    case Expect::First:
        take_first(ring_->take(), buffer);
        break;
    case Expect::Extra:
        take_extra(ring_->take<ExtraInfo>(), buffer);
        break;
    case Expect::Data:
        take_later(ring_->take(), buffer);
        break;
    }
}

void Receive::take_first(const Untrusted<RxResponse>& response, Buffer buffer) noexcept {
    const uint16_t flags = response.part(&RxResponse::flags).raw(); // others mean nothing
    packet_ = {};
    packet_start_ = piece_count_;
    extras_ = 0;
    slots_ = 0;
    // We never asked for the older way to say GSO, a slot before the packet.
    bad_ = (flags & NETRXF_gso_prefix) != 0 ||
           response.part(&RxResponse::status).raw() < static_cast<int>(net::ethernet_header);
    if (flags & NETRXF_csum_blank)
        packet_.offload.csum = XPV_CSUM_BLANK;
    else if (flags & NETRXF_data_validated)
        packet_.offload.csum = XPV_CSUM_VALIDATED;
    more_ = (flags & NETRXF_more_data) != 0;
    take_data(response, buffer);
    if (flags & NETRXF_extra_info)
        expect_ = Expect::Extra;
    else
        go_on(more_);
}

void Receive::take_extra(const Untrusted<ExtraInfo>& extra, Buffer buffer) noexcept {
    const auto gso = [this](const ExtraInfo& info) noexcept {
        return net::read_gso(info, packet_.offload);
    };
    const uint8_t type = extra.part(&ExtraInfo::type).raw(); // judged here
    keep(buffer);
    if (++extras_ > max_rx_extras || type == XEN_NETIF_EXTRA_TYPE_NONE ||
        type >= XEN_NETIF_EXTRA_TYPE_MAX)
        bad_ = true;
    else if (type == XEN_NETIF_EXTRA_TYPE_GSO && !extra.checked(gso).ok())
        bad_ = true;
    if (extras_ > max_rx_extras)
        extras_ = max_rx_extras + 1; // no wrap, however many there are
    if (!(extra.part(&ExtraInfo::flags).raw() & XEN_NETIF_EXTRA_FLAG_MORE))
        go_on(more_);
}

void Receive::take_later(const Untrusted<RxResponse>& response, Buffer buffer) noexcept {
    take_data(response, buffer);
    go_on((response.part(&RxResponse::flags).raw() & NETRXF_more_data) != 0);
}

void Receive::take_data(const Untrusted<RxResponse>& response, Buffer buffer) noexcept {
    const uint32_t bytes = response.checked(bytes_of);
    if (slots_ <= max_rx_pieces)
        ++slots_;
    if (bytes == 0 || slots_ > max_rx_pieces || packet_.length + bytes > max_rx_packet)
        bad_ = true;
    if (bad_) {
        spoil();
        keep(buffer);
        return;
    }
    of_piece_[piece_count_] = buffer;
    pieces_[piece_count_++] = {pages_.page(buffer), response.part(&RxResponse::offset).raw(),
                               static_cast<uint16_t>(bytes)};
    packet_.length += bytes;
}

// The packet is lost; what it has so far can be posted again.
void Receive::spoil() noexcept {
    while (piece_count_ > packet_start_)
        keep(of_piece_[--piece_count_]);
}

void Receive::finish() noexcept {
    expect_ = Expect::First;
    xpv_netfront_counters& counters = queue_.device().counters(queue_.index());
    if (bad_) {
        spoil();
        ++counters.rx_errors;
        return;
    }
    const uint32_t count = piece_count_ - packet_start_;
    packet_.piece = &pieces_[packet_start_];
    packet_.pieces = static_cast<uint16_t>(count);
    packet_.copy = packet_.length <= queue_.device().copybreak();
    for (uint32_t i = packet_start_; i < piece_count_; ++i) {
        if (packet_.copy)
            keep(of_piece_[i]);
        else
            lent_[lent_count_++] = of_piece_[i];
    }
    counters.rx_bytes += packet_.length;
    if (packet_.copy)
        ++counters.rx_copied;
    else
        counters.rx_pages_up += count;
    packets_[packet_count_++] = packet_;
    packet_start_ = piece_count_;
}

// A page goes up only when the backend cannot reach it any more. If it still can
// reach one, none of this poll's packets goes up and the device is done for.
bool Receive::end_grants() noexcept {
    Device& device = queue_.device();
    const uint32_t ended = pages_.end({lent_, lent_count_});
    device.counters(queue_.index()).grants_ended += ended;
    if (ended < lent_count_) [[unlikely]] {
        queue_.fault().raise("pages of received packets still in use, of them",
                             lent_count_ - ended);
        return false; // close() sorts out which
    }
    for (uint32_t i = 0; i < lent_count_; ++i)
        bare_[bare_count_++] = lent_[i];
    return true;
}

void Receive::post(Buffer buffer) noexcept {
    const uint32_t slot = ring_->slot_of(ring_->request_index());
    slot_[slot] = buffer;
    RxRequest request{};
    request.id = static_cast<uint16_t>(slot);
    request.gref = pages_.ref(buffer).number();
    ring_->put(request);
}

// Every buffer is in the ring, in an unfinished packet, ready or bare, so there is
// always a slot for those that are ready and bare.
bool Receive::refill() noexcept {
    Device& device = queue_.device();
    if (device.broken())
        return true;
    while (ready_count_ > 0)
        post(ready_[--ready_count_]);

    bool enough = true;
    xpv_page* fresh[get_batch];
    while (bare_count_ > 0 && enough) {
        const uint32_t want = min(bare_count_, get_batch);
        const uint32_t got =
            xpv_netfront_os_pages_get(device.os(), queue_.index().number(), want, fresh);
        enough = got == want;
        pages_.grant({bare_ + bare_count_ - got, got}, fresh);
        for (uint32_t i = 0; i < got; ++i)
            post(bare_[--bare_count_]);
        device.counters(queue_.index()).grants_made += got;
    }
    if (ring_->unpublished() > 0 && ring_->publish()) {
        queue_.rx_gate().notify();
        ++device.counters(queue_.index()).rx_notifies;
    }
    if (!enough)
        ++device.counters(queue_.index()).rx_refill_fails;
    return enough;
}

void Receive::view(xpv_netfront_ring_view& view) const noexcept {
    ring_.view(view.ring);
    view.ring.port = queue_.rx_gate().port().number();
    view.ring.owes_eoi = queue_.rx_gate().owes_eoi();
    view.in_flight = ring_->in_flight();
    view.buffers = ready_count_;
    view.bare = bare_count_;
    view.stopped = false;
}

} // namespace xpv::netfront
