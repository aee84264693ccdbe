// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: xenstore, states, messages; and module-level checks. */
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
	static DEFINE_RATELIMIT_STATE(limit, 5 * HZ, 40);
	struct va_format message;
	va_list arguments;

	if (!__ratelimit(&limit))
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
	const struct device_driver *driver;
	void (*leave)(struct xenbus_device *dev);
};

static int leave_device(struct device *dev, void *data)
{
	const struct leaving *leaving = data;

	device_lock(dev);
	if (dev->driver == leaving->driver)
		leaving->leave(to_xenbus_device(dev));
	device_unlock(dev);
	return 0;
}

void xpv_xenbus_unregister_driver(struct xenbus_driver *driver,
				  void (*leave)(struct xenbus_device *dev))
{
	struct leaving leaving = { &driver->driver, leave };

	if (leave)
		WARN_ON(driver_for_each_device(&driver->driver, NULL, &leaving,
					       leave_device));
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
