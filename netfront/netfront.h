/* SPDX-License-Identifier: GPL-2.0-only */
/* What the frontend's C files share. Never seen by C++. */
#ifndef XPV_NETFRONT_H
#define XPV_NETFRONT_H

#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/workqueue.h>

#include "net/still.h"
#include "netfront/abi.h"
#include "shim/shim.h"

struct page_pool;

struct netfront_queue {
	struct xpv_netfront_queue *core; /* of a usable queue, or a poller's */
	struct xpv_netfront_os *nf;
	struct page_pool *heads; /* of packets; no backend sees it */
	struct page_pool *pool;	 /* granted */
	struct napi_struct napi;
	struct hrtimer timer; /* polls, though no event came */
	bool late;	      /* it has fired since the last poll */
	bool looks;	      /* it is far off, for a stopped queue: the transmitter's */
	struct xpv_net_still still;
	u16 index;
};

/* The private data of a net device. */
struct xpv_netfront_os {
	struct xpv_xenbus bus;
	struct net_device *netdev;
	struct xpv_netfront *core;
	struct delayed_work peers_work; /* tells the neighbours where we are */
	struct dentry *debugfs;
	u32 max_queues;

	/* All below: written under rtnl. */
	struct xpv_net_features features;
	u32 count;		       /* connected queues */
	u32 usable;		       /* of them, now: net/teardown.h */
	bool live;		       /* queues are connected and not stopped */
	bool polling;		       /* their pollers are enabled */
	bool service;		       /* announced */
	struct netfront_queue *queues; /* max_queues of them */
};

extern const struct ethtool_ops netfront_ethtool_ops;

/* netdev.c */
struct net_device *netfront_netdev_new(struct xenbus_device *dev,
				       const struct xpv_net_settings *may);
void netfront_netdev_free(struct net_device *netdev);

/* xmit.c */
netdev_tx_t netfront_start_xmit(struct sk_buff *skb, struct net_device *dev);

/* napi.c */
int netfront_napi_add(struct netfront_queue *queue);
void netfront_napi_del(struct netfront_queue *queues, u32 count);
void netfront_napi_kick(struct netfront_queue *queue);
/* After a packet with an owner was sent, or the last that there was room for: poll within
 * a bounded time. Not netpoll's; under the transmit queue's lock. */
void netfront_napi_owned(struct netfront_queue *queue,
			 const struct xpv_netfront_queue *core);

/* debugfs.c */
void netfront_debugfs_init(void);
void netfront_debugfs_exit(void);
void netfront_debugfs_add(struct xpv_netfront_os *nf);

#endif
