// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-TX packets whose bytes stay in the guest's pages. The stack says when it
 * is done with one (ubuf_info), from any context and at any time: even when the
 * queue, the vif and the guest are gone. What is still out then is unmapped by a
 * work of its own as it comes back, so that nothing has to wait for it but the
 * module's end. How long that can be is up to whoever holds the packet; our own
 * guest-RX queues, and what waits behind them, let go after rx_drain_timeout_ms.
 */
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/wait.h>

#include "netback/netback.h"

struct packet {
	struct ubuf_info ubuf;
	u32 number;
};

struct netback_zerocopy {
	struct xpv_netback_map *map;
	struct netback_queue __rcu *queue; /* to wake; NULL once retired */
	u16 domid;			   /* whose pages */
	struct list_head former;	   /* in `retired` */
	struct delayed_work rest;
	unsigned int pause_ms; /* between two looks of it */
	struct rcu_head rcu;
	struct packet packets[256]; /* by the number that C++ gives a packet */
};

/* Retired and not yet gone. */
static LIST_HEAD(retired);
/* Outlives the devices; freezable, as theirs is. */
static struct workqueue_struct *works;
static DEFINE_MUTEX(retired_lock);
static DECLARE_WAIT_QUEUE_HEAD(one_gone);

static void packet_done(struct sk_buff *skb, struct ubuf_info *ubuf, bool success)
{
	struct packet *packet = container_of(ubuf, struct packet, ubuf);
	struct netback_zerocopy *zerocopy =
		container_of(packet - packet->number, struct netback_zerocopy,
			     packets[0]);
	struct netback_queue *queue;

	rcu_read_lock(); /* the last one is freed as soon as it is done */
	queue = rcu_dereference(zerocopy->queue);
	xpv_netback_tx_done(zerocopy->map, packet->number);
	if (queue)
		xpv_netback_os_schedule(queue, XPV_NETBACK_TX);
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
	struct netback_zerocopy *zerocopy =
		container_of(work, struct netback_zerocopy, rest.work);

	if (xpv_netback_map_reap(zerocopy->map)) {
		queue_delayed_work(works, &zerocopy->rest,
				   msecs_to_jiffies(zerocopy->pause_ms));
		zerocopy->pause_ms = min(zerocopy->pause_ms * 2, 500U);
		return;
	}
	mutex_lock(&retired_lock);
	list_del(&zerocopy->former);
	mutex_unlock(&retired_lock);
	kvfree_rcu(zerocopy, rcu);
	wake_up(&one_gone);
}

uint32_t xpv_netback_os_retired(struct xpv_netback_os *vif)
{
	const u16 domid = xpv_xenbus_peer(&vif->bus);
	struct netback_zerocopy *zerocopy;
	u32 count = 0;

	mutex_lock(&retired_lock);
	list_for_each_entry(zerocopy, &retired, former)
		count += zerocopy->domid == domid;
	mutex_unlock(&retired_lock);
	return count;
}

struct netback_zerocopy *netback_zerocopy_create(struct netback_queue *queue,
						 struct xpv_netback_map *map)
{
	struct netback_zerocopy *zerocopy =
		kvzalloc(sizeof(*zerocopy), GFP_KERNEL);
	u32 i;

	if (!zerocopy)
		return NULL;
	zerocopy->map = map;
	zerocopy->domid = xpv_xenbus_peer(&queue->vif->bus);
	RCU_INIT_POINTER(zerocopy->queue, queue);
	INIT_DELAYED_WORK(&zerocopy->rest, unmap_rest);
	for (i = 0; i < ARRAY_SIZE(zerocopy->packets); i++)
		zerocopy->packets[i] = (struct packet){
			.ubuf = { PACKET_CALLBACK, .flags = SKBFL_ZEROCOPY_FRAG },
			.number = i,
		};
	return zerocopy;
}

void netback_zerocopy_free(struct netback_zerocopy *zerocopy)
{
	kvfree(zerocopy);
}

void netback_zerocopy_orphan(struct netback_zerocopy *zerocopy)
{
	if (zerocopy)
		RCU_INIT_POINTER(zerocopy->queue, NULL);
}

void netback_zerocopy_retire(struct netback_zerocopy *zerocopy)
{
	if (!zerocopy)
		return;
	/* With nothing out it is over here, and does not count against the guest. */
	if (!xpv_netback_map_reap(zerocopy->map)) {
		kvfree_rcu(zerocopy, rcu);
		return;
	}
	mutex_lock(&retired_lock);
	list_add(&zerocopy->former, &retired);
	mutex_unlock(&retired_lock);
	zerocopy->pause_ms = 10;
	queue_delayed_work(works, &zerocopy->rest,
			   msecs_to_jiffies(zerocopy->pause_ms));
}

void netback_zerocopy_add_frags(struct netback_zerocopy *zerocopy,
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

void netback_zerocopy_arm(struct netback_zerocopy *zerocopy, struct sk_buff *skb,
			  const struct xpv_netback_tx_packet *p)
{
	skb_zcopy_init(skb, &zerocopy->packets[p->mapped].ubuf);
}

static bool all_gone(void)
{
	bool gone;

	mutex_lock(&retired_lock);
	gone = list_empty(&retired);
	mutex_unlock(&retired_lock);
	return gone;
}

int netback_zerocopy_init(void)
{
	works = alloc_workqueue("xpv-netback-unmap", WQ_UNBOUND | WQ_FREEZABLE,
				0);
	return works ? 0 : -ENOMEM;
}

void netback_zerocopy_exit(void)
{
	while (!all_gone())
		if (!wait_event_timeout(one_gone, list_empty_careful(&retired), 10 * HZ))
			pr_info("xpv-netback: waiting for packets in guests' pages\n");
	synchronize_rcu();	  /* callbacks have left our code */
	destroy_workqueue(works); /* and so have works */
}
