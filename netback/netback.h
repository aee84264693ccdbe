/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the backend's C files share. Never seen by C++.
 */
#ifndef XPV_NETBACK_H
#define XPV_NETBACK_H

#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/seqlock.h>
#include <linux/skbuff.h>
#include <linux/timer.h>
#include <xen/xenbus.h>

#include "net/still.h"
#include "netback/abi.h"
#include "shim/shim.h"

struct dentry;
struct page_pool;

/* What only the shim sees happen, per queue. */
#define NETBACK_SHIM_COUNTERS(X)                                                 \
	X(tx_gso_fixups) /* GSO packets that came without csum_blank */          \
	X(tx_bad_csum)	 /* csum_blank on what has no such checksum */           \
	X(rx_stops)	 /* the queue was full */                                \
	X(rx_expired)	 /* dropped: the guest posted no buffers for too long */ \
	X(rx_shapeless)	 /* in too many pieces, and no memory to mend it */

struct netback_shim_counters {
#define X(name) u64 name;
	NETBACK_SHIM_COUNTERS(X)
#undef X
};

/* Pages that a queue keeps for packets from the guest: a ring full of slots. */
#define NETBACK_POOL_PAGES 256

/* Guest-RX pieces for one batch of packets. */
#define NETBACK_PIECES (16 * XPV_NETBACK_RX_PIECES)

struct netback_queue {
	struct xpv_netback_os *vif;
	struct xpv_netback_queue *core;
	u32 index;
	struct netback_shim_counters counters;

	struct napi_struct tx_napi;
	struct hrtimer tx_hold;		       /* polls when the vif's rate has credit again */
	struct page_pool *tx_heads, *tx_pages; /* for what is copied */
	struct netback_zerocopy *zerocopy;     /* NULL: all is copied */
	struct sk_buff *tx_skbs[XPV_NETBACK_BATCH];
	struct xpv_netback_tx_packet tx_packets[XPV_NETBACK_BATCH];

	/* Filled by start_xmit, which its lock orders with the poller. */
	struct sk_buff_head rx_queue ____cacheline_aligned_in_smp;
	u32 rx_queued_bytes; /* of it and of what is in form; its lock's */
	struct napi_struct rx_napi;
	struct timer_list rx_timer; /* looks again when no event will tell */
	struct hrtimer rx_hold;	    /* as tx_hold */
	struct xpv_net_still rx_still;
	/* Packets in form for the ring, from rx_first on not sent yet. */
	u32 rx_first, rx_count;
	bool rx_draining; /* there are no buffers: drop what comes */
	struct sk_buff *rx_skbs[XPV_NETBACK_BATCH];
	struct xpv_netback_rx_packet rx_packets[XPV_NETBACK_BATCH];
	struct xpv_netback_piece rx_pieces[NETBACK_PIECES];
};

/* The private part of a vif's net device. */
struct xpv_netback_os {
	struct net_device *dev;
	struct xpv_xenbus bus;
	struct xpv_netback *core;
	char *script; /* for our uevents; may be NULL */
	struct dentry *debugfs;

	/* rtnl protects these; start_xmit and statistics read under RCU. */
	u32 num_queues;	 /* queues that may be used */
	u32 made_queues; /* queues that exist */
	u32 counted;	 /* those that statistics add to the past: stats_lock */
	bool attached;	 /* pollers run while the device is up */
	bool polling;
	bool service;	/* xpv_netback_os_carrier() */
	bool link_down; /* the administrator's wish */
	bool withdrawn; /* nobody is to ask for events any more */
	struct xpv_net_features features;
	struct netback_queue *queues[XPV_NET_MAX_QUEUES];
	/* Of the connections that are over; queues come and go in it under stats_lock. */
	seqlock_t stats_lock;
	struct xpv_netback_counters past;
	struct netback_shim_counters past_shim;
};

/* params.c */
extern unsigned int netback_rx_queue_bytes;
extern unsigned int netback_rx_drain_timeout_ms;
extern unsigned int netback_rx_stall_timeout_ms;
extern unsigned int netback_tx_map_threshold;
void netback_settings(struct xpv_netback_settings *settings);

/* netdev.c: a registered net device, or an ERR_PTR. */
struct xpv_netback_os *netback_netdev_new(struct xenbus_device *dev, unsigned int handle);
void netback_netdev_withdraw(struct xpv_netback_os *vif);
void netback_netdev_free(struct xpv_netback_os *vif);

/* zerocopy.c: packets in mapped pages */
struct netback_zerocopy *netback_zerocopy_create(struct netback_queue *queue,
						 struct xpv_netback_map *map);
/* Never used. */
void netback_zerocopy_free(struct netback_zerocopy *zerocopy);
/* The queue's poller does not run any more: packets that come back wake nobody, once
 * a grace period is over. NULL is allowed, as below. */
void netback_zerocopy_orphan(struct netback_zerocopy *zerocopy);
/* After it: unmap the rest as it comes back. */
void netback_zerocopy_retire(struct netback_zerocopy *zerocopy);
void netback_zerocopy_add_frags(struct netback_zerocopy *zerocopy,
				struct sk_buff *skb,
				const struct xpv_netback_tx_packet *p);
/* From now on the skb's end is noticed. */
void netback_zerocopy_arm(struct netback_zerocopy *zerocopy, struct sk_buff *skb,
			  const struct xpv_netback_tx_packet *p);
/* The module's beginning and end; no packet of any vif is out when the latter returns. */
int netback_zerocopy_init(void);
void netback_zerocopy_exit(void);

/* poll_tx.c, poll_rx.c */
void netback_tx_init(struct netback_queue *queue);
int netback_tx_poll(struct napi_struct *napi, int budget);
void netback_rx_init(struct netback_queue *queue);
int netback_rx_poll(struct napi_struct *napi, int budget);
netdev_tx_t netback_start_xmit(struct sk_buff *skb, struct net_device *dev);
void netback_tx_timeout(struct net_device *dev, unsigned int index);
/* The poller does not run: give up what waits. */
void netback_rx_purge(struct netback_queue *queue);

/* pieces.c: up to XPV_NETBACK_RX_PIECES of a packet; 0: it needs more, and there is no memory
 * to mend it. */
u32 netback_pieces(struct sk_buff *skb, struct xpv_netback_piece *pieces);

/* ethtool.c */
extern const struct ethtool_ops netback_ethtool_ops;
void netback_fold_counters(struct xpv_netback_os *vif);
void netback_get_stats64(struct net_device *dev,
			 struct rtnl_link_stats64 *stats);

/* debugfs.c */
void netback_debugfs_init(void);
void netback_debugfs_exit(void);
void netback_debugfs_add(struct xpv_netback_os *vif);
void netback_debugfs_remove(struct xpv_netback_os *vif);

#endif
