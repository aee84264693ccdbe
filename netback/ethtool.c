// SPDX-License-Identifier: GPL-2.0-only
/* What ethtool and `ip -s` show. */
#include <linux/ethtool.h>
#include <linux/netdevice.h>

#include "netback/netback.h"
#include "shim/counters.h"

/* For people it is the guest that sends and receives: the host's view is `ip -s`. */
#define GUEST(type, name)                                   \
	{                                                   \
		"guest_" #name, offsetof(struct type, name) \
	}

static const struct xpv_counter counters[] = {
#define X(name) GUEST(xpv_netback_counters, name),
	XPV_NETBACK_COUNTERS(X)
#undef X
};

static const struct xpv_counter shim_counters[] = {
#define X(name) GUEST(netback_shim_counters, name),
	NETBACK_SHIM_COUNTERS(X)
#undef X
};

#define COUNT (ARRAY_SIZE(counters) + ARRAY_SIZE(shim_counters))

static void get_names(const char *prefix, u8 **data)
{
	xpv_counters_names(counters, ARRAY_SIZE(counters), prefix, data);
	xpv_counters_names(shim_counters, ARRAY_SIZE(shim_counters), prefix, data);
}

static void sum(const struct xpv_netback_counters *core,
		const struct netback_shim_counters *shim, u64 *sums)
{
	xpv_counters_sum(counters, ARRAY_SIZE(counters), core, sums);
	xpv_counters_sum(shim_counters, ARRAY_SIZE(shim_counters), shim,
			 sums + ARRAY_SIZE(counters));
}

/* The queues go; their numbers stay. rtnl is held. */
void netback_fold_counters(struct xpv_netback_os *vif)
{
	u32 i;

	write_seqlock_bh(&vif->stats_lock);
	for (i = 0; i < vif->counted; i++) {
		const struct netback_queue *queue = vif->queues[i];

		xpv_counters_fold(counters, ARRAY_SIZE(counters),
				  xpv_netback_queue_counters(queue->core),
				  &vif->past);
		xpv_counters_fold(shim_counters, ARRAY_SIZE(shim_counters),
				  &queue->counters, &vif->past_shim);
	}
	vif->counted = 0;
	write_sequnlock_bh(&vif->stats_lock);
}

static void add_stats(struct rtnl_link_stats64 *stats,
		      const struct xpv_netback_counters *c,
		      const struct netback_shim_counters *shim)
{
	stats->rx_packets += READ_ONCE(c->tx_packets);
	stats->rx_bytes += READ_ONCE(c->tx_bytes);
	stats->rx_errors += READ_ONCE(c->tx_errors) + READ_ONCE(shim->tx_bad_csum);
	stats->rx_dropped += READ_ONCE(c->tx_drops);
	stats->tx_packets += READ_ONCE(c->rx_packets);
	stats->tx_bytes += READ_ONCE(c->rx_bytes);
	stats->tx_errors += READ_ONCE(c->rx_errors);
	stats->tx_dropped += READ_ONCE(shim->rx_expired) +
			     READ_ONCE(shim->rx_shapeless);
}

/* For people a vif is seen from here: guest-TX is what we receive. */
void netback_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	const struct rtnl_link_stats64 core = *stats; /* what the stack counts */
	struct xpv_netback_os *vif = netdev_priv(dev);
	unsigned int seq;
	u32 i, count;

	rcu_read_lock(); /* the queues, while they are counted */
	do {
		*stats = core;
		seq = read_seqbegin(&vif->stats_lock);
		count = READ_ONCE(vif->counted);
		add_stats(stats, &vif->past, &vif->past_shim);
		for (i = 0; i < count; i++) {
			const struct netback_queue *queue = READ_ONCE(vif->queues[i]);

			add_stats(stats, xpv_netback_queue_counters(queue->core),
				  &queue->counters);
		}
	} while (read_seqretry(&vif->stats_lock, seq));
	rcu_read_unlock();
}

static int get_sset_count(struct net_device *dev, int set)
{
	const struct xpv_netback_os *vif = netdev_priv(dev);

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	return COUNT * (1 + vif->made_queues);
}

static void get_strings(struct net_device *dev, u32 set, u8 *data)
{
	const struct xpv_netback_os *vif = netdev_priv(dev);
	char prefix[ETH_GSTRING_LEN];
	u32 q;

	if (set != ETH_SS_STATS)
		return;
	get_names("", &data);
	for (q = 0; q < vif->made_queues; q++) {
		snprintf(prefix, sizeof(prefix), "queue_%u_", q);
		get_names(prefix, &data);
	}
}

/* First the device since it exists, then each queue since it connected. */
static void get_ethtool_stats(struct net_device *dev,
			      struct ethtool_stats *stats, u64 *data)
{
	const struct xpv_netback_os *vif = netdev_priv(dev);
	u64 *each = data + COUNT;
	u32 i, q;

	memset(data, 0, COUNT * (1 + vif->made_queues) * sizeof(*data));
	sum(&vif->past, &vif->past_shim, data);
	for (q = 0; q < vif->made_queues; q++, each += COUNT) {
		const struct netback_queue *queue = vif->queues[q];

		sum(xpv_netback_queue_counters(queue->core), &queue->counters,
		    each);
		for (i = 0; i < COUNT; i++)
			data[i] += each[i];
	}
}

static void get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, "xpv-netback", sizeof(info->driver));
	strscpy(info->version, XPV_VERSION, sizeof(info->version));
	strscpy(info->bus_info, dev_name(dev->dev.parent),
		sizeof(info->bus_info));
}

static void get_channels(struct net_device *dev, struct ethtool_channels *channels)
{
	channels->max_combined = dev->num_tx_queues;
	channels->combined_count = dev->real_num_tx_queues;
}

const struct ethtool_ops netback_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_channels = get_channels,
};
