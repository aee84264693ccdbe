// SPDX-License-Identifier: GPL-2.0-only
#include "netback/rx.hpp"

namespace xpv::netback {
namespace {

constexpr const char* fault_rx_ring = "guest-RX ring: impossible request index";

constexpr uint32_t slots_needed(const xpv_netback_rx_packet& packet) noexcept {
    return (packet.total + page_mask) / page_size + (packet.offload.gso != XPV_GSO_NONE ? 1 : 0);
}
static_assert((net::max_packet + page_mask) / page_size + 1 <= net::min_tx_slots);

constexpr uint16_t checksum_flags(const xpv_offload& offload) noexcept {
    switch (offload.csum) {
    case XPV_CSUM_BLANK:
        return NETRXF_csum_blank | NETRXF_data_validated;
    case XPV_CSUM_VALIDATED:
        return NETRXF_data_validated;
    default:
        return 0;
    }
}

} // namespace

void GuestRx::run_copies() noexcept {
    counters_.rx_copy_ops += copies_.count();
    ++counters_.rx_copy_calls;
    copies_.run([this](uint32_t tag, int16_t) { failed_[tag] = true; });
}

// The packet into as few buffers as it needs; the caller saw that they are there.
// Its answers follow the buffers' order, so each lands in its request's own slot.
void GuestRx::copy_packet(const xpv_netback_rx_packet& packet) noexcept {
    const auto start = static_cast<uint16_t>(answer_count_);
    failed_[start] = false;
    const xpv_netback_piece* piece = packet.piece;
    uint32_t piece_done = 0;
    uint16_t flags = checksum_flags(packet.offload);
    if (packet.offload.gso != XPV_GSO_NONE)
        flags |= NETRXF_extra_info;

    for (uint32_t left = packet.total; left > 0;) {
        const Untrusted<net::RxRequest> request = ring_.take();
        const GrantRef gref{request.part(&net::RxRequest::gref).raw()}; // Xen's to judge
        const uint32_t size = min(left, page_size);
        for (uint32_t filled = 0; filled < size;) {
            const uint32_t bytes = min(piece->length - piece_done, size - filled);
            if (copies_.free() == 0)
                run_copies();
            const auto from = static_cast<uint16_t>(piece->offset + piece_done);
            if (piece->foreign)
                copies_.peer_to_peer(piece->domid, GrantRef{piece->ref}, from, domid_, gref,
                                     static_cast<uint16_t>(filled), static_cast<uint16_t>(bytes),
                                     start);
            else
                copies_.to_peer(domid_, gref, static_cast<uint16_t>(filled), piece->gfn, from,
                                static_cast<uint16_t>(bytes), start);
            filled += bytes;
            piece_done += bytes;
            if (piece_done == piece->length) {
                ++piece;
                piece_done = 0;
            }
        }
        left -= size;
        Answer& answer = answers_[answer_count_];
        start_[answer_count_] = start;
        is_extra_[answer_count_++] = false;
        answer.response = net::RxResponse{};
        answer.response.id = request.part(&net::RxRequest::id).raw(); // as it came
        answer.response.flags = flags | (left > 0 ? NETRXF_more_data : 0);
        answer.response.status = static_cast<int16_t>(size);
        if (flags & NETRXF_extra_info) {
            (void)ring_.take(); // the extra takes a buffer's slot, not the buffer
            is_extra_[answer_count_] = true;
            answers_[answer_count_++].extra =
                net::gso_extra(packet.offload.gso, packet.offload.gso_size, false);
        }
        flags = 0;
    }
    counters_.rx_bytes += packet.total;
}

void GuestRx::put_answers() noexcept {
    for (uint32_t i = 0; i < answer_count_; ++i) {
        if (is_extra_[i]) {
            ring_.put(answers_[i].extra);
            continue;
        }
        // One buffer that cannot be written spoils the packet.
        if (failed_[start_[i]])
            answers_[i].response.status = NETIF_RSP_ERROR;
        ring_.put(answers_[i].response);
    }
    counters_.rx_slots += answer_count_;
    answer_count_ = 0;
}

// Buffers come first: a packet that has them and waits for credit is not the guest's fault.
uint32_t GuestRx::send(const xpv_netback_rx_packet* packets, uint32_t count,
                       uint64_t& hold_ns) noexcept {
    hold_ns = 0;
    if (fault_.raised())
        return 0;
    const Result<uint32_t> pending = ring_.pending();
    if (!pending.ok()) {
        fault_.raise(fault_rx_ring, ring_.request_index());
        return 0;
    }
    uint32_t left = pending.value();
    uint32_t sent = 0;
    const bool limited = turn_.limited();
    const uint64_t now_ns = limited ? xpv_now_ns() : 0;
    for (; sent < count; ++sent) {
        const uint32_t needed = slots_needed(packets[sent]);
        if (needed > left) {
            needed_ = needed;
            break;
        }
        if (limited) {
            hold_ns = turn_.wait_ns(now_ns);
            if (hold_ns != 0)
                break;
            turn_.charge(now_ns, packets[sent].total);
        }
        left -= needed;
        copy_packet(packets[sent]);
    }
    if (hold_ns != 0)
        stall_.held(xpv_now_ms());
    if (sent == 0)
        return 0;
    worked_ = true;
    stall_.sent();
    if (copies_.count() > 0)
        run_copies();
    for (uint32_t i = 0; i < answer_count_; ++i)
        if (start_[i] == i && failed_[i])
            ++counters_.rx_errors;
    counters_.rx_packets += sent;
    put_answers();
    if (ring_.publish()) {
        ++counters_.rx_notifies;
        gate_.notify();
    }
    return sent;
}

bool GuestRx::starved(uint32_t waited_ms, const xpv_netback_rx_limits& limits) noexcept {
    if (fault_.raised())
        return false;
    const bool draining = stall_.draining();
    const bool stalled = stall_.stalled();
    const bool drop = stall_.starved(xpv_now_ms(), waited_ms, limits);
    counters_.rx_drains += !draining && drop ? 1 : 0;
    if (!stalled && stall_.stalled()) {
        ++counters_.rx_stalls;
        stalled_at_ = ring_.request_index() + ring_.pending().value_or(0);
    }
    return drop;
}

// While nothing is sent: true if the frontend can be served again, else an event is asked
// for when that may be so. One buffer ends the draining. A stall ends with enough of them,
// or with one more than there were.
bool GuestRx::recover() noexcept {
    for (;;) {
        const Result<uint32_t> pending = ring_.pending();
        if (!pending.ok()) {
            fault_.raise(fault_rx_ring, ring_.request_index());
            return false;
        }
        const uint32_t count = pending.value();
        const bool back = stall_.stalled()
                              ? count >= needed_ || ring_.request_index() + count != stalled_at_
                              : count > 0;
        if (back) {
            stall_.recovered(count >= needed_);
            return true;
        }
        if (!ring_.arm(count + 1))
            return false;
    }
}

void GuestRx::stop(bool waiting, xpv_netback_rest& rest) noexcept {
    // For a frontend that does not say when it posts buffers.
    constexpr uint32_t soon_ms = 1;
    constexpr uint32_t drained_ms = 100;
    rest = xpv_netback_rest{};
    if (fault_.raised())
        return;
    if (stall_.draining()) {
        rest.draining = !recover();
        rest.look_ms = rest.draining && !rx_notify_ ? drained_ms : 0;
    } else if (waiting) {
        ++counters_.rx_starved;
        rest.again = ring_.arm(needed_);
        rest.look_ms = rx_notify_ ? stall_.look_ms(xpv_now_ms()) : soon_ms;
    }
}

bool GuestRx::take_worked() noexcept {
    const Result<uint32_t> pending = ring_.pending();
    if (!pending.ok()) {
        fault_.raise(fault_rx_ring, ring_.request_index());
        return false;
    }
    const RingIndex produced = ring_.request_index() + pending.value();
    const bool worked = worked_ || produced != seen_;
    worked_ = false;
    seen_ = produced;
    return worked;
}

} // namespace xpv::netback
