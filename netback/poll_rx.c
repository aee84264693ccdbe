// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-RX: packets wait in a list that start_xmit fills, bounded by bytes; the
 * poller brings them into the form that C++ sends, a batch at a time.
 */
#include <linux/jiffies.h>
#include <linux/skbuff.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netback/netback.h"

struct rx_cb {
	unsigned long since; /* jiffies */
};

static struct rx_cb *rx_cb(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct rx_cb) > sizeof(skb->cb));
	return (struct rx_cb *)skb->cb;
}

netdev_tx_t netback_start_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct xpv_netback_os *vif = netdev_priv(dev);
	u16 index = skb_get_queue_mapping(skb);
	struct netback_queue *queue;
	unsigned long flags;
	u32 count;

	count = xpv_net_usable(&vif->num_queues);
	if (unlikely(index >= count || skb->len > XPV_NET_MAX_PACKET)) {
		dev_core_stats_tx_dropped_inc(dev);
		dev_kfree_skb_any(skb);
		return NETDEV_TX_OK;
	}
	queue = vif->queues[index];
	rx_cb(skb)->since = jiffies;
	skb_tx_timestamp(skb);

	/* netpoll comes from hard interrupts, over a bridge also into a poller's. */
	spin_lock_irqsave(&queue->rx_queue.lock, flags);
	__skb_queue_tail(&queue->rx_queue, skb);
	queue->rx_queued_bytes += skb->len;
	if (unlikely(queue->rx_queued_bytes >= READ_ONCE(netback_rx_queue_bytes))) {
		netif_tx_stop_queue(netdev_get_tx_queue(dev, index));
		queue->counters.rx_stops++;
	}
	spin_unlock_irqrestore(&queue->rx_queue.lock, flags);

	if (!netdev_xmit_more() ||
	    netif_xmit_stopped(netdev_get_tx_queue(dev, index)))
		napi_schedule(&queue->rx_napi);
	return NETDEV_TX_OK;
}

/* Bytes of packets that were sent or dropped. */
static void rx_unqueue(struct netback_queue *queue, u32 bytes)
{
	struct netdev_queue *txq =
		netdev_get_tx_queue(queue->vif->dev, queue->index);
	unsigned long flags;

	spin_lock_irqsave(&queue->rx_queue.lock, flags);
	queue->rx_queued_bytes -= bytes;
	if (unlikely(netif_tx_queue_stopped(txq)) &&
	    queue->rx_queued_bytes < READ_ONCE(netback_rx_queue_bytes) / 2)
		netif_tx_wake_queue(txq);
	spin_unlock_irqrestore(&queue->rx_queue.lock, flags);
}

/* Up to a batch from the front of the queue. */
static void rx_take(struct netback_queue *queue, struct sk_buff_head *taken)
{
	unsigned long flags;
	u32 n;

	__skb_queue_head_init(taken);
	if (skb_queue_empty_lockless(&queue->rx_queue))
		return;
	spin_lock_irqsave(&queue->rx_queue.lock, flags);
	if (skb_queue_len(&queue->rx_queue) <= XPV_NETBACK_BATCH) {
		skb_queue_splice_init(&queue->rx_queue, taken);
	} else {
		for (n = 0; n < XPV_NETBACK_BATCH; n++)
			__skb_queue_tail(taken, __skb_dequeue(&queue->rx_queue));
	}
	spin_unlock_irqrestore(&queue->rx_queue.lock, flags);
}

/* Form the next batch; the former one is sent. False: nothing waits. */
static bool rx_refill(struct netback_queue *queue)
{
	u32 used = 0, lost = 0, count = 0, n;
	struct sk_buff_head taken;
	unsigned long flags;
	struct sk_buff *skb;

	queue->rx_first = queue->rx_count = 0;
	rx_take(queue, &taken);
	if (skb_queue_empty(&taken))
		return false;
	while ((skb = skb_peek(&taken)) && used + XPV_NETBACK_RX_PIECES <= NETBACK_PIECES) {
		struct xpv_netback_rx_packet *p = &queue->rx_packets[count];

		__skb_unlink(skb, &taken);
		n = netback_pieces(skb, &queue->rx_pieces[used]);
		if (unlikely(!n)) {
			queue->counters.rx_shapeless++;
			lost += skb->len;
			kfree_skb(skb);
			continue;
		}
		p->piece = &queue->rx_pieces[used];
		p->pieces = n;
		p->total = skb->len;
		p->offload = xpv_net_get_offload(skb);
		queue->rx_skbs[count++] = skb;
		used += n;
	}
	queue->rx_count = count;
	if (unlikely(!skb_queue_empty(&taken))) {
		spin_lock_irqsave(&queue->rx_queue.lock, flags);
		skb_queue_splice(&taken, &queue->rx_queue); /* back to the front */
		spin_unlock_irqrestore(&queue->rx_queue.lock, flags);
	}
	if (unlikely(lost))
		rx_unqueue(queue, lost);
	return true;
}

/* ---- the poller --------------------------------------------------------------- */

static enum hrtimer_restart hold_over(struct hrtimer *timer)
{
	struct netback_queue *queue =
		container_of(timer, struct netback_queue, rx_hold);

	napi_schedule(&queue->rx_napi);
	return HRTIMER_NORESTART;
}

static void rx_timer(struct timer_list *timer)
{
	struct netback_queue *queue =
		container_of(timer, struct netback_queue, rx_timer);

	napi_schedule(&queue->rx_napi);
}

/* The first packet waits for buffers. True: no more, it is to be dropped. */
static bool rx_starved(struct netback_queue *queue, const struct sk_buff *skb)
{
	struct rx_cb cb = *(const struct rx_cb *)skb->cb;
	struct xpv_netback_rx_limits limits = {
		.drain_ms = READ_ONCE(netback_rx_drain_timeout_ms),
		.stall_ms = READ_ONCE(netback_rx_stall_timeout_ms),
	};

	return xpv_netback_rx_starved(queue->core,
				      jiffies_to_msecs(jiffies - cb.since), &limits);
}

/*
 * Drop a batch, how many packets went: what is formed, or else what waits. They may pin
 * other guests' pages.
 */
static u32 rx_drop(struct netback_queue *queue)
{
	struct sk_buff_head gone;
	u32 bytes = 0, count = 0;
	struct sk_buff *skb;

	if (queue->rx_first == queue->rx_count) {
		rx_take(queue, &gone);
	} else {
		__skb_queue_head_init(&gone);
		while (queue->rx_first < queue->rx_count)
			__skb_queue_tail(&gone, queue->rx_skbs[queue->rx_first++]);
	}
	skb = skb_peek(&gone);
	if (!skb)
		return 0;
	rx_starved(queue, skb);
	while ((skb = __skb_dequeue(&gone))) {
		bytes += skb->len;
		count++;
		kfree_skb(skb);
	}
	queue->counters.rx_expired += count;
	rx_unqueue(queue, bytes);
	return count;
}

/* How many packets were sent; 0: they wait for credit, *hold_ns long, or for buffers. */
static u32 rx_send(struct netback_queue *queue, int budget, u64 *hold_ns)
{
	u32 bytes = 0, sent, i;

	sent = xpv_netback_rx_send(queue->core, &queue->rx_packets[queue->rx_first],
				   queue->rx_count - queue->rx_first, hold_ns);
	if (!sent)
		return 0;
	for (i = 0; i < sent; i++) {
		bytes += queue->rx_packets[queue->rx_first].total;
		napi_consume_skb(queue->rx_skbs[queue->rx_first++], budget);
	}
	rx_unqueue(queue, bytes);
	return sent;
}

/*
 * One batch of work. waiting: there is none until the frontend posts buffers. hold_ns: nor,
 * for so long, if that is not 0.
 */
static u32 rx_advance(struct netback_queue *queue, int budget, bool *waiting,
		      u64 *hold_ns)
{
	u32 sent;

	*waiting = false;
	*hold_ns = 0;
	if (unlikely(queue->rx_draining))
		return rx_drop(queue);
	if (queue->rx_first == queue->rx_count && !rx_refill(queue))
		return 0;
	if (unlikely(queue->rx_first == queue->rx_count))
		return 1; /* a batch of packets without a shape */
	sent = rx_send(queue, budget, hold_ns);
	if (sent || *hold_ns)
		return sent;
	if (rx_starved(queue, queue->rx_skbs[queue->rx_first])) {
		queue->rx_draining = true;
		return rx_drop(queue);
	}
	*waiting = true;
	return 0;
}

/* Packets stay here, and no more may come: in how many milliseconds to look at the latest. */
static u32 rx_mind(struct netback_queue *queue, u32 look_ms, bool waiting)
{
	struct netdev_queue *txq =
		netdev_get_tx_queue(queue->vif->dev, queue->index);
	u32 still_ms;

	if (likely(!netif_tx_queue_stopped(txq)))
		return look_ms;
	still_ms = xpv_net_mind(&queue->rx_still, txq, waiting);
	if (unlikely(still_ms))
		xpv_netback_rx_timeout(queue->core, still_ms,
				       READ_ONCE(queue->rx_queued_bytes));
	return look_ms ? min_t(u32, look_ms, XPV_NET_LOOK_MS) : 0;
}

/* The kernel's watchdog: the poller does not come by. */
void netback_tx_timeout(struct net_device *dev, unsigned int index)
{
	struct xpv_netback_os *vif = netdev_priv(dev);
	struct netback_queue *queue;
	unsigned long last;

	if (index >= xpv_net_usable(&vif->num_queues))
		return;
	queue = vif->queues[index];
	last = READ_ONCE(netdev_get_tx_queue(dev, index)->trans_start);
	xpv_netback_rx_timeout(queue->core, jiffies_to_msecs(jiffies - last),
			       READ_ONCE(queue->rx_queued_bytes));
	napi_schedule(&queue->rx_napi);
}

int netback_rx_poll(struct napi_struct *napi, int budget)
{
	struct netback_queue *queue = container_of(napi, struct netback_queue, rx_napi);
	struct xpv_netback_queue *core = queue->core;
	struct xpv_netback_rest rest;
	int done = 0;
	bool waiting;
	u64 hold_ns;
	u32 count;

	while (done < budget) {
		count = rx_advance(queue, budget, &waiting, &hold_ns);
		done += max(count, 1U); /* a look costs too */
		if (count)
			continue;
		xpv_netback_rx_stop(core, waiting, &rest);
		queue->rx_draining = rest.draining;
		if (rest.again)
			continue;
		if (unlikely(waiting || hold_ns))
			rest.look_ms = rx_mind(queue, rest.look_ms, waiting);
		if (hold_ns)
			hrtimer_start(&queue->rx_hold, ns_to_ktime(hold_ns),
				      HRTIMER_MODE_REL_PINNED);
		if (rest.look_ms)
			mod_timer(&queue->rx_timer,
				  jiffies + msecs_to_jiffies(rest.look_ms));
		done = min(done, budget - 1);
		if (napi_complete_done(napi, done))
			xpv_netback_idle(core, XPV_NETBACK_RX, rest.event);
		return done;
	}
	return budget;
}

void netback_rx_init(struct netback_queue *queue)
{
	skb_queue_head_init(&queue->rx_queue);
	timer_setup(&queue->rx_timer, rx_timer, 0);
	hrtimer_init(&queue->rx_hold, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
	queue->rx_hold.function = hold_over;
}

void netback_rx_purge(struct netback_queue *queue)
{
	struct sk_buff_head gone;
	unsigned long flags;

	__skb_queue_head_init(&gone);
	while (queue->rx_first < queue->rx_count)
		__skb_queue_tail(&gone, queue->rx_skbs[queue->rx_first++]);
	spin_lock_irqsave(&queue->rx_queue.lock, flags);
	skb_queue_splice_tail_init(&queue->rx_queue, &gone);
	queue->rx_queued_bytes = 0;
	spin_unlock_irqrestore(&queue->rx_queue.lock, flags);
	__skb_queue_purge(&gone);
}
