/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the drivers' C files share: the types behind core/kapi.h's handles and
 * the module-level checks. Never seen by C++.
 */
#ifndef XPV_SHIM_H
#define XPV_SHIM_H

#include <linux/device.h>
#include <linux/mm_types.h>
#include <linux/ratelimit.h>
#include <xen/xenbus.h>

#include "core/kapi.h"

/* Embed one in each device's private data. */
struct xpv_xenbus {
	struct xenbus_device *dev;
	struct xenbus_transaction transaction; /* XBT_NIL outside one */
	/* Of this device's lines: a guest that makes us talk silences no other's. */
	struct ratelimit_state log_limit, error_limit;
	bool reported; /* our error node is there */
};

static inline void xpv_xenbus_init(struct xpv_xenbus *bus,
				   struct xenbus_device *dev)
{
	bus->dev = dev;
	bus->transaction = XBT_NIL;
	ratelimit_state_init(&bus->log_limit, 60 * HZ, 40);
	ratelimit_state_init(&bus->error_limit, 60 * HZ, 10);
	bus->reported = false;
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
 * Instead of xenbus_unregister_driver(), for a driver without an owner, whose devices
 * may be in use. leave (may be NULL) is called for each device first, the device
 * locked; then the devices are detached inside the xenwatch thread. No device is
 * probed from the beginning on. May sleep; not from a watch's callback.
 */
void xpv_xenbus_unregister_driver(struct xenbus_driver *driver,
				  void (*leave)(struct xenbus_device *device));

/*
 * Poll the other end's state node until its bit (1 << state) is in mask, or
 * for at most timeout_ms milliseconds; returns whether it is. May sleep.
 */
bool xpv_wait_peer(struct xenbus_device *dev, u16 mask, unsigned int timeout_ms);

#endif
