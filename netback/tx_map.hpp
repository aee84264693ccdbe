// SPDX-License-Identifier: GPL-2.0-only
// Guest-TX without copying: the guest's pages mapped read-only for as long as a
// packet travels through the stack. GNTTABOP_map_grant_ref, in batches.
#pragma once

#include "core/ids.hpp"
#include "core/kapi.h"
#include "net/netif.hpp"
#include "netback/abi.h"

namespace xpv::netback {

// A data slot of a guest's, whose bytes lie inside one page.
struct DataSlot {
    GrantRef gref; // Xen's to judge
    uint16_t offset;
    uint16_t size;
    uint16_t id; // goes back as it came
};

// Frames to map into and the packets that hold them. It can outlive its queue: a
// packet may be anywhere in the kernel when the frontend leaves. All but done()
// belongs to the queue's guest-TX poller, or to whoever takes over after it.
class TxMap : NoCopy {
public:
    using PacketId = Id<struct PacketIdTag>;
    static constexpr uint32_t capacity = net::ring_slots; // frames, and packets

    // nullptr without memory. May sleep, as destroy().
    static TxMap* create(uint16_t domid, xpv_netback_counters* counters) noexcept;
    // Nothing is out any more.
    static void destroy(TxMap* map) noexcept;

    // ---- a packet's way in --------------------------------------------------

    // Frames for a packet of 1..XPV_NETBACK_TX_PAGES fragments: its id, or none().
    PacketId begin(uint32_t fragments) noexcept;
    // Map the next fragment: a stretch of the granted page.
    void add(PacketId packet, GrantRef ref, uint16_t offset, uint16_t length) noexcept;
    // Map what was added since the last time.
    void run() noexcept;
    // All of the packet's fragments are mapped.
    bool complete(PacketId packet) const noexcept;
    // Undo a packet that will not travel.
    void abandon(PacketId packet) noexcept;
    void fragment(PacketId packet, uint32_t i, xpv_netback_tx_fragment& out) const noexcept;
    // To be answered when it comes back.
    void remember(PacketId packet, const DataSlot* slots, uint32_t count, uint32_t extras) noexcept;

    // ---- and out ------------------------------------------------------------

    // The stack is done with the packet's pages. Any context, any number at a time.
    void done(PacketId packet) noexcept;
    bool any_done() const noexcept {
        return __atomic_load_n(&done_, __ATOMIC_RELAXED) != no_packet;
    }
    // Unmap all packets that are done; answer(slot ids, count, extras) for each.
    template <class Answer> void reap(Answer answer) noexcept {
        PacketId packet = collect();
        while (packet != PacketId::none()) {
            Packet& p = packets_[packet.number()];
            const PacketId next{p.next};
            answer(p.ids, p.slots, p.extras);
            release(packet);
            packet = next;
        }
    }
    // Packets whose pages are mapped.
    uint32_t outstanding() const noexcept { return packet_ids_.in_use(); }
    // The queue's counters end with the queue.
    void forget_counters() noexcept { counters_ = &own_counters_; }

private:
    using FrameId = Id<struct FrameIdTag>;
    static constexpr uint32_t no_packet = PacketId::none().number();
    static constexpr uint32_t max_slots = 32;

    struct Packet {
        uint32_t next; // done
        uint16_t wanted, added;
        uint16_t slots, extras;
        uint16_t ids[max_slots];
        uint16_t frame[XPV_NETBACK_TX_PAGES];
        uint16_t offset[XPV_NETBACK_TX_PAGES];
        uint16_t length[XPV_NETBACK_TX_PAGES];
    };

    TxMap(uint16_t domid, xpv_netback_counters* counters) noexcept
        : counters_{counters}, domid_{domid} {}
    PacketId collect() noexcept;
    void unmap(PacketId packet) noexcept;
    void run_unmaps() noexcept;
    void release(PacketId packet) noexcept;

    xpv_netback_counters* counters_;
    xpv_netback_counters own_counters_{};
    uint16_t domid_;
    uint32_t done_ = no_packet; // a stack of packets that any context pushes to
    uint32_t op_count_ = 0;
    uint32_t unmap_count_ = 0;
    uint32_t lost_frames_ = 0;
    xpv_map_scratch* scratch_ = nullptr;
    IdPool<FrameId, capacity> frame_ids_;
    IdPool<PacketId, capacity> packet_ids_;
    xpv_page* frames_[capacity] = {};
    uint32_t handles_[capacity] = {};
    bool mapped_[capacity] = {};
    Packet packets_[capacity];
    xpv_map_op ops_[XPV_MAP_BATCH];
    uint16_t op_frame_[XPV_MAP_BATCH];
    xpv_map_op unmaps_[XPV_MAP_BATCH];
    uint16_t unmap_frame_[XPV_MAP_BATCH];
};

} // namespace xpv::netback
