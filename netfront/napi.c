// SPDX-License-Identifier: GPL-2.0-only
/* Receive: the poller, its page pool, and packets made of what C++ hands up. */
#include <linux/etherdevice.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

#include "net/offload.h"
#include "net/teardown.h"
#include "netfront/netfront.h"
#include "shim/page_pool.h"

#define PULL 128     /* bytes of a packet's head that are copied: all headers */
#define PAGES_MS 100 /* until a shortage of pages may be over */

/* ---- pages --------------------------------------------------------------- */

/*
 * What the backend may read of a page that it can write: fresh pages are zeroed,
 * recycled ones hold a packet that this backend sent itself. The stack treats a
 * packet's pages as read-only, but for those that it decrypts in place (IPsec,
 * TLS): with a backend that must not see such plain text set rx_copybreak to
 * 4096 and the MTU below, then no page ever leaves the driver.
 */
uint32_t xpv_netfront_os_pages_get(struct xpv_netfront_os *os, uint32_t index,
				   uint32_t count, struct xpv_page **pages)
{
	struct page_pool *pool = os->queues[index].pool;
	struct page *page;
	u32 n;

	for (n = 0; n < count; n++) {
		page = page_pool_alloc_pages(pool, GFP_ATOMIC | __GFP_NOWARN |
							   __GFP_ZERO);
		if (unlikely(!page))
			break;
		pages[n] = xpv_from_page(page);
	}
	return n;
}

void xpv_netfront_os_pages_put(struct xpv_netfront_os *os, uint32_t index,
			       uint32_t count, struct xpv_page *const *pages)
{
	u32 i;

	for (i = 0; i < count; i++)
		page_pool_put_full_page(os->queues[index].pool,
					xpv_to_page(pages[i]), false);
}

void xpv_netfront_os_page_detach(struct xpv_netfront_os *os, uint32_t index,
				 struct xpv_page *page)
{
	/* A page with another user is not recycled: the pool drops it. */
	get_page(xpv_to_page(page));
	page_pool_put_full_page(os->queues[index].pool, xpv_to_page(page), false);
}

/* ---- packets ------------------------------------------------------------- */

static void put_piece(struct netfront_queue *queue,
		      const struct xpv_netfront_piece *piece)
{
	page_pool_put_full_page(queue->pool, xpv_to_page(piece->page), true);
}

static const void *bytes_of(const struct xpv_netfront_piece *piece)
{
	return page_address(xpv_to_page(piece->page)) + piece->offset;
}

static struct sk_buff *copied_skb(struct netfront_queue *queue,
				  const struct xpv_netfront_packet *packet)
{
	struct sk_buff *skb = xpv_page_pool_skb(queue->heads, &queue->napi,
						packet->length);
	u32 i;

	if (unlikely(!skb))
		return NULL;
	for (i = 0; i < packet->pieces; i++)
		skb_put_data(skb, bytes_of(&packet->piece[i]),
			     packet->piece[i].length);
	return skb;
}

/* The packet's pages become fragments, but for its head. */
static struct sk_buff *paged_skb(struct netfront_queue *queue,
				 const struct xpv_netfront_packet *packet)
{
	const struct xpv_netfront_piece *piece = packet->piece;
	u32 i, pull = 0, frags = 0;
	struct sk_buff *skb;

	/* Pieces beyond what fits in fragments are copied, the first ones. */
	for (i = 0; i + MAX_SKB_FRAGS < packet->pieces; i++)
		pull += piece[i].length;
	if (!pull)
		pull = min_t(u32, piece->length, PULL);
	skb = xpv_page_pool_skb(queue->heads, &queue->napi, pull);
	if (unlikely(!skb)) {
		for (i = 0; i < packet->pieces; i++)
			put_piece(queue, &piece[i]);
		return NULL;
	}
	skb_mark_for_recycle(skb);
	for (i = 0; i < packet->pieces; i++) {
		u32 part = min_t(u32, piece[i].length, pull);

		if (part)
			skb_put_data(skb, bytes_of(&piece[i]), part);
		pull -= part;
		if (part == piece[i].length)
			put_piece(queue, &piece[i]);
		else
			skb_add_rx_frag(skb, frags++, xpv_to_page(piece[i].page),
					piece[i].offset + part,
					piece[i].length - part, PAGE_SIZE);
	}
	return skb;
}

static void receive(struct netfront_queue *queue,
		    const struct xpv_netfront_packet *packet)
{
	struct sk_buff *skb = packet->copy ? copied_skb(queue, packet) :
					     paged_skb(queue, packet);
	struct xpv_netfront_counters *counters;
	bool good, fixed = false;

	if (unlikely(!skb)) {
		counters = xpv_netfront_queue_counters(queue->nf->core, queue->index);
		counters->rx_drops++;
		return;
	}
	skb->protocol = eth_type_trans(skb, queue->nf->netdev);
	skb_reset_network_header(skb);
	skb_record_rx_queue(skb, queue->index);
	good = xpv_net_set_offload(skb, &packet->offload, &fixed);
	if (unlikely(fixed || !good)) {
		counters = xpv_netfront_queue_counters(queue->nf->core, queue->index);
		counters->rx_gso_fixups += fixed;
		counters->rx_errors += !good;
	}
	if (unlikely(!good)) {
		kfree_skb(skb);
		return;
	}
	napi_gro_receive(&queue->napi, skb);
}

/* ---- the poller ---------------------------------------------------------- */

/* Not from where netpoll may be: printk's caller can hold what a timer's start needs. */
static void poll_after(struct netfront_queue *queue, u32 ms)
{
	const ktime_t wait = ms_to_ktime(ms);

	if (hrtimer_is_queued(&queue->timer) &&
	    ktime_before(hrtimer_get_remaining(&queue->timer), wait))
		return;
	hrtimer_start(&queue->timer, wait, HRTIMER_MODE_REL_PINNED);
}

static struct netdev_queue *txq_of(const struct netfront_queue *queue)
{
	return netdev_get_tx_queue(queue->nf->netdev, queue->index);
}

void netfront_napi_owned(struct netfront_queue *queue,
			 const struct xpv_netfront_queue *core)
{
	u32 ms;

	if (likely(hrtimer_is_queued(&queue->timer) && !queue->looks))
		return;
	ms = xpv_netfront_tx_wait_ms(core);
	queue->looks = !ms && netif_xmit_stopped(txq_of(queue));
	if (queue->looks)
		ms = XPV_NET_LOOK_MS;
	if (ms)
		poll_after(queue, ms);
}

/* budget 0: netpoll came, maybe out of start_xmit or a poll on this very CPU. */
static void poll_tx(struct netfront_queue *queue, struct xpv_netfront_queue *core,
		    int budget)
{
	struct netdev_queue *txq = txq_of(queue);
	u32 still_ms = 0;

	if (likely(budget))
		__netif_tx_lock(txq, smp_processor_id());
	else if (!__netif_tx_trylock(txq))
		return;
	if (xpv_netfront_tx_poll(core, READ_ONCE(queue->late)))
		netif_tx_wake_queue(txq);
	if (unlikely(budget && queue->late && netif_xmit_stopped(txq)))
		still_ms = xpv_net_mind(&queue->still, txq, true);
	if (unlikely(still_ms))
		xpv_netfront_tx_timeout(core, still_ms);
	WRITE_ONCE(queue->late, false);
	if (likely(budget))
		netfront_napi_owned(queue, core);
	__netif_tx_unlock(txq);
}

static int netfront_poll(struct napi_struct *napi, int budget)
{
	struct netfront_queue *queue =
		container_of(napi, struct netfront_queue, napi);
	/* Once: it is cleared when napi_complete_done() lets others go on. */
	struct xpv_netfront_queue *core = READ_ONCE(queue->core);
	const struct xpv_netfront_packet *packets;
	struct xpv_netfront_events events = xpv_netfront_begin(core);
	u32 i, count;

	if (xpv_netfront_tx_due(core))
		poll_tx(queue, core, budget);
	if (unlikely(!budget)) /* nothing may be received */
		return 0;

	count = xpv_netfront_rx_poll(core, min(budget, XPV_NETFRONT_BATCH),
				     &packets);
	for (i = 0; i < count; i++)
		receive(queue, &packets[i]);
	if (unlikely(!xpv_netfront_rx_refill(core)))
		poll_after(queue, PAGES_MS);

	if (count == budget || !xpv_netfront_idle(core))
		return budget;
	if (napi_complete_done(napi, count))
		xpv_netfront_done(core, events);
	return count;
}

void xpv_netfront_os_schedule(struct xpv_netfront_os *os, uint32_t index)
{
	/* A channel can be guessed and rung before there is a poller, which will
	 * find the EOI owed. */
	if (index < xpv_net_usable(&os->usable))
		napi_schedule(&os->queues[index].napi);
}

void netfront_napi_kick(struct netfront_queue *queue)
{
	local_bh_disable();
	napi_schedule(&queue->napi);
	local_bh_enable();
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	struct netfront_queue *queue =
		container_of(timer, struct netfront_queue, timer);

	/* Here already: after a pause of this domain the kernel's watchdog comes before
	 * the poller. */
	if (netif_xmit_stopped(txq_of(queue)))
		xpv_net_vouch(&queue->still, txq_of(queue));
	WRITE_ONCE(queue->late, true);
	napi_schedule(&queue->napi);
	return HRTIMER_NORESTART;
}

int netfront_napi_add(struct netfront_queue *queue)
{
	struct net_device *dev = queue->nf->netdev;
	struct device *parent = dev->dev.parent;
	struct page_pool *heads, *pool;

	heads = xpv_page_pool_create(parent, XPV_NETFRONT_RING, PP_FLAG_PAGE_FRAG);
	if (IS_ERR(heads))
		return PTR_ERR(heads);
	pool = xpv_page_pool_create(parent, XPV_NETFRONT_RING, 0);
	if (IS_ERR(pool)) {
		page_pool_destroy(heads);
		return PTR_ERR(pool);
	}
	queue->heads = heads;
	queue->pool = pool;
	hrtimer_init(&queue->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
	queue->timer.function = timer_fired;
	queue->late = false;
	netif_napi_add(dev, &queue->napi, netfront_poll);
	return 0;
}

/* Step 4 of net/teardown.h; every page came back. */
void netfront_napi_del(struct netfront_queue *queues, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		__netif_napi_del(&queues[i].napi);
	synchronize_net();
	for (i = 0; i < count; i++) {
		page_pool_destroy(queues[i].heads);
		page_pool_destroy(queues[i].pool);
		queues[i].heads = queues[i].pool = NULL;
	}
}
