// SPDX-License-Identifier: GPL-2.0-only
/* The net device: features, and what C++ asks of its lifecycle. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netfront/netfront.h"

/* ---- open, close, features, statistics --------------------------------- */

/* rtnl is held, all three. */
static void polling_start(struct xpv_netfront_os *nf)
{
	u32 i;

	if (nf->polling || !nf->live || !netif_running(nf->netdev))
		return;
	nf->polling = true;
	for (i = 0; i < nf->count; i++)
		napi_enable(&nf->queues[i].napi);
	xpv_net_make_usable(&nf->usable, nf->count);
}

/* Steps 1 and 2 of net/teardown.h; owners get their packets. */
static void polling_stop(struct xpv_netfront_os *nf)
{
	u32 i;

	if (!nf->polling)
		return;
	nf->polling = false;
	xpv_net_quiesce(nf->netdev, &nf->usable);
	for (i = 0; i < nf->count; i++) {
		napi_disable(&nf->queues[i].napi);
		hrtimer_cancel(&nf->queues[i].timer);
	}
	synchronize_net();
	for (i = 0; i < nf->count; i++)
		xpv_netfront_tx_release(nf->queues[i].core);
}

static void service_start(struct xpv_netfront_os *nf)
{
	u32 i;

	if (!nf->polling)
		return;
	netif_tx_wake_all_queues(nf->netdev);
	/* What came before found nobody to wake. */
	for (i = 0; i < nf->count; i++)
		netfront_napi_kick(&nf->queues[i]);
}

static int netfront_open(struct net_device *dev)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);

	polling_start(nf);
	if (nf->service) /* otherwise the announcement is still to come */
		service_start(nf);
	return 0;
}

static int netfront_stop(struct net_device *dev)
{
	polling_stop(netdev_priv(dev));
	return 0;
}

static netdev_features_t netfront_fix_features(struct net_device *dev,
					       netdev_features_t features)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);

	return nf->live ? xpv_net_fix_features(&nf->features, features) :
			  features;
}

static void netfront_get_stats64(struct net_device *dev,
				 struct rtnl_link_stats64 *total)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	u32 i;

	for (i = 0; i < nf->max_queues; i++) {
		const struct xpv_netfront_counters *c =
			xpv_netfront_queue_counters(nf->core, i);

		total->tx_packets += READ_ONCE(c->tx_packets);
		total->tx_bytes += READ_ONCE(c->tx_bytes);
		total->tx_dropped += READ_ONCE(c->tx_drops);
		total->tx_errors += READ_ONCE(c->tx_errors);
		total->rx_packets += READ_ONCE(c->rx_packets);
		total->rx_bytes += READ_ONCE(c->rx_bytes);
		total->rx_errors += READ_ONCE(c->rx_errors);
		total->rx_dropped += READ_ONCE(c->rx_drops);
	}
}

/* The kernel's watchdog: the poller does not come by. Transmit queues are locked. */
static void netfront_tx_timeout(struct net_device *dev, unsigned int index)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	unsigned long last = READ_ONCE(netdev_get_tx_queue(dev, index)->trans_start);

	if (index >= xpv_net_usable(&nf->usable))
		return;
	xpv_netfront_tx_timeout(nf->queues[index].core, jiffies_to_msecs(jiffies - last));
	napi_schedule(&nf->queues[index].napi);
}

static const struct net_device_ops netfront_netdev_ops = {
	.ndo_open = netfront_open,
	.ndo_stop = netfront_stop,
	.ndo_start_xmit = netfront_start_xmit,
	.ndo_tx_timeout = netfront_tx_timeout,
	.ndo_fix_features = netfront_fix_features,
	.ndo_get_stats64 = netfront_get_stats64,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

/*
 * The carrier's change reaches the queueing disciplines from a work of its own;
 * before that an announcement would be lost.
 */
static void peers_work(struct work_struct *work)
{
	struct xpv_netfront_os *nf = container_of(to_delayed_work(work),
						  struct xpv_netfront_os,
						  peers_work);

	if (test_bit(__LINK_STATE_LINKWATCH_PENDING, &nf->netdev->state))
		queue_delayed_work(nf->bus.end.driver->works, &nf->peers_work, HZ / 50);
	else
		netdev_notify_peers(nf->netdev);
}

struct net_device *netfront_netdev_new(struct xenbus_device *dev,
				       const struct xpv_net_settings *may)
{
	const u32 max_queues = may->max_queues;
	struct xpv_netfront_os *nf;
	struct net_device *netdev;
	u32 i;

	netdev = alloc_etherdev_mq(sizeof(*nf), max_queues);
	if (!netdev)
		return NULL;
	nf = netdev_priv(netdev);
	nf->queues = kvcalloc(max_queues, sizeof(*nf->queues), GFP_KERNEL);
	if (!nf->queues) {
		free_netdev(netdev);
		return NULL;
	}
	for (i = 0; i < max_queues; i++) {
		nf->queues[i].nf = nf;
		nf->queues[i].index = i;
	}
	xpv_xenbus_init(&nf->bus, dev);
	nf->netdev = netdev;
	nf->max_queues = max_queues;
	INIT_DELAYED_WORK(&nf->peers_work, peers_work);

	netdev->netdev_ops = &netfront_netdev_ops;
	netdev->ethtool_ops = &netfront_ethtool_ops;
	netdev->watchdog_timeo = XPV_NET_WATCHDOG;
	netdev->min_mtu = ETH_MIN_MTU;
	netdev->max_mtu = may->sg ? XPV_NETFRONT_MAX_MTU : XPV_NETFRONT_SLOT_MTU;
	netdev->hw_features = NETIF_F_RXCSUM;
	if (may->csum)
		netdev->hw_features |= NETIF_F_IP_CSUM | NETIF_F_IPV6_CSUM;
	if (may->sg)
		netdev->hw_features |= NETIF_F_SG;
	if (may->sg && may->gso && may->csum)
		netdev->hw_features |= NETIF_F_TSO | NETIF_F_TSO6;
	/* Not GSO_ROBUST: what a guest forwards is verified here, not at the other end. */
	netdev->features = netdev->hw_features;
	netif_set_tso_max_size(netdev, XPV_NET_MAX_PACKET);
	SET_NETDEV_DEV(netdev, &dev->dev);
	netif_carrier_off(netdev);
	return netdev;
}

void netfront_netdev_free(struct net_device *netdev)
{
	struct xpv_netfront_os *nf = netdev_priv(netdev);

	kvfree(nf->queues);
	free_netdev(netdev);
}

/* ---- a connection's life ------------------------------------------------ */

/*
 * The node's MTU, unless that is 0. Where a packet is one slot it is no larger than
 * Ethernet's usual.
 */
static void set_mtu(struct xpv_netfront_os *nf, u32 mtu)
{
	struct net_device *dev = nf->netdev;

	dev->max_mtu = nf->features.sg ? XPV_NETFRONT_MAX_MTU :
					 XPV_NETFRONT_SLOT_MTU;
	if (!mtu)
		mtu = dev->mtu;
	if (mtu > dev->max_mtu) {
		netdev_info(dev, "the backend lacks feature-sg: reducing the MTU from %u to %u\n",
			    mtu, dev->max_mtu);
		mtu = dev->max_mtu;
	}
	if (mtu != dev->mtu)
		dev_set_mtu(dev, mtu);
}

int xpv_netfront_os_start(struct xpv_netfront_os *os, uint32_t count,
			  struct xpv_netfront_queue *const *queues,
			  const struct xpv_net_features *features,
			  uint32_t mtu)
{
	struct net_device *dev = os->netdev;
	int err = 0;
	u32 i;

	rtnl_lock();
	for (i = 0; i < count && !err; i++) {
		err = netfront_napi_add(&os->queues[i]);
		if (!err)
			os->count++;
	}
	if (!err)
		err = netif_set_real_num_queues(dev, count, count);
	if (err)
		goto unlock;
	for (i = 0; i < count; i++)
		os->queues[i].core = queues[i];
	os->features = *features;
	os->live = true;
	netdev_update_features(dev);
	set_mtu(os, mtu);
	polling_start(os);
unlock:
	rtnl_unlock();
	return err;
}

void xpv_netfront_os_announce(struct xpv_netfront_os *os)
{
	rtnl_lock();
	os->service = true;
	service_start(os);
	rtnl_unlock();
}

/* Queues that are stopped stay so: the ring may be full. */
void xpv_netfront_os_link(struct xpv_netfront_os *os, bool up)
{
	rtnl_lock();
	if (up)
		netif_carrier_on(os->netdev);
	else
		netif_carrier_off(os->netdev);
	rtnl_unlock();
	if (up)
		queue_delayed_work(os->bus.end.driver->works, &os->peers_work, 0);
}

void xpv_netfront_os_stop(struct xpv_netfront_os *os)
{
	struct net_device *dev = os->netdev;
	u32 i;

	cancel_delayed_work_sync(&os->peers_work);
	rtnl_lock();
	if (os->live) {
		netif_carrier_off(dev);
		os->service = false;
		polling_stop(os);
		for (i = 0; i < os->count; i++) {
			/* Bytes that nobody will answer. */
			netdev_tx_reset_queue(netdev_get_tx_queue(dev, i));
			os->queues[i].core = NULL;
		}
		os->live = false;
	}
	rtnl_unlock();
}

void xpv_netfront_os_release(struct xpv_netfront_os *os)
{
	rtnl_lock();
	if (os->count)
		netfront_napi_del(os->queues, os->count);
	os->count = 0;
	rtnl_unlock();
}
