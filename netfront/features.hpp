// SPDX-License-Identifier: GPL-2.0-only
// What the backend offers and what we ask of it: the nodes of xen/io/netif.h.
#pragma once

#include "net/features.hpp"
#include "net/place.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

struct Offer {
    xpv_net_features features{};
    uint32_t queues = 1;      // to use
    bool multi_queue = false; // the backend reads multi-queue-num-queues
};

// Read the backend's folder. A node with rubbish counts as absent, which is logged.
// Unsupported (logged) when the backend cannot copy to our pages. May sleep.
Result<Offer> read_offer(const Xenstore& store, const xpv_net_settings& settings,
                         uint32_t wanted_queues) noexcept;

// Write our folder in one transaction, without leftovers of a former connection
// that had another number of queues or kind of channels. May sleep.
Result<void> write_answer(const Xenstore& store, const xpv_net_settings& settings,
                          const Offer& offer, Span<const net::QueuePlace> queues) noexcept;

// "aa:bb:cc:dd:ee:ff" of a single station; Invalid otherwise.
Result<void> parse_mac(const char* text, uint8_t mac[6]) noexcept;

} // namespace xpv::netfront
