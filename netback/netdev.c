// SPDX-License-Identifier: GPL-2.0-only
/* The net device of a vif, and the pollers of its queues. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/mm.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netback/netback.h"
#include "shim/page_pool.h"

/* ---- pollers: rtnl is held ---------------------------------------------- */

static void polling_start(struct xpv_netback_os *vif)
{
	u32 i;

	if (vif->polling || !vif->attached || !netif_running(vif->dev))
		return;
	vif->polling = true;
	for (i = 0; i < vif->made_queues; i++) {
		struct netback_queue *queue = vif->queues[i];

		napi_enable(&queue->tx_napi);
		napi_enable(&queue->rx_napi);
		/* What came before now found nobody to wake. */
		xpv_netback_os_schedule(queue, XPV_NETBACK_TX | XPV_NETBACK_RX);
	}
}

static void polling_stop(struct xpv_netback_os *vif)
{
	u32 i;

	if (!vif->polling)
		return;
	vif->polling = false;
	for (i = 0; i < vif->made_queues; i++) {
		struct netback_queue *queue = vif->queues[i];

		napi_disable(&queue->tx_napi);
		napi_disable(&queue->rx_napi);
		/* The pollers start them. */
		del_timer_sync(&queue->rx_timer);
		hrtimer_cancel(&queue->tx_hold);
		hrtimer_cancel(&queue->rx_hold);
	}
	/* A poller that was let go may still be on its way out of the queue. */
	synchronize_net();
	for (i = 0; i < vif->made_queues; i++)
		netback_rx_purge(vif->queues[i]);
}

void xpv_netback_os_schedule(struct netback_queue *queue, uint32_t pollers)
{
	bool process = !in_hardirq() && !irqs_disabled();

	if (process)
		local_bh_disable(); /* softirqs run when they are let */
	if (pollers & XPV_NETBACK_TX)
		napi_schedule(&queue->tx_napi);
	if (pollers & XPV_NETBACK_RX)
		napi_schedule(&queue->rx_napi);
	if (process)
		local_bh_enable();
}

/* ---- a connection comes and goes ------------------------------------------ */

static struct netback_queue *queue_create(struct xpv_netback_os *vif, u32 index,
					  struct xpv_netback_queue *core,
					  struct xpv_netback_map *map)
{
	struct netback_queue *queue = kvzalloc(sizeof(*queue), GFP_KERNEL);
	struct device *parent = vif->dev->dev.parent;

	if (!queue)
		return NULL;
	queue->vif = vif;
	queue->core = core;
	queue->index = index;
	queue->tx_heads = xpv_page_pool_create(
		parent, NETBACK_POOL_PAGES, PP_FLAG_PAGE_FRAG);
	if (IS_ERR(queue->tx_heads))
		goto no_heads;
	queue->tx_pages = xpv_page_pool_create(parent, NETBACK_POOL_PAGES, 0);
	if (IS_ERR(queue->tx_pages))
		goto no_pages;
	if (map) {
		queue->zerocopy = netback_zerocopy_create(queue, map);
		if (!queue->zerocopy)
			goto no_zerocopy;
	}
	netback_tx_init(queue);
	netback_rx_init(queue);
	netif_napi_add(vif->dev, &queue->tx_napi, netback_tx_poll);
	netif_napi_add(vif->dev, &queue->rx_napi, netback_rx_poll);
	return queue;

no_zerocopy:
	page_pool_destroy(queue->tx_pages);
no_pages:
	page_pool_destroy(queue->tx_heads);
no_heads:
	kvfree(queue);
	return NULL;
}

/* All queues, however many, at the cost of one grace period. rtnl is held. */
static void queues_free(struct xpv_netback_os *vif, bool used)
{
	u32 i;

	if (!vif->made_queues)
		return;
	for (i = 0; i < vif->made_queues; i++) {
		__netif_napi_del(&vif->queues[i]->tx_napi);
		__netif_napi_del(&vif->queues[i]->rx_napi);
		netback_zerocopy_orphan(vif->queues[i]->zerocopy);
	}
	/* Statistics, netpoll's look at the pollers, packets that come back. */
	synchronize_net();
	for (i = 0; i < vif->made_queues; i++) {
		struct netback_queue *queue = vif->queues[i];

		if (used)
			netback_zerocopy_retire(queue->zerocopy);
		else
			netback_zerocopy_free(queue->zerocopy);
		netback_rx_purge(queue); /* what was sent while the device was down */
		/* Gone when their last page is back. */
		page_pool_destroy(queue->tx_heads);
		page_pool_destroy(queue->tx_pages);
		kvfree(queue);
		vif->queues[i] = NULL;
	}
	vif->made_queues = 0;
}

int xpv_netback_os_attach(struct xpv_netback_os *vif,
			  const struct xpv_net_features *features,
			  uint32_t count,
			  struct xpv_netback_queue *const *queues,
			  struct xpv_netback_map *const *maps,
			  struct netback_queue **shim)
{
	struct net_device *dev = vif->dev;
	int err = 0;
	u32 i;

	rtnl_lock();
	for (i = 0; i < count; i++) {
		shim[i] = queue_create(vif, i, queues[i], maps[i]);
		if (!shim[i]) {
			err = -ENOMEM;
			break;
		}
		vif->queues[i] = shim[i];
		vif->made_queues = i + 1;
	}
	if (!err)
		err = netif_set_real_num_queues(dev, count, count);
	if (!err) {
		vif->features = *features;
		if (!features->sg && dev->mtu > ETH_DATA_LEN)
			dev_set_mtu(dev, ETH_DATA_LEN);
		netdev_update_features(dev);
	} else {
		queues_free(vif, false);
	}
	rtnl_unlock();
	return err;
}

void xpv_netback_os_start(struct xpv_netback_os *vif)
{
	netback_debugfs_add(vif);
	rtnl_lock();
	vif->attached = true;
	write_seqlock_bh(&vif->stats_lock);
	WRITE_ONCE(vif->counted, vif->made_queues);
	write_sequnlock_bh(&vif->stats_lock);
	xpv_net_make_usable(&vif->num_queues, vif->made_queues);
	polling_start(vif);
	rtnl_unlock();
}

static void show_carrier(struct xpv_netback_os *vif)
{
	if (vif->service && !vif->link_down) {
		netif_carrier_on(vif->dev);
		netif_tx_wake_all_queues(vif->dev);
	} else {
		netif_carrier_off(vif->dev);
	}
}

void xpv_netback_os_carrier(struct xpv_netback_os *vif, bool on)
{
	rtnl_lock();
	vif->service = on;
	show_carrier(vif);
	rtnl_unlock();
}

bool xpv_netback_os_link(const struct xpv_netback_os *vif)
{
	return !READ_ONCE(vif->link_down);
}

/* Here and in xpv_netback_os_detach(): the order of net/teardown.h. */
void xpv_netback_os_stop(struct xpv_netback_os *vif)
{
	netback_debugfs_remove(vif);
	rtnl_lock();
	vif->attached = false;
	xpv_net_quiesce(vif->dev, &vif->num_queues);
	polling_stop(vif);
	rtnl_unlock();
}

void xpv_netback_os_detach(struct xpv_netback_os *vif)
{
	rtnl_lock();
	netback_fold_counters(vif);
	queues_free(vif, true);
	rtnl_unlock();
}

/* ---- net device operations -------------------------------------------------- */

static int netback_open(struct net_device *dev)
{
	polling_start(netdev_priv(dev));
	netif_tx_start_all_queues(dev);
	return 0;
}

static int netback_stop(struct net_device *dev)
{
	netif_tx_stop_all_queues(dev);
	synchronize_net();
	polling_stop(netdev_priv(dev));
	return 0;
}

static int netback_change_mtu(struct net_device *dev, int mtu)
{
	struct xpv_netback_os *vif = netdev_priv(dev);

	if (!vif->features.sg && mtu > ETH_DATA_LEN)
		return -EINVAL;
	WRITE_ONCE(dev->mtu, mtu);
	return 0;
}

/* `ip link set ... carrier`: what the guest is told is written in a work. */
static int netback_change_carrier(struct net_device *dev, bool up)
{
	struct xpv_netback_os *vif = netdev_priv(dev);

	if (vif->withdrawn)
		return -ENODEV;
	WRITE_ONCE(vif->link_down, !up);
	show_carrier(vif);
	xpv_end_poke(&vif->bus, XPV_CHANGED, 0);
	return 0;
}

/* No more than the frontend takes. */
static netdev_features_t netback_fix_features(struct net_device *dev,
					      netdev_features_t features)
{
	const struct xpv_netback_os *vif = netdev_priv(dev);

	return xpv_net_fix_features(&vif->features, features);
}

static u16 netback_select_queue(struct net_device *dev, struct sk_buff *skb,
				struct net_device *sb_dev)
{
	return netdev_pick_tx(dev, skb, NULL) % dev->real_num_tx_queues;
}

static const struct net_device_ops netback_netdev_ops = {
	.ndo_open = netback_open,
	.ndo_stop = netback_stop,
	.ndo_start_xmit = netback_start_xmit,
	.ndo_select_queue = netback_select_queue,
	.ndo_get_stats64 = netback_get_stats64,
	.ndo_change_mtu = netback_change_mtu,
	.ndo_change_carrier = netback_change_carrier,
	.ndo_tx_timeout = netback_tx_timeout,
	.ndo_fix_features = netback_fix_features,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

struct xpv_netback_os *netback_netdev_new(struct xenbus_device *xen, unsigned int handle)
{
	/* The largest unicast address: a bridge never takes it for its own. */
	static const u8 address[ETH_ALEN] = { 0xfe, 0xff, 0xff,
					      0xff, 0xff, 0xff };
	struct xpv_netback_settings settings;
	struct net_device *dev;
	char name[IFNAMSIZ];
	struct xpv_netback_os *vif;
	int err;

	netback_settings(&settings);
	snprintf(name, sizeof(name), "vif%u.%u", xen->otherend_id, handle);
	dev = alloc_netdev_mq(sizeof(*vif), name, NET_NAME_UNKNOWN, ether_setup,
			      settings.net.max_queues);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	SET_NETDEV_DEV(dev, &xen->dev);
	dev->netdev_ops = &netback_netdev_ops;
	dev->ethtool_ops = &netback_ethtool_ops;
	dev->watchdog_timeo = XPV_NET_WATCHDOG;
	dev->hw_features = NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_IP_CSUM |
			   NETIF_F_IPV6_CSUM | NETIF_F_TSO | NETIF_F_TSO6;
	/* Without GSO_ROBUST: the stack looks at another guest's headers first. */
	dev->features = dev->hw_features | NETIF_F_RXCSUM;
	/* A packet is in our list after start_xmit: it can be sent only once. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->min_mtu = ETH_MIN_MTU;
	dev->max_mtu = XPV_NET_MAX_PACKET - VLAN_ETH_HLEN;
	netif_set_tso_max_size(dev, XPV_NET_MAX_PACKET);
	eth_hw_addr_set(dev, address);

	vif = netdev_priv(dev);
	vif->dev = dev;
	xpv_xenbus_init(&vif->bus, xen);
	seqlock_init(&vif->stats_lock);
	/* Until a frontend says what it takes: scripts set the MTU before. */
	vif->features.sg = settings.net.sg;

	netif_carrier_off(dev);
	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		return ERR_PTR(err);
	}
	return vif;
}

void netback_netdev_withdraw(struct xpv_netback_os *vif)
{
	rtnl_lock();
	vif->withdrawn = true;
	rtnl_unlock();
}

void netback_netdev_free(struct xpv_netback_os *vif)
{
	unregister_netdev(vif->dev);
	kfree(vif->script);
	free_netdev(vif->dev);
}
