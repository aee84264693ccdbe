// SPDX-License-Identifier: GPL-2.0-only
#include "netback/tx.hpp"

namespace xpv::netback {
namespace {

constexpr const char* fault_tx_crosses_page = "guest-TX slot reaches over its page";

// A slot with its own bytes, which the first one of a packet does not say. False: they reach
// over its page.
bool data_slot(const net::TxRequest& request, uint32_t size, DataSlot& slot) noexcept {
    slot = {GrantRef{request.gref}, request.offset, static_cast<uint16_t>(size), request.id};
    return request.offset + size <= page_size;
}

// A packet up to this size is copied into linear memory whole.
constexpr uint32_t whole_head = 1600;
// Of a larger one that much: all headers, whatever the slots look like, so that
// nobody finds them in a fragment (XSA-423).
constexpr uint32_t usual_head = 128;
// A first slot of such a size holds the headers and nothing else; taking it as
// the head saves splitting the second slot.
constexpr uint32_t shortest_header_slot = 54; // Ethernet, IPv4, TCP
constexpr uint32_t longest_header_slot = 512;
static_assert(whole_head <= XPV_NETBACK_TX_HEAD_MAX && longest_header_slot <= whole_head);
static_assert((net::max_packet - shortest_header_slot + page_mask) / page_size <=
              XPV_NETBACK_TX_PAGES);

} // namespace

GuestTx::Verdict GuestTx::take_extras(uint32_t& left, PacketSlots& taken,
                                      xpv_offload& offload) noexcept {
    const auto gso = [&offload](const net::ExtraInfo& info) noexcept {
        return net::read_gso(info, offload);
    };
    Verdict verdict = Verdict::Good;
    for (bool more = true; more;) {
        if (left == 0)
            return fatal("guest-TX packet ends in the middle of its extra slots", taken.extras);
        if (taken.extras == tx_max_extras)
            return fatal("guest-TX packet with too many extra slots", taken.extras);
        const auto extra = ring_.take<net::ExtraInfo>();
        const uint8_t type = extra.part(&net::ExtraInfo::type).raw(); // judged here
        --left;
        ++taken.extras;
        switch (type) {
        case XEN_NETIF_EXTRA_TYPE_GSO:
            if (const Result<void> known = extra.checked(gso); !known.ok()) {
                if (known.error() == Error::Protocol)
                    return fatal("guest-TX segmentation type or size is wrong",
                                 extra.raw().u.gso.type);
                verdict = Verdict::Drop;
            }
            if (!gso_)
                verdict = Verdict::Drop;
            break;
        case XEN_NETIF_EXTRA_TYPE_MCAST_ADD:
        case XEN_NETIF_EXTRA_TYPE_MCAST_DEL:
            // Requests, not packets, that we did not offer to serve.
            verdict = Verdict::Drop;
            break;
        case XEN_NETIF_EXTRA_TYPE_HASH:
            break;
        default:
            return fatal("guest-TX extra slot of unknown type", type);
        }
        more = (extra.part(&net::ExtraInfo::flags).raw() & XEN_NETIF_EXTRA_FLAG_MORE) != 0;
    }
    return verdict;
}

// The data slots after the first; `later` is the sum of their sizes.
GuestTx::Verdict GuestTx::take_chain(uint32_t& left, PacketSlots& taken, uint32_t& later) noexcept {
    Verdict verdict = Verdict::Good;
    for (bool more = true; more;) {
        if (left == 0)
            return fatal("guest-TX packet ends in the middle of its slots", taken.count);
        if (taken.count == tx_fatal_slots)
            return fatal("guest-TX packet of too many slots", taken.count);
        const Untrusted<net::TxRequest> request = ring_.take();
        --left;
        DataSlot& slot = slots_[taken.first + taken.count++];
        const auto own = [&slot](const net::TxRequest& wire) noexcept {
            return data_slot(wire, wire.size, slot);
        };
        if (!request.checked(own))
            return fatal(fault_tx_crosses_page,
                         uint32_t{request.raw().offset} + request.raw().size);
        if (slot.size == 0)
            verdict = Verdict::Drop;
        later += slot.size;
        more = (request.part(&net::TxRequest::flags).raw() & NETTXF_more_data) != 0;
    }
    return taken.count > tx_max_slots ? Verdict::Drop : verdict;
}

// One packet from the ring into slots_, in which each slot then has its own size.
GuestTx::Verdict GuestTx::take_packet(uint32_t& left, PacketSlots& taken,
                                      xpv_netback_tx_packet& packet) noexcept {
    taken = PacketSlots{static_cast<uint16_t>(slot_count_), 1, 0, false};
    const Untrusted<net::TxRequest> request = ring_.take();
    const uint16_t flags = request.part(&net::TxRequest::flags).raw(); // others mean nothing
    DataSlot& first = slots_[taken.first];
    first.id = request.part(&net::TxRequest::id).raw();
    --left;

    packet.offload = xpv_offload{};
    if (flags & NETTXF_csum_blank)
        packet.offload.csum = XPV_CSUM_BLANK;
    else if (flags & NETTXF_data_validated)
        packet.offload.csum = XPV_CSUM_VALIDATED;

    Verdict verdict = Verdict::Good;
    if (flags & NETTXF_extra_info) {
        verdict = take_extras(left, taken, packet.offload);
        if (verdict == Verdict::Fatal)
            return verdict;
    }
    uint32_t later = 0;
    if (flags & NETTXF_more_data) {
        const Verdict chain = take_chain(left, taken, later);
        if (chain != Verdict::Good)
            verdict = chain;
        if (verdict == Verdict::Fatal)
            return verdict;
    }
    // The first slot carries the total. One that is not larger than the others'
    // sum comes from frontends that overflow it with 64 KiB: no reason to leave.
    const uint32_t total = request.part(&net::TxRequest::size).raw();
    if (total <= later || total < net::ethernet_header)
        return Verdict::Drop;
    if (verdict != Verdict::Good)
        return verdict;
    const auto own = [&](const net::TxRequest& wire) noexcept {
        return data_slot(wire, total - later, first);
    };
    if (!request.checked(own))
        return fatal(fault_tx_crosses_page, request.raw().offset + total - later);
    packet.total = total;
    return Verdict::Good;
}

// The slots' bytes behind the head, each slot's for itself; false: more than `most`.
bool GuestTx::plan_pages(const PacketSlots& taken, uint32_t most,
                         xpv_netback_tx_packet& packet) noexcept {
    uint32_t skip = packet.head;
    uint32_t pages = 0;
    for (uint32_t i = 0; i < taken.count; ++i) {
        const uint32_t size = slots_[taken.first + i].size;
        if (size <= skip) {
            skip -= size;
            continue;
        }
        if (pages == most)
            return false;
        packet.page_bytes[pages++] = static_cast<uint16_t>(size - skip);
        skip = 0;
    }
    packet.pages = static_cast<uint16_t>(pages);
    return true;
}

// What becomes of the packet: a head that is copied, and behind it the guest's own
// pages, or a page of ours for each slot so that one operation fills it, or, for
// slots smaller than that, pages that are packed.
void GuestTx::plan(const PacketSlots& taken, uint32_t map_above,
                   xpv_netback_tx_packet& packet) noexcept {
    packet.targets = 0;
    packet.pages = 0;
    packet.mapped = XPV_NETBACK_TX_COPIED;
    packet.fragments = 0;
    packet.good = false;
    if (packet.total <= whole_head) {
        packet.head = static_cast<uint16_t>(packet.total);
        return;
    }
    const uint32_t own = slots_[taken.first].size;
    packet.head = static_cast<uint16_t>(
        own >= shortest_header_slot && own <= longest_header_slot ? own : usual_head);

    if (map_ != nullptr && packet.total > map_above &&
        plan_pages(taken, XPV_NETBACK_TX_PAGES, packet)) {
        packet.mapped = map_->begin(packet.pages).number();
        if (packet.mapped != XPV_NETBACK_TX_COPIED) {
            packet.fragments = packet.pages;
            packet.pages = 0;
            return;
        }
    }
    uint32_t rest = packet.total - packet.head;
    const uint32_t packed = (rest + page_mask) / page_size;
    if (plan_pages(taken, min<uint32_t>(packed + 1, XPV_NETBACK_TX_PAGES), packet))
        return;
    packet.pages = static_cast<uint16_t>(packed);
    for (uint32_t i = 0; i < packed; ++i, rest -= page_size)
        packet.page_bytes[i] = static_cast<uint16_t>(min(rest, page_size));
}

uint32_t GuestTx::gather(xpv_netback_tx_packet* packets, uint32_t max, uint32_t map_above,
                         uint64_t& hold_ns) noexcept {
    taken_count_ = slot_count_ = 0;
    hold_ns = 0;
    if (fault_.raised())
        return 0;
    if (map_ != nullptr && map_->any_done())
        reap();
    const Result<uint32_t> pending = ring_.pending();
    if (!pending.ok()) {
        fault_.raise("guest-TX ring: impossible request index", ring_.request_index());
        return 0;
    }
    uint32_t left = pending.value();
    worked_ |= left > 0;
    const bool limited = left > 0 && turn_.limited();
    const uint64_t now_ns = limited ? xpv_now_ns() : 0;
    while (left > 0 && taken_count_ < max) {
        if (limited) {
            hold_ns = turn_.wait_ns(now_ns);
            if (hold_ns != 0)
                break;
        }
        PacketSlots& taken = taken_[taken_count_];
        xpv_netback_tx_packet& packet = packets[taken_count_];
        switch (take_packet(left, taken, packet)) {
        case Verdict::Fatal:
            // Nothing is known about what follows; the packets before it are
            // given up as well.
            for (uint32_t i = 0; i < taken_count_; ++i)
                if (packets[i].mapped != XPV_NETBACK_TX_COPIED)
                    map_->abandon(TxMap::PacketId{packets[i].mapped});
            taken_count_ = 0;
            return 0;
        case Verdict::Drop:
            ++counters_.tx_errors;
            answer(taken, NETIF_RSP_ERROR);
            break;
        case Verdict::Good:
            if (limited)
                turn_.charge(now_ns, packet.total);
            plan(taken, map_above, packet);
            slot_count_ += taken.count;
            ++taken_count_;
            break;
        }
    }
    if (taken_count_ == 0 && ring_.unpublished() > 0)
        publish();
    return taken_count_;
}

void GuestTx::publish() noexcept {
    if (!ring_.publish())
        return;
    ++counters_.tx_notifies;
    gate_.notify();
}

void GuestTx::run_copies() noexcept {
    counters_.tx_copy_ops += copies_.count();
    ++counters_.tx_copy_calls;
    copies_.run([this](uint32_t tag, int16_t) { taken_[tag].failed = true; });
}

void GuestTx::copy_packet(const PacketSlots& taken, const xpv_netback_tx_packet& packet,
                          uint32_t tag) noexcept {
    const DataSlot* slot = &slots_[taken.first];
    uint32_t done = 0; // of *slot
    for (uint32_t i = 0; i < packet.targets; ++i) {
        const xpv_netback_target& target = packet.target[i];
        for (uint32_t filled = 0; filled < target.length;) {
            const uint32_t bytes = min(target.length - filled, slot->size - done);
            if (copies_.free() == 0)
                run_copies();
            copies_.from_peer(domid_, slot->gref, static_cast<uint16_t>(slot->offset + done),
                              target.gfn, static_cast<uint16_t>(target.offset + filled),
                              static_cast<uint16_t>(bytes), tag);
            filled += bytes;
            done += bytes;
            if (done == slot->size) {
                ++slot;
                done = 0;
            }
        }
    }
}

// A response for each slot that the packet took; extras have no id of their own.
void GuestTx::answer(const PacketSlots& taken, int16_t status) noexcept {
    const DataSlot* const slots = &slots_[taken.first];
    ring_.put(net::TxResponse{slots[0].id, status});
    for (uint32_t i = 0; i < taken.extras; ++i)
        ring_.put(net::TxResponse{0, NETIF_RSP_NULL});
    for (uint32_t i = 1; i < taken.count; ++i)
        ring_.put(net::TxResponse{slots[i].id, status});
    counters_.tx_slots += taken.count;
    counters_.tx_extras += taken.extras;
}

// What of the packet is not in its head, slot by slot.
void GuestTx::map_packet(const PacketSlots& taken, const xpv_netback_tx_packet& packet) noexcept {
    uint32_t skip = packet.head;
    for (uint32_t i = 0; i < taken.count; ++i) {
        const DataSlot& slot = slots_[taken.first + i];
        if (slot.size <= skip) {
            skip -= slot.size;
            continue;
        }
        map_->add(TxMap::PacketId{packet.mapped}, slot.gref,
                  static_cast<uint16_t>(slot.offset + skip),
                  static_cast<uint16_t>(slot.size - skip));
        skip = 0;
    }
}

void GuestTx::finish(const PacketSlots& taken, xpv_netback_tx_packet& packet) noexcept {
    if (packet.targets == 0) {
        ++counters_.tx_drops;
        answer(taken, NETIF_RSP_DROPPED);
    } else if (taken.failed) {
        ++counters_.tx_errors;
        answer(taken, NETIF_RSP_ERROR);
    } else {
        packet.good = true;
        answer(taken, NETIF_RSP_OKAY);
    }
}

void GuestTx::finish_mapped(const PacketSlots& taken, xpv_netback_tx_packet& packet) noexcept {
    const TxMap::PacketId mapped{packet.mapped};
    const bool complete = map_->complete(mapped);
    if (packet.targets == 0 || taken.failed || !complete) {
        map_->abandon(mapped);
        PacketSlots lost = taken;
        lost.failed = true;
        finish(lost, packet);
        return;
    }
    packet.good = true;
    for (uint32_t i = 0; i < packet.fragments; ++i)
        map_->fragment(mapped, i, packet.fragment[i]);
    map_->remember(mapped, &slots_[taken.first], taken.count, taken.extras);
}

// Answer the packets whose pages came back.
void GuestTx::reap() noexcept {
    map_->reap([this](const uint16_t* ids, uint32_t count, uint32_t extras) {
        for (uint32_t i = 0; i < count; ++i)
            ring_.put(net::TxResponse{ids[i], NETIF_RSP_OKAY});
        for (uint32_t i = 0; i < extras; ++i)
            ring_.put(net::TxResponse{0, NETIF_RSP_NULL});
        counters_.tx_slots += count;
        counters_.tx_extras += extras;
    });
}

void GuestTx::execute(xpv_netback_tx_packet* packets, uint32_t count) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        if (packets[i].targets == 0)
            continue;
        copy_packet(taken_[i], packets[i], i);
        if (packets[i].mapped != XPV_NETBACK_TX_COPIED)
            map_packet(taken_[i], packets[i]);
    }
    if (copies_.count() > 0)
        run_copies();
    if (map_ != nullptr)
        map_->run();
    for (uint32_t i = 0; i < count; ++i) {
        xpv_netback_tx_packet& packet = packets[i];
        if (packet.mapped == XPV_NETBACK_TX_COPIED)
            finish(taken_[i], packet);
        else
            finish_mapped(taken_[i], packet);
        if (packet.good) {
            ++counters_.tx_packets;
            counters_.tx_bytes += packet.total;
        }
    }
    taken_count_ = slot_count_ = 0;
    publish();
}

} // namespace xpv::netback
