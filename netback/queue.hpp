// SPDX-License-Identifier: GPL-2.0-only
// One connected queue pair: both rings, their event channels and pollers.
#pragma once

#include "core/gate.hpp"
#include "core/grant.hpp"
#include "net/place.hpp"
#include "netback/rx.hpp"
#include "netback/tx.hpp"

namespace xpv::netback {

struct Queue : NoCopy {
    Queue(xpv_xenbus* bus, FaultLine& line, QueueIndex index, const net::QueuePlace& place,
          bool gso, bool rx_notify, RateBucket (&rates)[2]) noexcept;

    // Map and check both rings; make what maps packets, if wanted. May sleep.
    Result<void> open(bool map_packets) noexcept;
    // Bind the channels; events may come from here on. May sleep.
    Result<void> bind(netback_queue* shim) noexcept;
    // No event comes any more; idempotent. May sleep.
    void unbind() noexcept;

    bool broken() const noexcept { return fault.raised(); }
    EventGate<Queue>& tx_gate() noexcept { return gates[0]; }
    EventGate<Queue>& rx_gate() noexcept { return gates[place.split() ? 1 : 0]; }
    const EventGate<Queue>& rx_gate() const noexcept { return gates[place.split() ? 1 : 0]; }
    // For the gates. Hard interrupts.
    void schedule(uint32_t pollers) noexcept { xpv_netback_os_schedule(shim, pollers); }

    xpv_xenbus* const bus;
    netback_queue* shim = nullptr;
    const QueueIndex index;
    const net::QueuePlace place;
    xpv_netback_counters counters{};
    QueueFault fault;
    MappedRing tx_ring;
    MappedRing rx_ring;
    TxMap* map = nullptr; // the shim's once it was attached
    GuestTx tx;
    GuestRx rx;
    EventGate<Queue> gates[2]; // the second one when they are split
};

} // namespace xpv::netback

// The name that abi.h gives it.
struct xpv_netback_queue : xpv::netback::Queue {
    using Queue::Queue;
};
