/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the drivers' C files share: the types behind core/kapi.h's handles and
 * the module-level checks. Never seen by C++.
 */
#ifndef XPV_SHIM_H
#define XPV_SHIM_H

#include <linux/device.h>
#include <linux/mm_types.h>
#include <xen/xenbus.h>

#include "core/kapi.h"

/* Embed one in each device's private data. */
struct xpv_xenbus {
	struct xenbus_device *dev;
	struct xenbus_transaction transaction; /* XBT_NIL outside one */
};

static inline void xpv_xenbus_init(struct xpv_xenbus *bus,
				   struct xenbus_device *dev)
{
	bus->dev = dev;
	bus->transaction = XBT_NIL;
}

static inline struct page *xpv_to_page(struct xpv_page *page)
{
	return (struct page *)page;
}

static inline struct xpv_page *xpv_from_page(struct page *page)
{
	return (struct xpv_page *)page;
}

/*
 * After registering ours: -EBUSY, with a line that says what to do, when the
 * stock driver of the given name is registered on the same bus.
 */
int xpv_refuse_beside(struct device_driver *ours, const char *stock_driver,
		      const char *stock_module);

/*
 * Unregister, when the module goes. leave (NULL allowed) is called before for each
 * device, with its lock held: for what takes long, and for what needs xenstore's events.
 */
void xpv_xenbus_unregister_driver(struct xenbus_driver *driver,
				  void (*leave)(struct xenbus_device *dev));

/*
 * Poll the other end's state node until its bit (1 << state) is in mask, or
 * for at most timeout_ms milliseconds; returns whether it is. May sleep.
 */
bool xpv_wait_peer(struct xenbus_device *dev, u16 mask, unsigned int timeout_ms);

#endif
