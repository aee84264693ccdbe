// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: xenstore, states, messages. */
#include <linux/device.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "shim/shim.h"

int xpv_xs_copy(struct xenbus_transaction transaction, const char *folder,
		const char *key, char *buffer, uint32_t size)
{
	unsigned int length;
	char *text = xenbus_read(transaction, folder, key, &length);

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

int xpv_xs_read(struct xpv_xenbus *bus, enum xpv_xs_dir dir, const char *key,
		char *buffer, uint32_t size)
{
	return xpv_xs_copy(bus->transaction,
			   dir == XPV_XS_PEER ? bus->dev->otherend : bus->dev->nodename, key,
			   buffer, size);
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
