// SPDX-License-Identifier: GPL-2.0-only
// Where the queues of a vif are: what a frontend writes and a backend reads of rings and
// event channels (xen/io/netif.h).
#pragma once

#include "core/id.hpp"
#include "core/xenstore.hpp"

namespace xpv::net {

struct QueuePlace {
    GrantRef tx_ref{};
    GrantRef rx_ref{};
    Port tx_port{};
    Port rx_port{}; // the same: one channel for both

    bool split() const noexcept { return tx_port != rx_port; }

    // Backend: flat keys for a single queue, queue-N/ for one of several. Each failure is
    // logged. May sleep.
    static Result<QueuePlace> read(const Xenstore& store, QueueIndex index,
                                   uint32_t count) noexcept;
    // Frontend, the same keys. May sleep.
    Result<void> write(const Xenstore& store, QueueIndex index, uint32_t count) const noexcept;
};

// Frontend, in the transaction that writes the places: take away what another connection
// or another driver wrote of queues, or wrote that changes what a backend does. May sleep.
Result<void> remove_leftovers(const Xenstore& store) noexcept;

} // namespace xpv::net
