// SPDX-License-Identifier: GPL-2.0-only
/* Guest-TX: memory for the packets that C++ fetches, and on to the stack. */
#include <linux/etherdevice.h>
#include <linux/mm.h>
#include <linux/skbuff.h>
#include <xen/page.h>

#include "net/offload.h"
#include "netback/netback.h"
#include "shim/page_pool.h"

static struct sk_buff *make_targets(struct netback_queue *queue,
				    struct xpv_netback_tx_packet *p)
{
	struct sk_buff *skb = xpv_page_pool_skb(queue->tx_heads, &queue->tx_napi,
						p->head);
	struct page *page;
	void *head;
	u32 i;

	BUILD_BUG_ON(XPV_NETBACK_TX_HEAD_MAX > XPV_POOL_HEAD); /* in one page */
	p->targets = 0;
	if (unlikely(!skb))
		return NULL;
	head = __skb_put(skb, p->head);
	p->target[p->targets++] = (struct xpv_netback_target){
		.gfn = virt_to_gfn(head),
		.offset = offset_in_page(head),
		.length = p->head
	};
	for (i = 0; i < p->pages; i++) {
		page = page_pool_dev_alloc_pages(queue->tx_pages);
		if (unlikely(!page)) {
			p->targets = 0;
			kfree_skb(skb);
			return NULL;
		}
		p->target[p->targets++] = (struct xpv_netback_target){
			.gfn = pfn_to_gfn(page_to_pfn(page)),
			.length = p->page_bytes[i]
		};
		skb_add_rx_frag(skb, i, page, 0, p->page_bytes[i], PAGE_SIZE);
	}
	return skb;
}

static void deliver(struct netback_queue *queue, struct sk_buff *skb,
		    const struct xpv_netback_tx_packet *p)
{
	bool mapped = p->mapped != XPV_NETBACK_TX_COPIED;
	bool good, fixed = false;

	if (mapped)
		netback_zerocopy_add_frags(queue->zerocopy, skb, p);
	skb->protocol = eth_type_trans(skb, queue->vif->dev);
	skb_reset_network_header(skb);
	good = xpv_net_set_offload(skb, &p->offload, &fixed);
	if (unlikely(fixed))
		queue->counters.tx_gso_fixups++;
	if (unlikely(!good)) {
		queue->counters.tx_bad_csum++;
		if (mapped)
			netback_zerocopy_arm(queue->zerocopy, skb, p);
		kfree_skb(skb);
		return;
	}
	skb_record_rx_queue(skb, queue->index);
	/* Not earlier: pulling headers would copy what is mapped. */
	if (mapped)
		netback_zerocopy_arm(queue->zerocopy, skb, p);
	netif_receive_skb(skb);
}

static enum hrtimer_restart hold_over(struct hrtimer *timer)
{
	struct netback_queue *queue =
		container_of(timer, struct netback_queue, tx_hold);

	napi_schedule(&queue->tx_napi);
	return HRTIMER_NORESTART;
}

void netback_tx_init(struct netback_queue *queue)
{
	hrtimer_init(&queue->tx_hold, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
	queue->tx_hold.function = hold_over;
}

/* Nothing was there, or may be taken. True: now there is. */
static bool tx_rest(struct netback_queue *queue, u64 hold_ns, u32 *event)
{
	if (likely(!hold_ns))
		return xpv_netback_tx_stop(queue->core, event);
	hrtimer_start(&queue->tx_hold, ns_to_ktime(hold_ns),
		      HRTIMER_MODE_REL_PINNED);
	xpv_netback_tx_hold(queue->core, event);
	return false;
}

int netback_tx_poll(struct napi_struct *napi, int budget)
{
	struct netback_queue *queue =
		container_of(napi, struct netback_queue, tx_napi);
	struct xpv_netback_tx_packet *packets = queue->tx_packets;
	struct xpv_netback_queue *core = queue->core;
	u32 count, event, i;
	int done = 0;
	u64 hold_ns;

	while (done < budget) {
		count = xpv_netback_tx_gather(core, packets,
					      min(budget - done, XPV_NETBACK_BATCH),
					      READ_ONCE(netback_tx_map_threshold),
					      &hold_ns);
		if (!count) {
			/* A look costs too: a ring of bad packets is no work. */
			done++;
			if (tx_rest(queue, hold_ns, &event))
				continue;
			done = min(done, budget - 1);
			if (napi_complete_done(napi, done))
				xpv_netback_idle(core, XPV_NETBACK_TX, event);
			return done;
		}
		for (i = 0; i < count; i++)
			queue->tx_skbs[i] = make_targets(queue, &packets[i]);
		xpv_netback_tx_execute(core, packets, count);
		for (i = 0; i < count; i++) {
			if (likely(packets[i].good))
				deliver(queue, queue->tx_skbs[i], &packets[i]);
			else
				kfree_skb(queue->tx_skbs[i]);
		}
		done += count;
	}
	return done;
}
