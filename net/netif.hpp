// SPDX-License-Identifier: GPL-2.0-only
// The network protocol's wire types and limits: xen/io/netif.h.
#pragma once

#include "core/result.hpp"
#include "core/ring.hpp"
#include "core/xen.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xen/io/netif.h>
#pragma GCC diagnostic pop

#include "net/packet.h"

namespace xpv::net {

using TxRequest = netif_tx_request;
using TxResponse = netif_tx_response;
using RxRequest = netif_rx_request;
using RxResponse = netif_rx_response;
using ExtraInfo = netif_extra_info;

static_assert(sizeof(TxRequest) == 12 && sizeof(TxResponse) == 4);
static_assert(sizeof(RxRequest) == 8 && sizeof(RxResponse) == 8);
static_assert(sizeof(ExtraInfo) == 8);
static_assert(static_cast<int>(XPV_GSO_TCPV4) == XEN_NETIF_GSO_TYPE_TCPV4);
static_assert(static_cast<int>(XPV_GSO_TCPV6) == XEN_NETIF_GSO_TYPE_TCPV6);

inline constexpr uint32_t ring_slots = 256; // of a one-page ring, either direction
static_assert(RingTypes<netif_tx_sring>::slots(page_size) == ring_slots);
static_assert(RingTypes<netif_rx_sring>::slots(page_size) == ring_slots);

inline constexpr uint32_t min_tx_slots = 18; // every backend takes this many per packet
inline constexpr uint32_t ethernet_header = 14;
inline constexpr uint32_t max_packet = XPV_NET_MAX_PACKET;

inline ExtraInfo gso_extra(uint8_t type, uint16_t size, bool more) noexcept {
    ExtraInfo extra{};
    extra.type = XEN_NETIF_EXTRA_TYPE_GSO;
    extra.flags = more ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
    extra.u.gso.size = size;
    extra.u.gso.type = type;
    return extra;
}

// Segments of less than this no TCP has to send (TCP_MIN_SND_MSS), and one packet of 64 KiB
// would become thousands of them. At the other end 0xffff, which no segment can be, means
// something else to Linux (GSO_BY_FRAGS).
inline constexpr uint32_t min_gso_size = 48;
inline constexpr uint32_t max_gso_size = max_packet - 1;

// Offload state of a GSO extra from the other end. Protocol on a type or size that
// the protocol does not know; Invalid on a size that no packet needs: it alone is lost.
inline Result<void> read_gso(const ExtraInfo& extra, xpv_offload& offload) noexcept {
    const uint8_t type = extra.u.gso.type;
    if (extra.u.gso.size == 0 ||
        (type != XEN_NETIF_GSO_TYPE_TCPV4 && type != XEN_NETIF_GSO_TYPE_TCPV6))
        return Error::Protocol;
    if (extra.u.gso.size < min_gso_size || extra.u.gso.size > max_gso_size)
        return Error::Invalid;
    offload.gso = type;
    offload.gso_size = extra.u.gso.size;
    return {};
}

} // namespace xpv::net
