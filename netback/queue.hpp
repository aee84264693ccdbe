// SPDX-License-Identifier: GPL-2.0-only
// One connected queue pair: both rings, their event channels and pollers.
#pragma once

#include "core/gate.hpp"
#include "core/grant.hpp"
#include "net/place.hpp"
#include "netback/rx.hpp"
#include "netback/tx.hpp"

// The name that abi.h gives it.
struct xpv_netback_queue : xpv::NoCopy {
    using Gate = xpv::EventGate<xpv_netback_queue>;

    xpv_netback_queue(xpv_xenbus* bus, xpv_vif* vif, xpv::FaultLine& line, uint32_t index,
                      const xpv::net::QueuePlace& place, bool gso, bool rx_notify) noexcept;

    // Map and check both rings; make room to map packets, if wanted. May sleep.
    xpv::Result<void> open(bool map_packets) noexcept;
    // Bind the channels; events may come from here on. May sleep.
    xpv::Result<void> bind(const char* name, xpv_vif_queue* shim) noexcept;
    // No event comes any more; idempotent. May sleep.
    void unbind() noexcept;

    bool broken() const noexcept { return fault.raised(); }
    Gate& rx_gate() noexcept { return shared ? gates[0] : gates[1]; }
    Gate& tx_gate() noexcept { return gates[0]; }
    // For the gates. Hard interrupts.
    void schedule(uint32_t pollers) noexcept { xpv_netback_vif_schedule(shim, pollers); }

    xpv_xenbus* bus;
    xpv_vif* vif;
    xpv_vif_queue* shim = nullptr;
    const xpv::net::QueuePlace place;
    xpv_netback_counters counters{};
    xpv::QueueFault fault;
    xpv::MappedRing tx_ring;
    xpv::MappedRing rx_ring;
    xpv::netback::TxMap* map = nullptr; // the shim's once it was attached
    xpv::netback::TxPath tx;
    xpv::netback::RxPath rx;
    Gate gates[2];
    bool shared = false;
};
