// SPDX-License-Identifier: GPL-2.0-only
// What both ends of a vif tell each other before the first packet: xen/io/netif.h,
// "feature" nodes.
#pragma once

#include "core/xenbus_state.hpp"
#include "core/xenstore.hpp"
#include "net/settings.h"

namespace xpv::net {

// What an end with these settings uses and takes, if the other one does too.
xpv_net_features permitted(const xpv_net_settings& settings) noexcept;

// Read the other end's folder; role is ours. A node with rubbish counts as absent, which
// is logged. Unsupported, logged, if the other end does not copy guest-RX packets. May sleep.
Result<xpv_net_features> read_features(const Xenstore& store, Role role,
                                       const xpv_net_settings& settings) noexcept;

// Write ours, as part of a transaction. May sleep.
Result<void> write_features(const Xenstore& store, Role role,
                            const xpv_net_settings& settings) noexcept;

} // namespace xpv::net
