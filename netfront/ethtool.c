// SPDX-License-Identifier: GPL-2.0-only
/* ethtool: driver, counters, channels, rings, copybreak. */
#include <linux/ethtool.h>
#include <linux/netdevice.h>

#include "netfront/netfront.h"

#define COUNTER(field) \
	.name = #field, .offset = offsetof(struct xpv_netfront_counters, field)

static const struct {
	const char *name;
	u16 offset;
} counters[] = {
	{ COUNTER(tx_packets) },
	{ COUNTER(tx_bytes) },
	{ COUNTER(tx_slots) },
	{ COUNTER(tx_notifies) },
	{ COUNTER(tx_irqs) },
	{ COUNTER(tx_spurious) },
	{ COUNTER(tx_stops) },
	{ COUNTER(tx_limits) },
	{ COUNTER(tx_overdue) },
	{ COUNTER(tx_drops) },
	{ COUNTER(tx_errors) },
	{ COUNTER(tx_buffers) },
	{ COUNTER(rx_packets) },
	{ COUNTER(rx_bytes) },
	{ COUNTER(rx_slots) },
	{ COUNTER(rx_notifies) },
	{ COUNTER(rx_irqs) },
	{ COUNTER(rx_spurious) },
	{ COUNTER(rx_copied) },
	{ COUNTER(rx_flipped) },
	{ COUNTER(rx_errors) },
	{ COUNTER(rx_drops) },
	{ COUNTER(rx_refill_fails) },
	{ COUNTER(rx_csum_fixups) },
	{ COUNTER(grants_made) },
	{ COUNTER(grants_ended) },
	{ COUNTER(grants_deferred) },
};

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "xpv-netfront", sizeof(info->driver));
	strscpy(info->version, XPV_VERSION, sizeof(info->version));
	strscpy(info->bus_info, dev_name(dev->dev.parent),
		sizeof(info->bus_info));
}

static int get_sset_count(struct net_device *dev, int set)
{
	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	return dev->real_num_tx_queues * ARRAY_SIZE(counters);
}

static void get_strings(struct net_device *dev, u32 set, u8 *data)
{
	u32 i, k;

	if (set != ETH_SS_STATS)
		return;
	for (i = 0; i < dev->real_num_tx_queues; i++)
		for (k = 0; k < ARRAY_SIZE(counters); k++)
			ethtool_sprintf(&data, "queue_%u_%s", i,
					counters[k].name);
}

static void get_ethtool_stats(struct net_device *dev,
			      struct ethtool_stats *stats, u64 *data)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	u32 i, k;

	for (i = 0; i < dev->real_num_tx_queues; i++) {
		const u8 *from = (const u8 *)xpv_netfront_queue_counters(nf->core, i);

		for (k = 0; k < ARRAY_SIZE(counters); k++)
			*data++ = READ_ONCE(*(const u64 *)(from +
							   counters[k].offset));
	}
}

static void get_channels(struct net_device *dev, struct ethtool_channels *has)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);

	has->max_combined = nf->max_queues;
	has->combined_count = dev->real_num_tx_queues;
}

/*
 * The number of queues is part of the handshake: connect again, without rtnl,
 * which the handshake takes. The backend may grant fewer.
 */
static int set_channels(struct net_device *dev, struct ethtool_channels *want)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);

	if (want->rx_count || want->tx_count || want->other_count ||
	    !want->combined_count || want->combined_count > nf->max_queues)
		return -EINVAL;
	/* Those in use may be of a wish that is being fulfilled. */
	if (xpv_netfront_want_queues(nf->core, want->combined_count))
		xpv_end_poke(&nf->bus, XPV_RENEW, 0);
	return 0;
}

static void get_ringparam(struct net_device *dev, struct ethtool_ringparam *ring,
			  struct kernel_ethtool_ringparam *kernel_ring,
			  struct netlink_ext_ack *extack)
{
	ring->rx_max_pending = XPV_NETFRONT_RING;
	ring->tx_max_pending = XPV_NETFRONT_RING;
	ring->rx_pending = XPV_NETFRONT_RING;
	ring->tx_pending = XPV_NETFRONT_RING;
}

static int get_tunable(struct net_device *dev,
		       const struct ethtool_tunable *tunable, void *data)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);

	if (tunable->id != ETHTOOL_RX_COPYBREAK)
		return -EOPNOTSUPP;
	*(u32 *)data = xpv_netfront_copybreak(nf->core);
	return 0;
}

static int set_tunable(struct net_device *dev,
		       const struct ethtool_tunable *tunable, const void *data)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	u32 bytes = *(const u32 *)data;

	if (tunable->id != ETHTOOL_RX_COPYBREAK)
		return -EOPNOTSUPP;
	if (bytes > XPV_NETFRONT_MAX_COPYBREAK)
		return -EINVAL;
	xpv_netfront_set_copybreak(nf->core, bytes);
	return 0;
}

const struct ethtool_ops netfront_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_channels = get_channels,
	.set_channels = set_channels,
	.get_ringparam = get_ringparam,
	.get_tunable = get_tunable,
	.set_tunable = set_tunable,
};
