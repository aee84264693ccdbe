/* SPDX-License-Identifier: GPL-2.0-only */
/* What an end of a vif may do, and what both ends agreed on. Plain data. */
#ifndef XPV_NET_SETTINGS_H
#define XPV_NET_SETTINGS_H

#include "core/types.h"
#include "net/packet.h"

/* Of one end; module parameters. */
struct xpv_net_settings {
	uint32_t max_queues; /* 1..XPV_NET_MAX_QUEUES */
	bool sg;
	bool gso; /* needs sg and csum */
	bool csum;
	bool split; /* event channels */
};

/* For a connection's lifetime. */
struct xpv_net_features {
	bool sg;
	bool csum_v4, csum_v6; /* the other end takes packets without checksum */
	bool gso_v4, gso_v6;
	bool split;	/* only the frontend reads it: it makes the channels */
	bool rx_notify; /* only the backend: new guest-RX buffers are signalled */
};

#endif
