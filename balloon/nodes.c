// SPDX-License-Identifier: GPL-2.0-only
/* balloon/abi.h: this domain's nodes in xenstore, and messages. */
#define pr_fmt(fmt) "xpv-balloon: " fmt

#include <linux/err.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "balloon/balloon.h"
#include "shim/shim.h"

int xpv_balloon_os_read(struct xpv_balloon_os *os, const char *key,
			char *buffer, uint32_t size)
{
	return xpv_xs_copy(XBT_NIL, key, "", buffer, size);
}

int xpv_balloon_os_write(struct xpv_balloon_os *os, const char *key,
			 const char *text)
{
	return xenbus_write(XBT_NIL, key, "", text);
}

void xpv_balloon_os_log(struct xpv_balloon_os *os, enum xpv_log_level level,
			const char *format, ...)
{
	struct va_format message;
	va_list arguments;

	va_start(arguments, format);
	message.fmt = format;
	message.va = &arguments;
	switch (level) {
	case XPV_LOG_ERR:
		pr_err_ratelimited("%pV\n", &message);
		break;
	case XPV_LOG_WARN:
		pr_warn_ratelimited("%pV\n", &message);
		break;
	case XPV_LOG_INFO:
		pr_info_ratelimited("%pV\n", &message);
		break;
	}
	va_end(arguments);
}

/* In the xenwatch thread, which serves all devices: it only asks for a look. But Linux's
 * driver has had its call for this event just now, and is at work already.
 */
static void target_changed(struct xenbus_watch *watch, const char *path,
			   const char *token)
{
	struct xpv_balloon_os *os = container_of(watch, struct xpv_balloon_os, target);

	if (READ_ONCE(os->still))
		balloon_stock_still();
	balloon_poke(os, XPV_BALLOON_TARGET_NODE);
}

static void limit_changed(struct xenbus_watch *watch, const char *path,
			  const char *token)
{
	balloon_poke(container_of(watch, struct xpv_balloon_os, static_max),
		     XPV_BALLOON_TARGET_NODE);
}

static void gauge_changed(struct xenbus_watch *watch, const char *path,
			  const char *token)
{
	balloon_poke(container_of(watch, struct xpv_balloon_os, gauge),
		     XPV_BALLOON_GAUGE_NODE);
}

int balloon_watch(struct xpv_balloon_os *os)
{
	struct xenbus_watch *const watches[] = { &os->target, &os->static_max,
						 &os->gauge };
	int i, err;

	os->target.node = "memory/target";
	os->target.callback = target_changed;
	os->static_max.node = "memory/static-max";
	os->static_max.callback = limit_changed;
	os->gauge.node = "memory/xpv-gauge";
	os->gauge.callback = gauge_changed;
	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		err = register_xenbus_watch(watches[i]);
		if (err) {
			pr_err("no watch on %s: error %d\n", watches[i]->node,
			       err);
			balloon_unwatch(os);
			return err;
		}
		os->watching[i] = true;
	}
	return 0;
}

void balloon_unwatch(struct xpv_balloon_os *os)
{
	struct xenbus_watch *const watches[] = { &os->target, &os->static_max,
						 &os->gauge };
	int i;

	for (i = 0; i < ARRAY_SIZE(watches); i++) {
		if (os->watching[i])
			unregister_xenbus_watch(watches[i]);
		os->watching[i] = false;
	}
}
