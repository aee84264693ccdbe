// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: one end of a device. What is where: end.h. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/slab.h>
#include <xen/xen.h>

#include "shim/shim.h"

unsigned int xpv_end_enter(struct xpv_xenbus *bus)
{
	mutex_lock(&bus->end.lock);
	/* What an allocation waits for may be this device. */
	return memalloc_noio_save();
}

void xpv_end_exit(struct xpv_xenbus *bus, unsigned int flags)
{
	memalloc_noio_restore(flags);
	mutex_unlock(&bus->end.lock);
}

static int handle(struct xpv_xenbus *bus, enum xpv_event event)
{
	unsigned int flags = xpv_end_enter(bus);
	int err = bus->end.driver->handle(bus, event);

	xpv_end_exit(bus, flags);
	return err;
}

static void poke_work(struct work_struct *work)
{
	struct xpv_poke *poke =
		container_of(to_delayed_work(work), struct xpv_poke, work);

	handle(poke->bus, poke->event);
}

void xpv_end_poke(struct xpv_xenbus *bus, enum xpv_event event,
		  uint32_t delay_ms)
{
	static const u8 which[] = {
		[XPV_CHANGED] = XPV_POKE_CHANGED,
		[XPV_BROKE] = XPV_POKE_BROKE,
		[XPV_RENEW] = XPV_POKE_RENEW,
	};
	struct delayed_work *work = &bus->end.pokes[which[event]].work;
	struct workqueue_struct *works = bus->end.driver->works;

	if (delay_ms)
		queue_delayed_work(works, work, msecs_to_jiffies(delay_ms));
	else
		mod_delayed_work(works, work, 0);
}

bool xpv_end_wait(struct xpv_xenbus *bus, uint16_t mask, uint32_t timeout_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);

	for (;;) {
		unsigned int state =
			xenbus_read_driver_state(bus->dev->otherend);

		if (state < 16 && mask & BIT(state))
			return true;
		if (time_after(jiffies, end))
			return false;
		msleep(10);
	}
}

/* ---- the bus's calls ------------------------------------------------------ */

static void otherend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	xpv_end_poke(dev_get_drvdata(&dev->dev), XPV_CHANGED, 0);
}

/*
 * The nodes of our folder that the toolstack writes, and the watch's first event.
 * One pending event says all that many would: xenstore's queue stays short.
 */
static bool hotplug_will_handle(struct xenbus_watch *watch, const char *path,
				const char *token)
{
	struct xpv_xenbus *bus =
		container_of(watch, struct xpv_xenbus, end.watch);
	const char *own = bus->end.driver->node;
	const char *node = strrchr(path, '/');

	return watch->nr_pending == 0 && node++ &&
	       (!strcmp(node, "hotplug-status") || !strcmp(node, "online") ||
		(own && !strcmp(node, own)) || !strcmp(path, watch->node));
}

/* The driver's node in the other end's folder. */
static bool node_will_handle(struct xenbus_watch *watch, const char *path,
			     const char *token)
{
	return watch->nr_pending == 0;
}

static void node_changed(struct xenbus_watch *watch, const char *path,
			 const char *token)
{
	struct xpv_xenbus *bus =
		container_of(watch, struct xpv_xenbus, end.watch);

	xpv_end_poke(bus, XPV_CHANGED, 0);
}

static int watch_start(struct xpv_xenbus *bus)
{
	struct xenbus_device *dev = bus->dev;
	int err = xenbus_watch_pathfmt(dev, &bus->end.watch, hotplug_will_handle,
				       node_changed, "%s", dev->nodename);

	bus->end.watching = !err;
	return err;
}

/* Without it a frontend goes on, and does not hear of changes. */
static void node_watch_start(struct xpv_xenbus *bus)
{
	struct xenbus_watch *watch = &bus->end.watch;
	const char *node = bus->end.driver->node;

	if (!node)
		return;
	watch->node = kasprintf(GFP_NOIO, "%s/%s", bus->dev->otherend, node);
	watch->will_handle = node_will_handle;
	watch->callback = node_changed;
	bus->end.watching = watch->node && !register_xenbus_watch(watch);
	if (bus->end.watching)
		return;
	dev_warn(&bus->dev->dev, "cannot watch the backend's node %s\n", node);
	kfree(watch->node);
	watch->node = NULL;
}

static void watch_stop(struct xpv_xenbus *bus)
{
	if (!bus->end.watching)
		return;
	unregister_xenbus_watch(&bus->end.watch);
	kfree(bus->end.watch.node);
	memset(&bus->end.watch, 0, sizeof(bus->end.watch));
	bus->end.watching = false;
}

/* The bus has removed its watch of the other end. */
static void end_remove(struct xenbus_device *dev)
{
	struct xpv_xenbus *bus = dev_get_drvdata(&dev->dev);
	struct xpv_end_driver *driver = bus->end.driver;
	int i;

	watch_stop(bus);
	handle(bus, XPV_REMOVE);
	driver->withdraw(bus);
	for (i = 0; i < XPV_POKES; i++)
		cancel_delayed_work_sync(&bus->end.pokes[i].work);
	dev_set_drvdata(&dev->dev, NULL);
	driver->destroy(bus);
}

static struct xpv_end_driver *driver_of(struct xenbus_device *dev)
{
	struct xenbus_driver *driver = to_xenbus_driver(dev->dev.driver);

	return container_of(driver, struct xpv_end_driver, xenbus);
}

static int end_probe(struct xenbus_device *dev,
		     const struct xenbus_device_id *id)
{
	struct xpv_end_driver *driver = driver_of(dev);
	struct xpv_xenbus *bus = driver->create(dev);
	int err;

	if (IS_ERR(bus))
		return PTR_ERR(bus);
	dev_set_drvdata(&dev->dev, bus);
	if (!driver->backend) {
		/* A backend that cannot be talked to now may come round later. */
		handle(bus, XPV_PROBED);
		node_watch_start(bus);
		return 0;
	}
	xpv_end_poke(bus, XPV_CHANGED, 0);
	err = watch_start(bus);
	if (err)
		end_remove(dev);
	return err;
}

static int end_suspend(struct xenbus_device *dev)
{
	return handle(dev_get_drvdata(&dev->dev), XPV_SUSPEND);
}

/*
 * After save and restore or migration; a suspend that was cancelled does not come here,
 * and nothing was stopped for it. The bus knows the new other end already and watches its
 * state when this returns: the first look connects.
 */
static int end_resume(struct xenbus_device *dev)
{
	struct xpv_xenbus *bus = dev_get_drvdata(&dev->dev);

	if (!bus->end.driver->backend) {
		watch_stop(bus); /* it may be another folder */
		node_watch_start(bus);
	}
	return handle(bus, XPV_RESUMED);
}

void xpv_xenbus_init(struct xpv_xenbus *bus, struct xenbus_device *dev)
{
	static const enum xpv_event events[] = {
		[XPV_POKE_CHANGED] = XPV_CHANGED,
		[XPV_POKE_BROKE] = XPV_BROKE,
		[XPV_POKE_RENEW] = XPV_RENEW,
	};
	int i;

	bus->dev = dev;
	bus->transaction = XBT_NIL;
	ratelimit_state_init(&bus->log_limit, 60 * HZ, 40);
	ratelimit_state_init(&bus->error_limit, 60 * HZ, 10);
	bus->reported = false;
	bus->end.driver = driver_of(dev);
	bus->end.watching = false;
	mutex_init(&bus->end.lock);
	for (i = 0; i < XPV_POKES; i++) {
		bus->end.pokes[i].bus = bus;
		bus->end.pokes[i].event = events[i];
		INIT_DELAYED_WORK(&bus->end.pokes[i].work, poke_work);
	}
}

/* ---- the module ----------------------------------------------------------- */

/* -EBUSY when the stock driver is registered on the same bus. */
static int refuse_beside_stock(struct xpv_end_driver *driver)
{
	if (!driver_find(driver->type, driver->xenbus.driver.bus))
		return 0;
	pr_err("%s: the stock driver %s is loaded and owns the same devices: unload it (modprobe -r %s) or blacklist it in /etc/modprobe.d\n",
	       driver->xenbus.name, driver->stock, driver->stock);
	return -EBUSY;
}

int xpv_end_register(struct xpv_end_driver *driver)
{
	struct xenbus_driver *xenbus = &driver->xenbus;
	int err;

	if (!xen_domain()) {
		pr_err("%s: this machine does not run on Xen\n", xenbus->name);
		return -ENODEV;
	}
	if (driver->wanted && !driver->wanted()) {
		pr_err("%s: this domain uses emulated devices\n", xenbus->name);
		return -ENODEV;
	}
	/* Freezable: nobody speaks with the other end while this domain is being suspended. */
	driver->works = alloc_workqueue(
		"%s", WQ_FREEZABLE | WQ_UNBOUND | WQ_MEM_RECLAIM, 0, xenbus->name);
	if (!driver->works)
		return -ENOMEM;
	strscpy(driver->ids[0].devicetype, driver->type,
		sizeof(driver->ids[0].devicetype));
	xenbus->ids = driver->ids;
	xenbus->probe = end_probe;
	xenbus->remove = end_remove;
	xenbus->otherend_changed = otherend_changed;
	xenbus->suspend = end_suspend;
	xenbus->resume = end_resume;
	xenbus->allow_rebind = driver->backend;
	err = driver->backend ?
		      __xenbus_register_backend(xenbus, NULL, KBUILD_MODNAME) :
		      __xenbus_register_frontend(xenbus, NULL, KBUILD_MODNAME);
	if (err) {
		destroy_workqueue(driver->works);
		return err;
	}
	err = refuse_beside_stock(driver);
	if (err)
		xpv_end_unregister(driver);
	return err;
}

struct leaving {
	struct xenbus_watch watch;
	struct xpv_end_driver *driver;
	struct completion detached;
};

/* Leave as long as xenstore's events still come. */
static int leave_one(struct device *device, void *data)
{
	struct xpv_end_driver *driver = data;

	device_lock(device);
	if (device->driver == &driver->xenbus.driver && dev_get_drvdata(device))
		handle(dev_get_drvdata(device), XPV_REMOVE);
	device_unlock(device);
	return 0;
}

static int detach_one(struct device *device, void *data)
{
	struct xpv_end_driver *driver = data;

	if (READ_ONCE(device->driver) == &driver->xenbus.driver)
		device_release_driver(device);
	return 0;
}

/* In the xenwatch thread; more than once does no harm. */
static void detach_all(struct xenbus_watch *watch, const char *path,
		       const char *token)
{
	struct leaving *leaving = container_of(watch, struct leaving, watch);

	bus_for_each_dev(leaving->driver->xenbus.driver.bus, NULL,
			 leaving->driver, detach_one);
	complete_all(&leaving->detached);
}

static int is_bound(struct device *device, void *driver)
{
	return READ_ONCE(device->driver) == driver;
}

/*
 * driver_unregister() locks a device, and removing it waits for the xenwatch thread
 * to finish its present callback. That may be the bus, which unregisters a device
 * whose folder is gone, and waits for that device's lock: neither goes on, and no
 * guest of this host starts or stops any more. With a module that cannot be unloaded
 * in use it never happens; ours lets go of its devices in the thread itself, so that
 * the two are always taken in the bus's order.
 *
 * Over the bus's list, not the driver's: to leave that one, a device waits until
 * nobody looks at it.
 */
void xpv_end_unregister(struct xpv_end_driver *driver)
{
	static const struct xenbus_device_id nothing[] = { { "" } };
	struct device_driver *ours = &driver->xenbus.driver;
	/* Any node that this domain may read: a watch fires once when it is set. */
	struct leaving leaving = {
		.watch = { .node = "domid", .callback = detach_all },
		.driver = driver,
	};

	init_completion(&leaving.detached);
	/* A device that comes now is nobody's, or the next driver's. */
	WRITE_ONCE(driver->xenbus.ids, nothing);
	/* Frontends wait for the backend to let go, which wants the xenwatch thread free. */
	if (!driver->backend)
		bus_for_each_dev(ours->bus, NULL, driver, leave_one);
	/* Without a device there is nothing to detach, and maybe no xenstore. */
	if (bus_for_each_dev(ours->bus, NULL, ours, is_bound) &&
	    !register_xenbus_watch(&leaving.watch)) {
		/* If it never fires, the way of all drivers is better than none. */
		wait_for_completion_timeout(&leaving.detached, 60 * HZ);
		/* Waits for the callback that runs. */
		unregister_xenbus_watch(&leaving.watch);
	}
	xenbus_unregister_driver(&driver->xenbus);
	destroy_workqueue(driver->works);
}
