/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A transmit queue that is stopped for as long as the other end likes: the guest is paused, the
 * backend gone or slow. That is no fault of ours and nothing to be reset, so the kernel's
 * watchdog, which calls it one with a backtrace, is not to fire. The driver minds such a queue
 * itself: its poller comes by once a second, says that it looks after it, and tells once when it
 * has stood still for long. The watchdog is left with a poller that does not come. For C shims.
 */
#ifndef XPV_NET_STILL_H
#define XPV_NET_STILL_H

#include <linux/jiffies.h>
#include <linux/netdevice.h>

/* Between two looks at a stopped queue. */
#define XPV_NET_LOOK_MS 1000
/* What is told. */
#define XPV_NET_STILL_MS 5000
/* The kernel's own; a whole domain may be paused, and one of its CPUs run before the others. */
#define XPV_NET_WATCHDOG (300 * HZ)

struct xpv_net_still {
	unsigned long since;   /* jiffies of the last packet */
	unsigned long vouched; /* what trans_start was made */
	bool told;
};

/* The queue may be stopped, and somebody looks after it. Any context. */
static inline void xpv_net_vouch(struct xpv_net_still *still, struct netdev_queue *txq)
{
	unsigned long last = READ_ONCE(txq->trans_start);

	if (last != still->vouched) { /* a packet was sent since */
		still->since = last;
		still->told = false;
	}
	txq_trans_cond_update(txq);
	still->vouched = READ_ONCE(txq->trans_start);
}

/*
 * The same by the poller. waits: for the other end, not for what we do ourselves. For how many
 * milliseconds the queue stands still, if that is to be told, otherwise 0.
 */
static inline u32 xpv_net_mind(struct xpv_net_still *still, struct netdev_queue *txq,
			       bool waits)
{
	u32 ms;

	xpv_net_vouch(still, txq);
	if (!waits)
		still->since = jiffies;
	ms = jiffies_to_msecs(jiffies - still->since);
	if (still->told || ms < XPV_NET_STILL_MS)
		return 0;
	still->told = true;
	return ms;
}

#endif
