// SPDX-License-Identifier: GPL-2.0-only
/* What a hostile frontend does to a backend: each advisory's way, by its name. */
#define pr_fmt(fmt) "hostile: " fmt

#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/kthread.h>
#include <linux/random.h>
#include <xen/events.h>
#include <xen/page.h>

#include "net/hostile/hostile.h"

#define SLOTS 256
#define RUBBISH 0xbad0bad0

/* Always the second queue: the backend has to name it. */
static struct hostile_queue *victim(struct hostile *h)
{
	return &h->queue[1];
}

static struct xen_netif_tx_request *next_slot(struct hostile_queue *q)
{
	return &q->tx->ring[q->tx_made++ % SLOTS].req;
}

static void slot(struct hostile_queue *q, grant_ref_t gref, unsigned int offset,
		 unsigned int size, unsigned int flags)
{
	struct xen_netif_tx_request *req = next_slot(q);

	req->id = q->tx_made;
	req->gref = gref;
	req->offset = offset;
	req->size = size;
	req->flags = flags;
}

static void extra(struct hostile_queue *q, u8 type, u8 flags, unsigned int size, u8 gso)
{
	struct xen_netif_extra_info *info = (struct xen_netif_extra_info *)next_slot(q);

	memset(info, 0, sizeof(*info));
	info->type = type;
	info->flags = flags;
	info->u.gso.size = size;
	info->u.gso.type = gso;
}

static void kick(struct hostile_queue *q)
{
	virt_wmb(); /* the slots before the index */
	q->tx->req_prod = q->tx_made;
	if (q->irq)
		notify_remote_via_irq(q->irq);
}

/* Answers of all that was asked, by status, or until the backend gave up. */
static int collect(struct hostile *h, struct hostile_queue *q)
{
	unsigned int okay = 0, error = 0, null = 0, dropped = 0, strange = 0, answered;
	int i;

	for (i = 0; i < 400 && READ_ONCE(q->tx->rsp_prod) != q->tx_made; i++) {
		if (hostile_backend(h) != XenbusStateConnected)
			break;
		msleep(20);
	}
	virt_rmb(); /* the answers after the index */
	answered = READ_ONCE(q->tx->rsp_prod) - q->tx_seen;
	if (answered > q->tx_made - q->tx_seen || q->tx_made - q->tx_seen > SLOTS)
		answered = 0; /* rubbish of ours */
	for (; answered > 0; answered--, q->tx_seen++) {
		switch (q->tx->ring[q->tx_seen % SLOTS].rsp.status) {
		case XEN_NETIF_RSP_OKAY:
			okay++;
			break;
		case XEN_NETIF_RSP_ERROR:
			error++;
			break;
		case XEN_NETIF_RSP_NULL:
			null++;
			break;
		case XEN_NETIF_RSP_DROPPED:
			dropped++;
			break;
		default:
			strange++;
		}
	}
	snprintf(h->said, sizeof(h->said),
		 "okay %u error %u null %u dropped %u strange %u open %u backend %d\n", okay, error,
		 null, dropped, strange, q->tx_made - q->tx_seen, hostile_backend(h));
	return 0;
}

static int send(struct hostile *h)
{
	kick(victim(h));
	return collect(h, victim(h));
}

static void fine(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 60, 0);
}

/* `count` slots of `size` bytes; the first one says `total`. */
static void chain(struct hostile *h, unsigned int count, unsigned int total, unsigned int size,
		  bool ends)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		slot(victim(h), h->gref[i % HOSTILE_PAGES], 0, i ? size : total,
		     i + 1 < count || !ends ? XEN_NETTXF_more_data : 0);
}

/* ---- packets that are answered ---------------------------------------------- */

static int good(struct hostile *h)
{
	fine(h);
	slot(victim(h), h->readonly, 0, 60, 0); /* who only sends may grant so */
	return send(h);
}

static int large(struct hostile *h)
{
	chain(h, 2, 4096 + 1000, 1000, true);
	return send(h);
}

/* As long as the header allows, as long as a wire size can say. */
static int largest(struct hostile *h)
{
	chain(h, 16, 65535, 4096, true);
	return send(h);
}

static int tiny_slots(struct hostile *h)
{
	chain(h, 18, 18, 1, true);
	return send(h);
}

static int short_head(struct hostile *h)
{
	unsigned int first;

	for (first = 1; first <= ETH_HLEN; first++)
		chain(h, 2, first + 300, 300, true);
	return send(h);
}

static int same_id(struct hostile *h)
{
	struct hostile_queue *q = victim(h);
	unsigned int i;

	for (i = 0; i < 8; i++) {
		fine(h);
		q->tx->ring[(q->tx_made - 1) % SLOTS].req.id = 7;
	}
	return send(h);
}

/* Its own side of the ring is the backend's alone to say. */
static int answers_index(struct hostile *h)
{
	struct hostile_queue *q = victim(h);

	fine(h);
	q->tx->rsp_prod = RUBBISH;
	q->tx->rsp_event = RUBBISH;
	q->tx->req_event = RUBBISH;
	kick(q);
	msleep(200);
	return collect(h, q);
}

static int many_slots(struct hostile *h)
{
	chain(h, 40, 4000, 1, true);
	return send(h);
}

static int size_zero(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 0, 0);
	chain(h, 3, 100, 0, true);
	return send(h);
}

static int total_small(struct hostile *h)
{
	chain(h, 2, 100, 100, true);
	slot(victim(h), h->gref[0], 0, ETH_HLEN - 1, 0);
	return send(h);
}

static int bad_gref(struct hostile *h)
{
	/* In the table, just behind it, and nowhere near. */
	slot(victim(h), gnttab_max_grant_frames() * 512 - 1, 0, 60, 0);
	slot(victim(h), gnttab_max_grant_frames() * 512, 0, 60, 0);
	slot(victim(h), 0x7fffffff, 0, 60, 0);
	slot(victim(h), 0xffffffff, 0, 60, 0);
	/* Copied or mapped: the second page is not there. */
	slot(victim(h), h->gref[0], 0, 3000, XEN_NETTXF_more_data);
	slot(victim(h), 0x7fffffff, 0, 1000, 0);
	return send(h);
}

static int revoked(struct hostile *h)
{
	int ref = gnttab_grant_foreign_access(h->dev->otherend_id, xen_page_to_gfn(h->page[1]), 0);

	if (ref < 0)
		return ref;
	slot(victim(h), ref, 0, 60, 0);
	if (!gnttab_try_end_foreign_access(ref))
		return -EBUSY;
	return send(h);
}

/* Of a size that the header knows, but no use; and of what is not TCP. */
static int gso_of_rubbish(struct hostile *h)
{
	struct hostile_queue *q = victim(h);

	slot(q, h->gref[0], 0, 3000, XEN_NETTXF_extra_info | XEN_NETTXF_csum_blank);
	extra(q, XEN_NETIF_EXTRA_TYPE_GSO, 0, 1, XEN_NETIF_GSO_TYPE_TCPV4);
	slot(q, h->gref[0], 0, 4000, XEN_NETTXF_extra_info | XEN_NETTXF_csum_blank);
	extra(q, XEN_NETIF_EXTRA_TYPE_GSO, 0, 1400, XEN_NETIF_GSO_TYPE_TCPV4);
	slot(q, h->gref[0], 0, 60, XEN_NETTXF_extra_info);
	extra(q, XEN_NETIF_EXTRA_TYPE_GSO, 0, 65535, XEN_NETIF_GSO_TYPE_TCPV4);
	return send(h);
}

static int multicast(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 60, XEN_NETTXF_extra_info);
	extra(victim(h), XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 0, 0, 0);
	return send(h);
}

/* ---- breaches --------------------------------------------------------------- */

static int producer(struct hostile *h)
{
	victim(h)->tx_made += SLOTS + 1;
	return send(h);
}

static int producer_back(struct hostile *h)
{
	int ret = good(h);

	victim(h)->tx_made--;
	return ret ?: send(h);
}

static int rx_producer(struct hostile *h)
{
	victim(h)->rx->req_prod = SLOTS + 1;
	fine(h);
	return send(h);
}

static int chain_endless(struct hostile *h)
{
	chain(h, SLOTS, 60000, 1, false);
	return send(h);
}

static int chain_cut(struct hostile *h)
{
	chain(h, 3, 3000, 100, false);
	return send(h);
}

static int crosses_page(struct hostile *h)
{
	slot(victim(h), h->gref[0], 4000, 200, 0);
	return send(h);
}

static int crosses_later(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 1000, XEN_NETTXF_more_data);
	slot(victim(h), h->gref[1], 65535, 65535, 0);
	return send(h);
}

static int extra_endless(struct hostile *h)
{
	unsigned int i;

	slot(victim(h), h->gref[0], 0, 60, XEN_NETTXF_extra_info);
	for (i = 0; i < SLOTS - 1; i++)
		extra(victim(h), XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_FLAG_MORE, 0, 0);
	return send(h);
}

static int extra_cut(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 60, XEN_NETTXF_extra_info);
	return send(h);
}

static int extra_type(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 60, XEN_NETTXF_extra_info);
	extra(victim(h), 77, 0, 0, 0);
	return send(h);
}

static int gso_zero(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 3000, XEN_NETTXF_extra_info | XEN_NETTXF_csum_blank);
	extra(victim(h), XEN_NETIF_EXTRA_TYPE_GSO, 0, 0, XEN_NETIF_GSO_TYPE_TCPV4);
	return send(h);
}

static int gso_type(struct hostile *h)
{
	slot(victim(h), h->gref[0], 0, 3000, XEN_NETTXF_extra_info | XEN_NETTXF_csum_blank);
	extra(victim(h), XEN_NETIF_EXTRA_TYPE_GSO, 0, 1400, 9);
	return send(h);
}

/* ---- under the backend's hands ---------------------------------------------- */

static int flip(void *data)
{
	struct xen_netif_tx_request *req = data;
	unsigned int i;

	while (!kthread_should_stop()) {
		for (i = 0; i < SLOTS; i++) {
			WRITE_ONCE(req[i].size, get_random_u32());
			WRITE_ONCE(req[i].gref, get_random_u32());
			WRITE_ONCE(req[i].flags, get_random_u32() & 0xf);
			WRITE_ONCE(req[i].offset, get_random_u32());
		}
		cond_resched();
	}
	return 0;
}

/* Slots that change while they are read. */
static int double_fetch(struct hostile *h)
{
	struct hostile_queue *q = victim(h);
	struct task_struct *task = kthread_run(flip, q->tx->ring, "hostile-flip");
	unsigned int i, j;

	if (IS_ERR(task))
		return PTR_ERR(task);
	for (i = 0; i < 200 && hostile_backend(h) == XenbusStateConnected; i++) {
		for (j = 0; j < 16; j++)
			fine(h);
		kick(q);
		usleep_range(500, 1000);
	}
	kthread_stop(task);
	return collect(h, q);
}

/* The whole page, indices among it, some times over. */
static int rubbish(struct hostile *h)
{
	struct hostile_queue *q = victim(h);

	get_random_bytes(q->rx, PAGE_SIZE);
	get_random_bytes(q->tx, PAGE_SIZE);
	notify_remote_via_irq(q->irq);
	msleep(500);
	return collect(h, q);
}

static int storm(struct hostile *h)
{
	unsigned long end = jiffies + 5 * HZ;
	unsigned int sent = 0, i;

	while (time_before(jiffies, end)) {
		for (i = 0; i < 1000; i++, sent++)
			notify_remote_via_irq(victim(h)->irq);
		cond_resched();
	}
	snprintf(h->said, sizeof(h->said), "events %u backend %d\n", sent, hostile_backend(h));
	return 0;
}

static int port_closed(struct hostile *h)
{
	int irq = victim(h)->irq;

	if (irq)
		unbind_from_irqhandler(irq, victim(h));
	victim(h)->irq = 0;
	return 0;
}

static int ring_ended(struct hostile *h)
{
	snprintf(h->said, sizeof(h->said), "ended %d\n",
		 gnttab_try_end_foreign_access(victim(h)->tx_ref));
	return 0;
}

/* Buffers that cannot be written: not granted, and granted for reading. */
static int rx_bad(struct hostile *h)
{
	struct hostile_queue *q;
	unsigned int i;

	for (q = h->queue; q < h->queue + HOSTILE_QUEUES; q++) {
		for (i = 0; i < 128; i++, q->rx_made++) {
			q->rx->ring[q->rx_made % SLOTS].req.id = i;
			q->rx->ring[q->rx_made % SLOTS].req.gref = i & 1 ? h->readonly : 0x7fffffff;
		}
		virt_wmb(); /* the slots before the index */
		q->rx->req_prod = q->rx_made;
		notify_remote_via_irq(q->irq);
	}
	return 0;
}

static int flap(struct hostile *h)
{
	unsigned long end = jiffies + 3 * HZ;
	unsigned int times = 0;

	for (; time_before(jiffies, end); times++)
		xenbus_printf(XBT_NIL, h->dev->nodename, "state", "%u", get_random_u32() % 9);
	/* As close() left it: what it says next is said by itself. */
	h->dev->state = XenbusStateUnknown;
	snprintf(h->said, sizeof(h->said), "states %u\n", times);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct hostile *h);
} attacks[] = {
	{ "good", good },
	{ "large", large },
	{ "largest", largest },
	{ "tiny-slots", tiny_slots },
	{ "short-head", short_head },
	{ "same-id", same_id },
	{ "answers-index", answers_index },
	{ "many-slots", many_slots },
	{ "size-zero", size_zero },
	{ "total-small", total_small },
	{ "bad-gref", bad_gref },
	{ "revoked", revoked },
	{ "gso-of-rubbish", gso_of_rubbish },
	{ "multicast", multicast },
	{ "producer", producer },
	{ "producer-back", producer_back },
	{ "rx-producer", rx_producer },
	{ "chain-endless", chain_endless },
	{ "chain-cut", chain_cut },
	{ "crosses-page", crosses_page },
	{ "crosses-later", crosses_later },
	{ "extra-endless", extra_endless },
	{ "extra-cut", extra_cut },
	{ "extra-type", extra_type },
	{ "gso-zero", gso_zero },
	{ "gso-type", gso_type },
	{ "double-fetch", double_fetch },
	{ "rubbish", rubbish },
	{ "storm", storm },
	{ "port-closed", port_closed },
	{ "ring-ended", ring_ended },
	{ "rx-bad", rx_bad },
	{ "flap", flap },
};

int hostile_attack(struct hostile *h, const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(attacks); i++)
		if (!strcmp(attacks[i].name, name))
			return attacks[i].run(h);
	return -ENOENT;
}
