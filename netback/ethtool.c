// SPDX-License-Identifier: GPL-2.0-only
/* What ethtool and `ip -s` show. */
#include <linux/ethtool.h>
#include <linux/netdevice.h>

#include "netback/netback.h"

struct counter {
	const char *name;
	u32 offset;
	bool shim; /* of struct xpv_vif_counters */
};

/* clang-format off */
#define CORE(field) { #field, offsetof(struct xpv_netback_counters, field), false }
#define SHIM(field) { #field, offsetof(struct xpv_vif_counters, field), true }
/* clang-format on */

static const struct counter counters[] = {
	CORE(tx_packets),
	CORE(tx_bytes),
	CORE(tx_slots),
	CORE(tx_extras),
	CORE(tx_copy_ops),
	CORE(tx_copy_calls),
	CORE(tx_map_ops),
	CORE(tx_map_calls),
	CORE(tx_unmap_ops),
	CORE(tx_unmap_calls),
	CORE(tx_errors),
	CORE(tx_drops),
	SHIM(tx_gso_fixups),
	SHIM(tx_bad_csum),
	CORE(tx_notifies),
	CORE(tx_events),
	CORE(tx_spurious),
	CORE(rx_packets),
	CORE(rx_bytes),
	CORE(rx_slots),
	CORE(rx_copy_ops),
	CORE(rx_copy_calls),
	CORE(rx_errors),
	CORE(rx_starved),
	CORE(rx_drains),
	CORE(rx_stalls),
	SHIM(rx_stops),
	SHIM(rx_expired),
	SHIM(rx_shapeless),
	CORE(rx_notifies),
	CORE(rx_events),
	CORE(rx_spurious),
};

static u64 read_counter(const struct counter *c, const void *core,
			const void *shim)
{
	const u64 *value = (c->shim ? shim : core) + c->offset;

	return READ_ONCE(*value);
}

static void add_all(u64 *sum, const u64 *part, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(u64); i++)
		sum[i] += part[i];
}

/* The queues go; their numbers stay. rtnl is held. */
void xpv_vif_fold_counters(struct xpv_vif *vif)
{
	u32 i;

	write_seqlock_bh(&vif->stats_lock);
	for (i = 0; i < vif->counted; i++) {
		const struct xpv_vif_queue *queue = vif->queues[i];

		add_all((u64 *)&vif->past,
			(const u64 *)xpv_netback_queue_counters(queue->core),
			sizeof(vif->past));
		add_all((u64 *)&vif->past_shim, (const u64 *)&queue->counters,
			sizeof(vif->past_shim));
	}
	vif->counted = 0;
	write_sequnlock_bh(&vif->stats_lock);
}

static void add_stats(struct rtnl_link_stats64 *stats,
		      const struct xpv_netback_counters *c,
		      const struct xpv_vif_counters *shim)
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
void xpv_vif_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	const struct rtnl_link_stats64 core = *stats; /* what the stack counts */
	struct xpv_vif *vif = netdev_priv(dev);
	unsigned int seq;
	u32 i, count;

	rcu_read_lock(); /* the queues, while they are counted */
	do {
		*stats = core;
		seq = read_seqbegin(&vif->stats_lock);
		count = READ_ONCE(vif->counted);
		add_stats(stats, &vif->past, &vif->past_shim);
		for (i = 0; i < count; i++) {
			const struct xpv_vif_queue *queue = READ_ONCE(vif->queues[i]);

			add_stats(stats, xpv_netback_queue_counters(queue->core),
				  &queue->counters);
		}
	} while (read_seqretry(&vif->stats_lock, seq));
	rcu_read_unlock();
}

static int get_sset_count(struct net_device *dev, int set)
{
	const struct xpv_vif *vif = netdev_priv(dev);

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	return ARRAY_SIZE(counters) * (1 + vif->made_queues);
}

static void get_strings(struct net_device *dev, u32 set, u8 *data)
{
	const struct xpv_vif *vif = netdev_priv(dev);
	u32 i, q;

	if (set != ETH_SS_STATS)
		return;
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		ethtool_sprintf(&data, "%s", counters[i].name);
	for (q = 0; q < vif->made_queues; q++)
		for (i = 0; i < ARRAY_SIZE(counters); i++)
			ethtool_sprintf(&data, "queue_%u_%s", q,
					counters[i].name);
}

/* First the device since it exists, then each queue since it connected. */
static void get_ethtool_stats(struct net_device *dev,
			      struct ethtool_stats *stats, u64 *data)
{
	const struct xpv_vif *vif = netdev_priv(dev);
	u64 *each = data + ARRAY_SIZE(counters);
	u32 i, q;

	for (i = 0; i < ARRAY_SIZE(counters); i++)
		data[i] = read_counter(&counters[i], &vif->past, &vif->past_shim);
	for (q = 0; q < vif->made_queues; q++) {
		const struct xpv_vif_queue *queue = vif->queues[q];
		const void *core = xpv_netback_queue_counters(queue->core);

		for (i = 0; i < ARRAY_SIZE(counters); i++) {
			*each = read_counter(&counters[i], core,
					     &queue->counters);
			data[i] += *each++;
		}
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

const struct ethtool_ops xpv_vif_ethtool_ops = {
	.get_drvinfo = get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_ts_info = ethtool_op_get_ts_info,
	.get_sset_count = get_sset_count,
	.get_strings = get_strings,
	.get_ethtool_stats = get_ethtool_stats,
	.get_channels = get_channels,
};
