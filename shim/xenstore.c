// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: xenstore, states, messages; and module-level checks. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/jiffies.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "shim/shim.h"

int xpv_xs_read(struct xpv_xenbus *bus, enum xpv_xs_dir dir, const char *key,
		char *buffer, uint32_t size)
{
	const char *folder = dir == XPV_XS_PEER ? bus->dev->otherend :
						  bus->dev->nodename;
	unsigned int length;
	char *text;

	text = xenbus_read(bus->transaction, folder, key, &length);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (length >= size || strlen(text) != length) {
		kfree(text);
		return -E2BIG;
	}
	memcpy(buffer, text, length + 1);
	kfree(text);
	return length;
}

int xpv_xs_begin(struct xpv_xenbus *bus)
{
	return xenbus_transaction_start(&bus->transaction);
}

int xpv_xs_write(struct xpv_xenbus *bus, const char *key, const char *text)
{
	return xenbus_write(bus->transaction, bus->dev->nodename, key, text);
}

int xpv_xs_remove(struct xpv_xenbus *bus, const char *key)
{
	return xenbus_rm(bus->transaction, bus->dev->nodename, key);
}

int xpv_xs_end(struct xpv_xenbus *bus, bool abort)
{
	struct xenbus_transaction transaction = bus->transaction;

	bus->transaction = XBT_NIL;
	return xenbus_transaction_end(transaction, abort);
}

int xpv_xenbus_switch(struct xpv_xenbus *bus, uint32_t state)
{
	return xenbus_switch_state(bus->dev, state);
}

uint16_t xpv_xenbus_peer(const struct xpv_xenbus *bus)
{
	return bus->dev->otherend_id;
}

void xpv_log(const struct xpv_xenbus *bus, enum xpv_log_level level,
	     const char *format, ...)
{
	struct va_format message;
	va_list arguments;

	/* Of all of bus, only this is ours to change. */
	if (!__ratelimit((struct ratelimit_state *)&bus->log_limit))
		return;
	va_start(arguments, format);
	message.fmt = format;
	message.va = &arguments;
	switch (level) {
	case XPV_LOG_ERR:
		dev_err(&bus->dev->dev, "%pV\n", &message);
		break;
	case XPV_LOG_WARN:
		dev_warn(&bus->dev->dev, "%pV\n", &message);
		break;
	case XPV_LOG_INFO:
		dev_info(&bus->dev->dev, "%pV\n", &message);
		break;
	}
	va_end(arguments);
}

void xpv_end_report(struct xpv_xenbus *bus, int error, const char *format, ...)
{
	struct va_format message;
	va_list arguments;

	if (!__ratelimit(&bus->error_limit))
		return;
	va_start(arguments, format);
	message.fmt = format;
	message.va = &arguments;
	xenbus_dev_error(bus->dev, error, "%pV", &message);
	va_end(arguments);
	bus->reported = true;
}

void xpv_xenbus_well(struct xpv_xenbus *bus)
{
	char *folder;

	if (!bus->reported)
		return;
	bus->reported = false;
	/* Where xenbus_dev_error() puts it. */
	folder = kasprintf(GFP_KERNEL, "error/%s", bus->dev->nodename);
	if (folder)
		xenbus_rm(XBT_NIL, folder, "");
	kfree(folder);
}

int xpv_refuse_beside(struct device_driver *ours, const char *stock_driver,
		      const char *stock_module)
{
	if (!driver_find(stock_driver, ours->bus))
		return 0;
	pr_err("%s: the stock driver %s is loaded and owns the same devices: unload it (modprobe -r %s) or blacklist it in /etc/modprobe.d\n",
	       ours->name, stock_module, stock_module);
	return -EBUSY;
}

struct leaving {
	struct xenbus_watch watch;
	struct xenbus_driver *driver;
	void (*leave)(struct xenbus_device *device);
	struct completion detached;
};

static int leave_one(struct device *device, void *data)
{
	struct leaving *leaving = data;

	device_lock(device);
	if (device->driver == &leaving->driver->driver)
		leaving->leave(to_xenbus_device(device));
	device_unlock(device);
	return 0;
}

static int detach_one(struct device *device, void *data)
{
	struct leaving *leaving = data;

	if (READ_ONCE(device->driver) == &leaving->driver->driver)
		device_release_driver(device);
	return 0;
}

/* In the xenwatch thread; more than once does no harm. */
static void detach_all(struct xenbus_watch *watch, const char *path,
		       const char *token)
{
	struct leaving *leaving = container_of(watch, struct leaving, watch);

	bus_for_each_dev(leaving->driver->driver.bus, NULL, leaving, detach_one);
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
void xpv_xenbus_unregister_driver(struct xenbus_driver *driver,
				  void (*leave)(struct xenbus_device *device))
{
	static const struct xenbus_device_id nothing[] = { { "" } };
	/* Any node that this domain may read: a watch fires once when it is set. */
	struct leaving leaving = {
		.watch = { .node = "domid", .callback = detach_all },
		.driver = driver,
		.leave = leave,
	};

	init_completion(&leaving.detached);
	/* A device that comes now is nobody's, or the next driver's. */
	WRITE_ONCE(driver->ids, nothing);
	if (leave)
		bus_for_each_dev(driver->driver.bus, NULL, &leaving, leave_one);
	/* Without a device there is nothing to detach, and maybe no xenstore. */
	if (bus_for_each_dev(driver->driver.bus, NULL, &driver->driver, is_bound) &&
	    !register_xenbus_watch(&leaving.watch)) {
		/* If it never fires, the way of all drivers is better than none. */
		wait_for_completion_timeout(&leaving.detached, 60 * HZ);
		/* Waits for the callback that runs. */
		unregister_xenbus_watch(&leaving.watch);
	}
	xenbus_unregister_driver(driver);
}

bool xpv_wait_peer(struct xenbus_device *dev, u16 mask, unsigned int timeout_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);

	for (;;) {
		unsigned int state = xenbus_read_driver_state(dev->otherend);

		if (state < 16 && mask & BIT(state))
			return true;
		if (time_after(jiffies, end))
			return false;
		msleep(10);
	}
}
