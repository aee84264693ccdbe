/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest's end of a vif that breaks the protocol on demand, for the lab. Linux's headers
 * and raw rings only: what it gets wrong it shall not share with the driver it is aimed at.
 */
#pragma once

#include <xen/grant_table.h>
#include <xen/interface/io/netif.h>
#include <xen/xenbus.h>

#define HOSTILE_QUEUES 2
#define HOSTILE_PAGES 4

struct hostile_queue {
	struct xen_netif_tx_sring *tx;
	struct xen_netif_rx_sring *rx;
	grant_ref_t tx_ref, rx_ref;
	RING_IDX tx_made, tx_seen; /* requests made, answers seen */
	RING_IDX rx_made;
	int irq; /* 0: closed */
};

struct hostile {
	struct xenbus_device *dev;
	bool connected;
	struct hostile_queue queue[HOSTILE_QUEUES];
	struct page *page[HOSTILE_PAGES]; /* what packets are made of */
	grant_ref_t gref[HOSTILE_PAGES];
	grant_ref_t readonly; /* page[0] once more */
	char said[256];
};

/* What connect() publishes of queue 1. */
enum hostile_lie { HOSTILE_HONEST,
		   HOSTILE_BAD_REF,
		   HOSTILE_BAD_PORT };

enum xenbus_state hostile_backend(struct hostile *h);
/* By its name; -ENOENT. `said` tells what came of it. May sleep. */
int hostile_attack(struct hostile *h, const char *name);
