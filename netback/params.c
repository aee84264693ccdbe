// SPDX-License-Identifier: GPL-2.0-only
/* Module parameters: each refused with its value and range when it is wrong. */
#define pr_fmt(fmt) "xpv-netback: " fmt

#include <linux/module.h>

#include "net/params.h"
#include "netback/netback.h"

unsigned int netback_rx_queue_bytes = 512 * 1024;
XPV_PARAM(rx_queue_bytes, netback_rx_queue_bytes, 65536, 64 * 1024 * 1024, 0644,
	  "bytes per queue that may wait for a guest's buffers, 65536..67108864 (default: 524288)");

unsigned int netback_rx_drain_timeout_ms = 10000;
XPV_PARAM(rx_drain_timeout_ms, netback_rx_drain_timeout_ms, 10, 600000, 0644,
	  "milliseconds that a packet waits for a guest's buffers; then all packets are dropped until there are some, 10..600000 (default: 10000)");

unsigned int netback_rx_stall_timeout_ms = 60000;
XPV_PARAM(rx_stall_timeout_ms, netback_rx_stall_timeout_ms, 0, 3600000, 0644,
	  "milliseconds without a packet sent for want of a guest's buffers until the vif's carrier goes off, 0 (never)..3600000 (default: 60000)");

unsigned int netback_tx_map_threshold = 65536;
XPV_PARAM(tx_map_threshold, netback_tx_map_threshold, 0, 65536, 0644,
	  "guest-TX packets of more bytes are mapped instead of copied, 0..65536; vifs made while it is 65536 copy all (default: 65536)");

void netback_settings(struct xpv_netback_settings *settings)
{
	settings->net = xpv_net_parameters();
	settings->map = READ_ONCE(netback_tx_map_threshold) < 65536;
}
