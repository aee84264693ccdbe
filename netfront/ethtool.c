// SPDX-License-Identifier: GPL-2.0-only
/* ethtool: driver, counters, channels, rings, copybreak. */
#include <linux/ethtool.h>
#include <linux/netdevice.h>

#include "netfront/netfront.h"
#include "shim/counters.h"

static const struct xpv_counter counters[] = {
#define X(name) XPV_COUNTER(xpv_netfront_counters, name),
	XPV_NETFRONT_TX_COUNTERS(X)
		XPV_NETFRONT_RX_COUNTERS(X)
#undef X
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
	char prefix[ETH_GSTRING_LEN];
	u32 i;

	if (set != ETH_SS_STATS)
		return;
	for (i = 0; i < dev->real_num_tx_queues; i++) {
		snprintf(prefix, sizeof(prefix), "queue_%u_", i);
		xpv_counters_names(counters, ARRAY_SIZE(counters), prefix, &data);
	}
}

static void get_ethtool_stats(struct net_device *dev,
			      struct ethtool_stats *stats, u64 *data)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	u32 i;

	for (i = 0; i < dev->real_num_tx_queues; i++)
		xpv_counters_read(counters, ARRAY_SIZE(counters),
				  xpv_netfront_queue_counters(nf->core, i),
				  data + i * ARRAY_SIZE(counters));
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
