// SPDX-License-Identifier: GPL-2.0-only
/* Transmit: packets on their way to C++ and back to their owners. */
#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/sock.h>
#include <net/tcp.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netfront/netfront.h"

#ifdef CONFIG_HIGHMEM
#error "fragments are expected to have kernel addresses"
#endif

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

netdev_tx_t netfront_start_xmit(struct sk_buff *skb, struct net_device *dev)
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
	} else if (!send.packet) {
		free_sent(skb);
	}
	if (send.packet || unlikely(netif_xmit_stopped(txq) && !irqs_disabled()))
		netfront_napi_owned(queue, queue->core);
	return NETDEV_TX_OK;
}
