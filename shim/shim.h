/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the drivers' C files share: the types behind core/kapi.h's handles. Never seen by
 * C++.
 */
#ifndef XPV_SHIM_H
#define XPV_SHIM_H

#include <linux/device.h>
#include <linux/mm_types.h>
#include <linux/ratelimit.h>
#include <xen/xenbus.h>

#include "core/kapi.h"
#include "shim/end.h"

/* Embed one in each device's private data. */
struct xpv_xenbus {
	struct xenbus_device *dev;
	struct xenbus_transaction transaction; /* XBT_NIL outside one */
	/* Of this device's lines: a guest that makes us talk silences no other's. */
	struct ratelimit_state log_limit, error_limit;
	bool reported; /* our error node is there */
	struct xpv_end end;
};

/* When create() makes the device's data. */
void xpv_xenbus_init(struct xpv_xenbus *bus, struct xenbus_device *dev);

/* A node's text: its length, or -errno; -E2BIG if buffer is too small or a NUL is in it.
 * May sleep.
 */
int xpv_xs_copy(struct xenbus_transaction transaction, const char *folder,
		const char *key, char *buffer, uint32_t size);

static inline struct page *xpv_to_page(struct xpv_page *page)
{
	return (struct page *)page;
}

static inline struct xpv_page *xpv_from_page(struct page *page)
{
	return (struct xpv_page *)page;
}

#endif
