// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-TX packets whose bytes stay in the guest's pages. The stack says when it
 * is done with one (ubuf_info), from any context and at any time: even when the
 * queue, the vif and the guest are gone. What is still out then is unmapped by a
 * work of its own as it comes back, so that nothing has to wait for it but the
 * module's end. How long that can be is up to whoever holds the packet; our own
 * guest-RX queues let go after rx_drain_timeout_ms.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "netback/netback.h"

struct packet {
	struct ubuf_info ubuf;
	u32 number;
};

struct xpv_vif_zerocopy {
	struct xpv_netback_map *map;
	struct xpv_vif_queue __rcu *queue; /* to wake; NULL once retired */
	struct delayed_work rest;
	struct rcu_head rcu;
	struct packet packets[256]; /* by the number that C++ gives a packet */
};

/* Retired and not yet gone. */
static atomic_t retired = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(all_gone);

static void packet_done(struct sk_buff *skb, struct ubuf_info *ubuf, bool success)
{
	struct packet *packet = container_of(ubuf, struct packet, ubuf);
	struct xpv_vif_zerocopy *zerocopy =
		container_of(packet - packet->number, struct xpv_vif_zerocopy,
			     packets[0]);
	struct xpv_vif_queue *queue;

	rcu_read_lock(); /* the last one is freed as soon as it is done */
	queue = rcu_dereference(zerocopy->queue);
	xpv_netback_tx_done(zerocopy->map, packet->number);
	if (queue)
		xpv_netback_vif_schedule(queue, XPV_NETBACK_TX);
	rcu_read_unlock();
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
static const struct ubuf_info_ops packet_ops = { .complete = packet_done };
#define PACKET_CALLBACK .ops = &packet_ops
#else
#define PACKET_CALLBACK .callback = packet_done
#endif

static void unmap_rest(struct work_struct *work)
{
	struct xpv_vif_zerocopy *zerocopy =
		container_of(work, struct xpv_vif_zerocopy, rest.work);

	if (xpv_netback_map_reap(zerocopy->map)) {
		queue_delayed_work(system_long_wq, &zerocopy->rest,
				   msecs_to_jiffies(10));
		return;
	}
	kvfree_rcu(zerocopy, rcu);
	if (atomic_dec_and_test(&retired))
		wake_up(&all_gone);
}

struct xpv_vif_zerocopy *xpv_vif_zerocopy_create(struct xpv_vif_queue *queue,
						 struct xpv_netback_map *map)
{
	struct xpv_vif_zerocopy *zerocopy =
		kvzalloc(sizeof(*zerocopy), GFP_KERNEL);
	u32 i;

	if (!zerocopy)
		return NULL;
	zerocopy->map = map;
	RCU_INIT_POINTER(zerocopy->queue, queue);
	INIT_DELAYED_WORK(&zerocopy->rest, unmap_rest);
	for (i = 0; i < ARRAY_SIZE(zerocopy->packets); i++)
		zerocopy->packets[i] = (struct packet){
			.ubuf = { PACKET_CALLBACK, .flags = SKBFL_ZEROCOPY_FRAG },
			.number = i,
		};
	return zerocopy;
}

void xpv_vif_zerocopy_free(struct xpv_vif_zerocopy *zerocopy)
{
	kvfree(zerocopy);
}

void xpv_vif_zerocopy_retire(struct xpv_vif_zerocopy *zerocopy)
{
	if (!zerocopy)
		return;
	RCU_INIT_POINTER(zerocopy->queue, NULL);
	synchronize_net();
	atomic_inc(&retired);
	queue_delayed_work(system_long_wq, &zerocopy->rest, 0);
}

void xpv_vif_zerocopy_add_frags(struct xpv_vif_zerocopy *zerocopy,
				struct sk_buff *skb,
				const struct xpv_netback_tx_packet *p)
{
	u32 i, bytes = 0;

	for (i = 0; i < p->fragments; i++) {
		const struct xpv_netback_tx_fragment *f = &p->fragment[i];
		struct page *page = xpv_to_page(f->page);

		get_page(page); /* for the stack to put */
		__skb_fill_page_desc(skb, i, page, f->offset, f->length);
		bytes += f->length;
	}
	skb_shinfo(skb)->nr_frags = p->fragments;
	skb->len += bytes;
	skb->data_len += bytes;
	skb->truesize += p->fragments * PAGE_SIZE;
}

void xpv_vif_zerocopy_arm(struct xpv_vif_zerocopy *zerocopy, struct sk_buff *skb,
			  const struct xpv_netback_tx_packet *p)
{
	skb_zcopy_init(skb, &zerocopy->packets[p->mapped].ubuf);
}

void xpv_vif_zerocopy_exit(void)
{
	while (!wait_event_timeout(all_gone, !atomic_read(&retired), 10 * HZ))
		pr_info("xpv-netback: waiting for packets in guests' pages\n");
	synchronize_rcu(); /* callbacks have left our code */
}
