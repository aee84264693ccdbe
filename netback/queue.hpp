// SPDX-License-Identifier: GPL-2.0-only
// One connected queue pair: both rings, their event channels and pollers.
#pragma once

#include "core/evtchn.hpp"
#include "core/xenstore.hpp"
#include "netback/rx.hpp"
#include "netback/tx.hpp"

namespace xpv::netback {

// An event channel and the pollers it wakes, one or both. Its EOI is paid when all
// of them are idle with their rings armed, so that a frontend's events never come
// faster than its work gets done.
class Gate : NoCopy {
public:
    Gate() noexcept = default;

    // Pollers may be scheduled before this returns. May sleep.
    Result<void> open(xpv_xenbus* bus, uint32_t peer_port, const char* name, xpv_vif_queue* shim,
                      uint32_t pollers, uint64_t& events, uint64_t& spurious) noexcept;
    void close() noexcept { channel_.unbind(); }

    void notify() const noexcept { channel_.notify(); }
    // A poller stops, its ring armed; worked: it found something to do.
    void idle(uint32_t poller, bool worked) noexcept;

    uint32_t port() const noexcept { return channel_.port(); }
    bool owes_eoi() const noexcept { return channel_.owes_eoi(); }

private:
    static void arrived(void* context);

    EventChannel channel_;
    xpv_vif_queue* shim_ = nullptr;
    uint32_t pollers_ = 0;
    uint32_t busy_ = 0; // pollers that have to look before the EOI
    // Work was found since the last EOI. It is kept while none is owed: the event
    // that announced it may still be on its way and is no spurious one.
    bool worked_ = false;
    uint64_t* events_ = nullptr;
    uint64_t* spurious_ = nullptr;
};

// What the frontend wrote about one queue.
struct QueuePlace {
    uint32_t tx_ref = 0;
    uint32_t rx_ref = 0;
    uint32_t tx_port = 0;
    uint32_t rx_port = 0; // the same: one channel for both

    // Flat keys for a single queue, queue-N/ for one of several. Each failure is
    // logged. May sleep.
    static Result<QueuePlace> read(const Xenstore& store, uint32_t index, uint32_t count) noexcept;
};

} // namespace xpv::netback

// The name that abi.h gives it.
struct xpv_netback_queue : xpv::NoCopy {
    xpv_netback_queue(xpv_xenbus* bus, xpv::netback::FaultLine& line, uint32_t index,
                      const xpv::netback::QueuePlace& place, bool gso) noexcept;

    // Map and check both rings; make room to map packets, if wanted. May sleep.
    xpv::Result<void> open(bool map_packets) noexcept;
    // Bind the channels; events may come from here on. May sleep.
    xpv::Result<void> bind(const char* name, xpv_vif_queue* shim) noexcept;
    // No event comes any more; idempotent. May sleep.
    void unbind() noexcept;

    bool broken() const noexcept { return fault.raised(); }
    xpv::netback::Gate& rx_gate() noexcept { return shared ? gates[0] : gates[1]; }
    xpv::netback::Gate& tx_gate() noexcept { return gates[0]; }

    xpv_xenbus* bus;
    const xpv::netback::QueuePlace place;
    xpv_netback_counters counters{};
    xpv::netback::QueueFault fault;
    xpv::MappedRing tx_ring;
    xpv::MappedRing rx_ring;
    xpv::netback::TxMap* map = nullptr; // the shim's once it was attached
    xpv::netback::TxPath tx;
    xpv::netback::RxPath rx;
    xpv::netback::Gate gates[2];
    bool shared = false;
};
