// SPDX-License-Identifier: GPL-2.0-only
// Guest-TX: packets out of the frontend's ring into our memory. xen/io/netif.h,
// "Guest transmit".
#pragma once

#include "core/copy.hpp"
#include "core/fault_line.hpp"
#include "core/gate.hpp"
#include "core/rate.hpp"
#include "net/netif.hpp"
#include "netback/abi.h"
#include "netback/tx_map.hpp"

namespace xpv::netback {

struct Queue;

// One data slot more than the header's limit would be enough for us; a longer
// chain costs nothing more, and beyond any packet's needs it is an attack.
inline constexpr uint32_t tx_max_slots = 32;
inline constexpr uint32_t tx_fatal_slots = 64;
static_assert(tx_max_slots >= net::min_tx_slots && tx_fatal_slots <= net::ring_slots);
inline constexpr uint32_t tx_max_extras = XEN_NETIF_EXTRA_TYPE_MAX - 1;

// Belongs to the queue's guest-TX poller.
class GuestTx : NoCopy {
public:
    GuestTx(uint16_t domid, bool gso, xpv_netback_counters& counters, QueueFault fault,
            const EventGate<Queue>& gate, RateBucket& rate) noexcept
        : counters_{counters}, fault_{fault}, gate_{gate}, turn_{rate, counters.tx_holds},
          domid_{domid}, gso_{gso} {}

    // map: nullptr to copy everything; not ours to destroy.
    Result<void> attach(void* shared, TxMap* map) noexcept {
        map_ = map;
        return ring_.attach(shared, page_size);
    }

    // abi.h says what these do.
    uint32_t gather(xpv_netback_tx_packet* packets, uint32_t max, uint32_t map_above,
                    uint64_t& hold_ns) noexcept;
    void execute(xpv_netback_tx_packet* packets, uint32_t count) noexcept;

    // Ask for an event; true when there is work already.
    [[nodiscard]] bool arm() noexcept { return ring_.arm(); }
    // Slots were taken since the last time this was asked.
    bool take_worked() noexcept {
        const bool worked = worked_;
        worked_ = false;
        return worked;
    }

    const BackRing<netif_tx_sring>& ring() const noexcept { return ring_; }

private:
    enum class Verdict : uint8_t { Good, Drop, Fatal };

    // A packet between gather and execute: its data slots, in slots_.
    struct PacketSlots {
        uint16_t first;
        uint16_t count;
        uint16_t extras;
        bool failed;
    };

    Verdict take_packet(uint32_t& left, PacketSlots& taken, xpv_netback_tx_packet& packet) noexcept;
    Verdict take_extras(uint32_t& left, PacketSlots& taken, xpv_offload& offload) noexcept;
    Verdict take_chain(uint32_t& left, PacketSlots& taken, uint32_t& later) noexcept;
    void plan(const PacketSlots& taken, uint32_t map_above, xpv_netback_tx_packet& packet) noexcept;
    bool plan_pages(const PacketSlots& taken, uint32_t most,
                    xpv_netback_tx_packet& packet) noexcept;
    void map_packet(const PacketSlots& taken, const xpv_netback_tx_packet& packet) noexcept;
    void finish(const PacketSlots& taken, xpv_netback_tx_packet& packet) noexcept;
    void finish_mapped(const PacketSlots& taken, xpv_netback_tx_packet& packet) noexcept;
    void reap() noexcept;
    void copy_packet(const PacketSlots& taken, const xpv_netback_tx_packet& packet,
                     uint32_t tag) noexcept;
    void run_copies() noexcept;
    void publish() noexcept;
    void answer(const PacketSlots& taken, int16_t status) noexcept;
    Verdict fatal(const char* fault, uint32_t value) noexcept {
        fault_.raise(fault, value);
        return Verdict::Fatal;
    }

    BackRing<netif_tx_sring> ring_;
    xpv_netback_counters& counters_;
    QueueFault fault_;
    const EventGate<Queue>& gate_;
    RateTurn turn_;
    uint16_t domid_;
    bool gso_; // we offered it
    bool worked_ = false;
    uint32_t taken_count_ = 0;
    uint32_t slot_count_ = 0;
    PacketSlots taken_[XPV_NETBACK_BATCH];
    DataSlot slots_[net::ring_slots];
    TxMap* map_ = nullptr;
    CopyBatch copies_;
};

} // namespace xpv::netback
