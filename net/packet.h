/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What both ends of a vif say about a packet besides its bytes. Plain data that
 * C shims fill from, or put into, the operating system's own packet type.
 */
#ifndef XPV_NET_PACKET_H
#define XPV_NET_PACKET_H

#include "core/types.h"

/* State of the layer 4 checksum. */
enum xpv_csum {
	XPV_CSUM_NONE = 0,	/* in the packet, nobody checked it */
	XPV_CSUM_VALIDATED = 1, /* NETTXF/NETRXF_data_validated */
	XPV_CSUM_BLANK = 2,	/* NETTXF/NETRXF_csum_blank: to be filled in */
};

enum xpv_gso {
	XPV_GSO_NONE = 0,
	XPV_GSO_TCPV4 = 1, /* XEN_NETIF_GSO_TYPE_TCPV4 */
	XPV_GSO_TCPV6 = 2, /* XEN_NETIF_GSO_TYPE_TCPV6 */
};

struct xpv_offload {
	uint8_t csum;	   /* enum xpv_csum */
	uint8_t gso;	   /* enum xpv_gso */
	uint16_t gso_size; /* payload bytes per segment, 1.. when gso is set */
};

/* A run of bytes at a kernel address. */
struct xpv_bytes {
	const void *address;
	uint32_t length;
};

#define XPV_NET_MAX_PACKET 65535 /* wire sizes are 16 bit */
#define XPV_NET_MAX_QUEUES 64	 /* queues per device, both ends */

#endif
