// SPDX-License-Identifier: GPL-2.0-only
/* The net device: transmit, features, and what C++ asks of its lifecycle. */
#include <linux/etherdevice.h>
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netfront/netfront.h"

#ifdef CONFIG_HIGHMEM
#error "fragments are expected to have kernel addresses"
#endif

/* ---- transmit ---------------------------------------------------------- */

static u32 flatten(const struct sk_buff *skb, struct xpv_bytes *runs)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	u32 i, n = 0;

	if (skb_headlen(skb)) {
		runs[n].address = skb->data;
		runs[n++].length = skb_headlen(skb);
	}
	for (i = 0; i < info->nr_frags; i++) {
		runs[n].address = skb_frag_address(&info->frags[i]);
		runs[n++].length = skb_frag_size(&info->frags[i]);
	}
	return n;
}

/* TCP sends nothing more: what tcp_small_queue_check() will say. */
static bool tcp_at_limit(const struct sock *sk, const struct sk_buff *skb)
{
	unsigned long limit = READ_ONCE(sk->sk_pacing_rate) >>
			      READ_ONCE(sk->sk_pacing_shift);

	if (sk->sk_pacing_status == SK_PACING_NONE)
		limit = min_t(unsigned long, limit,
			      READ_ONCE(sock_net(sk)->ipv4.sysctl_tcp_limit_output_bytes));
	limit = max_t(unsigned long, limit, 2 * skb->truesize);
	return refcount_read(&sk->sk_wmem_alloc) > limit;
}

/*
 * Whoever gave a packet a destructor counts it, and sends no more with too many of them
 * under way: the bound of a burst. Memory of a user's own is counted by the user. TCP
 * does not wait for pure acknowledgements.
 */
static bool is_owned(struct sk_buff *skb)
{
	return (skb->destructor && !skb_is_tcp_pure_ack(skb)) ||
	       unlikely(skb_zcopy(skb));
}

static bool owner_at_limit(const struct sk_buff *skb)
{
	struct sock *sk = skb->sk;

	if (skb->destructor == sock_wfree)
		return !sock_writeable(sk);
	return sk && sk_fullsock(sk) && sk_is_tcp(sk) && tcp_at_limit(sk, skb);
}

static void free_sent(struct sk_buff *skb)
{
	if (unlikely(irqs_disabled() || !in_softirq())) /* netpoll; a connection ends */
		dev_consume_skb_any(skb);
	else
		napi_consume_skb(skb, 1); /* softirqs are off: frees in bulk */
}

void xpv_netfront_os_tx_done(struct xpv_netfront_os *os, uint32_t index,
			     uint32_t count, void *const *packets, uint32_t bytes)
{
	u32 i;

	for (i = 0; i < count; i++)
		free_sent(packets[i]);
	/* BQL counts bytes alone. */
	netdev_tx_completed_queue(netdev_get_tx_queue(os->netdev, index), 0,
				  bytes);
}

static netdev_tx_t netfront_start_xmit(struct sk_buff *skb,
				       struct net_device *dev)
{
	struct xpv_netfront_os *nf = netdev_priv(dev);
	u16 index = skb_get_queue_mapping(skb);
	struct netfront_queue *queue = &nf->queues[index];
	struct netdev_queue *txq = netdev_get_tx_queue(dev, index);
	struct xpv_netfront_send send = { NULL };
	struct xpv_bytes runs[MAX_SKB_FRAGS + 1];
	struct xpv_offload offload;
	u32 result, length = skb->len;

	if (unlikely(index >= xpv_net_usable(&nf->usable))) {
		dev_core_stats_tx_dropped_inc(dev);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	skb_tx_timestamp(skb);
	/* Before it can be answered; from the lock on, nobody else completes. */
	netdev_tx_sent_queue(txq, length);
	send.at_limit = netif_xmit_stopped(txq);
	send.more = netdev_xmit_more() && !send.at_limit;
	if (is_owned(skb)) {
		send.packet = skb;
		send.at_limit |= owner_at_limit(skb);
	}
	offload = xpv_net_get_offload(skb);
	if (offload.csum == XPV_CSUM_BLANK)
		send.ipv6 = vlan_get_protocol(skb) == htons(ETH_P_IPV6);

	result = xpv_netfront_tx(queue->core, runs, flatten(skb, runs), length,
				 offload, send);
	if (unlikely(result & XPV_NETFRONT_TX_STOP))
		netif_tx_stop_queue(txq);
	if (unlikely(result & XPV_NETFRONT_TX_DROPPED)) {
		netdev_tx_completed_queue(txq, 1, length);
		dev_kfree_skb_any(skb);
	} else if (send.packet) {
		netfront_napi_owned(queue, queue->core);
	} else {
		free_sent(skb);
	}
	return NETDEV_TX_OK;
}

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
	if (netif_carrier_ok(dev)) /* otherwise the announcement is still to come */
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

static const struct net_device_ops netfront_netdev_ops = {
	.ndo_open = netfront_open,
	.ndo_stop = netfront_stop,
	.ndo_start_xmit = netfront_start_xmit,
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
	netif_carrier_on(os->netdev);
	service_start(os);
	rtnl_unlock();
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
