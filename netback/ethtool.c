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

/* The queue goes; its numbers stay. rtnl is held. */
void xpv_vif_fold_counters(struct xpv_vif *vif, struct xpv_vif_queue *queue)
{
	add_all((u64 *)&vif->past,
		(const u64 *)xpv_netback_queue_counters(queue->core),
		sizeof(vif->past));
	add_all((u64 *)&vif->past_shim, (u64 *)&queue->counters,
		sizeof(vif->past_shim));
}

/* For people a vif is seen from here: guest-TX is what we receive. */
void xpv_vif_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct xpv_vif *vif = netdev_priv(dev);
	u32 i, count;

	stats->rx_packets = vif->past.tx_packets;
	stats->rx_bytes = vif->past.tx_bytes;
	stats->rx_errors = vif->past.tx_errors + vif->past_shim.tx_bad_csum;
	stats->rx_dropped += vif->past.tx_drops;
	stats->tx_packets = vif->past.rx_packets;
	stats->tx_bytes = vif->past.rx_bytes;
	stats->tx_errors = vif->past.rx_errors;
	stats->tx_dropped += vif->past_shim.rx_expired +
			     vif->past_shim.rx_shapeless;

	rcu_read_lock();
	/* The number before the queues: pairs with xpv_netback_vif_start(). */
	count = smp_load_acquire(&vif->num_queues);
	for (i = 0; i < count; i++) {
		const struct xpv_vif_queue *queue = vif->queues[i];
		const struct xpv_netback_counters *c =
			xpv_netback_queue_counters(queue->core);

		stats->rx_packets += READ_ONCE(c->tx_packets);
		stats->rx_bytes += READ_ONCE(c->tx_bytes);
		stats->rx_errors += READ_ONCE(c->tx_errors) +
				    READ_ONCE(queue->counters.tx_bad_csum);
		stats->rx_dropped += READ_ONCE(c->tx_drops);
		stats->tx_packets += READ_ONCE(c->rx_packets);
		stats->tx_bytes += READ_ONCE(c->rx_bytes);
		stats->tx_errors += READ_ONCE(c->rx_errors);
		stats->tx_dropped += READ_ONCE(queue->counters.rx_expired) +
				     READ_ONCE(queue->counters.rx_shapeless);
	}
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
