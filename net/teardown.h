/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a vif's queues come and go under traffic, at both ends the same. For C shims.
 *
 * A net device has a number of usable queues, 0 while it has none. Who starts from
 * outside (start_xmit, statistics, an event that wants to schedule a poller) looks at the
 * number with xpv_net_usable(), in a section that synchronize_net() waits for: softirqs
 * off, an interrupt, or rcu_read_lock(). A queue goes in this order, under rtnl:
 *
 *   1. no new work      xpv_net_quiesce(): the number is 0, transmit queues are stopped, and
 *                       whoever saw another number is done.
 *   2. what runs ends   napi_disable() each poller, then cancel the timers, which a poller
 *                       starts, and the works that touch a queue; then synchronize_net(): a
 *                       poller that was told by napi_complete_done() that it is not scheduled
 *                       any more still pays an EOI. It read its pointers when it began, so
 *                       they may be cleared from now on and not before.
 *   3. take it away     event channels, grants or mappings; packets go back to their owners.
 *   4. free it          __netif_napi_del() each, one synchronize_net() for all, memory.
 *
 * A poller may wake a transmit queue between 1 and 2. That does no harm: start_xmit finds
 * no queue and drops.
 */
#ifndef XPV_NET_TEARDOWN_H
#define XPV_NET_TEARDOWN_H

#include <linux/netdevice.h>

/* How many queues may be used: those below it, until the section ends. */
static inline u32 xpv_net_usable(const u32 *usable)
{
	/* The number before the queues: pairs with xpv_net_make_usable(). */
	return smp_load_acquire(usable);
}

/* count queues are complete and their pollers enabled. */
static inline void xpv_net_make_usable(u32 *usable, u32 count)
{
	/* The queues before the number: pairs with xpv_net_usable(). */
	smp_store_release(usable, count);
}

/* Step 1. May sleep; again: no effect. */
static inline void xpv_net_quiesce(struct net_device *dev, u32 *usable)
{
	WRITE_ONCE(*usable, 0);
	netif_tx_stop_all_queues(dev);
	synchronize_net();
}

#endif
