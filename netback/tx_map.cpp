// SPDX-License-Identifier: GPL-2.0-only
#include "netback/tx_map.hpp"

namespace xpv::netback {

TxMap* TxMap::create(uint16_t domid, xpv_netback_counters* counters) noexcept {
    void* memory = xpv_alloc(sizeof(TxMap));
    if (memory == nullptr)
        return nullptr;
    auto* map = new (memory) TxMap{domid, counters};
    map->scratch_ = xpv_map_scratch_alloc();
    if (map->scratch_ == nullptr || xpv_gnttab_map_pages_alloc(capacity, map->frames_) < 0) {
        xpv_map_scratch_free(map->scratch_);
        xpv_free(map);
        return nullptr;
    }
    return map;
}

void TxMap::destroy(TxMap* map) noexcept {
    if (map == nullptr)
        return;
    // A frame whose mapping Xen would not undo must not be anybody's again.
    if (map->lost_frames_ == 0)
        xpv_gnttab_map_pages_free(capacity, map->frames_);
    xpv_map_scratch_free(map->scratch_);
    map->~TxMap();
    xpv_free(map);
}

TxMap::PacketId TxMap::begin(uint32_t fragments) noexcept {
    if (frame_ids_.available() < fragments)
        return PacketId::none();
    const PacketId packet = packet_ids_.take();
    if (packet == PacketId::none())
        return packet;
    Packet& p = packets_[packet.number()];
    p.wanted = static_cast<uint16_t>(fragments);
    p.added = 0;
    for (uint32_t i = 0; i < fragments; ++i)
        p.frame[i] = static_cast<uint16_t>(frame_ids_.take().number());
    return packet;
}

void TxMap::add(PacketId packet, GrantRef ref, uint16_t offset, uint16_t length) noexcept {
    if (op_count_ == XPV_MAP_BATCH)
        run();
    Packet& p = packets_[packet.number()];
    const uint16_t frame = p.frame[p.added];
    p.offset[p.added] = offset;
    p.length[p.added++] = length;
    op_frame_[op_count_] = frame;
    ops_[op_count_++] = xpv_map_op{frames_[frame], ref.number(), 0, domid_, 0, true};
}

void TxMap::run() noexcept {
    if (op_count_ == 0)
        return;
    counters_->tx_map_ops += op_count_;
    ++counters_->tx_map_calls;
    xpv_gnttab_map(scratch_, ops_, op_count_);
    for (uint32_t i = 0; i < op_count_; ++i) {
        const uint16_t frame = op_frame_[i];
        mapped_[frame] = ops_[i].status == GNTST_okay;
        handles_[frame] = ops_[i].handle;
    }
    op_count_ = 0;
}

bool TxMap::complete(PacketId packet) const noexcept {
    const Packet& p = packets_[packet.number()];
    bool all = p.added == p.wanted;
    for (uint32_t i = 0; i < p.added; ++i)
        all = all && mapped_[p.frame[i]];
    return all;
}

void TxMap::abandon(PacketId packet) noexcept {
    unmap(packet);
    run_unmaps();
    release(packet);
}

void TxMap::fragment(PacketId packet, uint32_t i, xpv_netback_tx_fragment& out) const noexcept {
    const Packet& p = packets_[packet.number()];
    out = xpv_netback_tx_fragment{frames_[p.frame[i]], p.offset[i], p.length[i]};
}

void TxMap::remember(PacketId packet, const DataSlot* slots, uint32_t count,
                     uint32_t extras) noexcept {
    Packet& p = packets_[packet.number()];
    p.slots = static_cast<uint16_t>(min(count, max_slots));
    p.extras = static_cast<uint16_t>(extras);
    for (uint32_t i = 0; i < p.slots; ++i)
        p.ids[i] = slots[i].id;
}

void TxMap::done(PacketId packet) noexcept {
    uint32_t first = __atomic_load_n(&done_, __ATOMIC_RELAXED);
    do {
        packets_[packet.number()].next = first;
    } while (!__atomic_compare_exchange_n(&done_, &first, packet.number(), false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

// Take the stack of done packets and unmap them, in batches.
TxMap::PacketId TxMap::collect() noexcept {
    if (!any_done())
        return PacketId::none();
    const uint32_t first = __atomic_exchange_n(&done_, no_packet, __ATOMIC_ACQUIRE);
    for (uint32_t packet = first; packet != no_packet; packet = packets_[packet].next)
        unmap(PacketId{packet});
    run_unmaps();
    return PacketId{first};
}

void TxMap::unmap(PacketId packet) noexcept {
    const Packet& p = packets_[packet.number()];
    for (uint32_t i = 0; i < p.added; ++i) {
        const uint16_t frame = p.frame[i];
        if (!mapped_[frame])
            continue;
        if (unmap_count_ == XPV_MAP_BATCH)
            run_unmaps();
        unmap_frame_[unmap_count_] = frame;
        unmaps_[unmap_count_++] = xpv_map_op{frames_[frame], 0, handles_[frame], domid_, 0, true};
    }
}

void TxMap::run_unmaps() noexcept {
    if (unmap_count_ == 0)
        return;
    counters_->tx_unmap_ops += unmap_count_;
    ++counters_->tx_unmap_calls;
    xpv_gnttab_unmap(scratch_, unmaps_, unmap_count_);
    for (uint32_t i = 0; i < unmap_count_; ++i)
        if (unmaps_[i].status == GNTST_okay)
            mapped_[unmap_frame_[i]] = false;
    unmap_count_ = 0;
}

void TxMap::release(PacketId packet) noexcept {
    Packet& p = packets_[packet.number()];
    for (uint32_t i = 0; i < p.wanted; ++i) {
        // What is still mapped is never used again.
        if (mapped_[p.frame[i]])
            ++lost_frames_;
        else
            (void)frame_ids_.give(FrameId{p.frame[i]});
    }
    (void)packet_ids_.give(packet);
}

} // namespace xpv::netback
