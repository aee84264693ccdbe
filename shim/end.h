/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One end of a device on the xenbus, all of its life: what core/end.hpp is in C++. A
 * driver says how a device is made and unmade; registration, works, watches, suspend and
 * leaving are here. Never seen by C++.
 *
 *	probe			create(), then PROBED (frontends) or a look (backends)
 *	the other end, a node	a look in a work, never in the watch: the xenwatch thread
 *				serves every device of this domain
 *	suspend, resume		SUSPEND, RESUMED; works are frozen in between
 *	remove			REMOVE, withdraw(), works end, destroy()
 */
#ifndef XPV_SHIM_END_H
#define XPV_SHIM_END_H

#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "core/kapi.h"

struct xpv_end_driver {
	/* .name is the module's; a driver may add .is_ready. The rest is xpv_end_register()'s. */
	struct xenbus_driver xenbus;
	const char *type;  /* of its devices: "vif" */
	const char *stock; /* Linux's module for the same devices */
	bool backend;
	/* A node that is looked at when it changes; NULL: none. Of a backend's own folder, or a
	 * frontend's other end's. */
	const char *node;
	bool (*wanted)(void); /* this domain has such devices; NULL: each does */

	/* A device's data, or an ERR_PTR that the toolstack was told of. */
	struct xpv_xenbus *(*create)(struct xenbus_device *dev);
	/* To C++; one at a time per device, and what it allocates waits for no I/O. */
	int (*handle)(struct xpv_xenbus *bus, enum xpv_event event);
	/* After REMOVE: whoever may ask for events, users for one, does so no more. */
	void (*withdraw)(struct xpv_xenbus *bus);
	/* Nothing runs any more: undo create(). */
	void (*destroy)(struct xpv_xenbus *bus);

	struct workqueue_struct *works; /* freezable; for the driver's own, too */
	struct xenbus_device_id ids[2];
};

/* An event of core/end.hpp that is due in a while. */
struct xpv_poke {
	struct delayed_work work;
	struct xpv_xenbus *bus;
	enum xpv_event event;
};
enum { XPV_POKE_CHANGED,
       XPV_POKE_BROKE,
       XPV_POKE_RENEW,
       XPV_POKES };

/* Part of struct xpv_xenbus. */
struct xpv_end {
	struct xpv_end_driver *driver;
	struct mutex lock; /* around handle(); a driver's for what it must not meet */
	struct xpv_poke pokes[XPV_POKES];
	/* A backend's folder, for nodes that the toolstack writes; a frontend's, for the
	 * driver's node. */
	struct xenbus_watch watch;
	bool watching;
};

/*
 * From a module's init: 0, or -errno with a line in the log. Without an owner: the bus
 * would hold the module as long as there is a device, but ours can be left in use.
 */
int xpv_end_register(struct xpv_end_driver *driver);
/* From its exit; every device was removed when it returns. */
void xpv_end_unregister(struct xpv_end_driver *driver);

/* Serialised with handle(), and under its rule for allocations. Process context. */
unsigned int xpv_end_enter(struct xpv_xenbus *bus);
void xpv_end_exit(struct xpv_xenbus *bus, unsigned int flags);

#endif
