// SPDX-License-Identifier: GPL-2.0-only
/* The xenbus driver: from the bus's calls to xpv_netback_handle(). */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <xen/xenbus.h>

#include "netback/netback.h"

/* True: the device has to be unregistered. */
static bool handle(struct xpv_vif *vif, enum xpv_netback_event event)
{
	bool leave;

	mutex_lock(&vif->lock);
	leave = xpv_netback_handle(vif->core, event);
	mutex_unlock(&vif->lock);
	return leave;
}

void xpv_vif_broken_work(struct work_struct *work)
{
	struct xpv_vif *vif = container_of(work, struct xpv_vif, broken);

	/* A step away from service, never the last: nothing to unregister. */
	handle(vif, XPV_NETBACK_BROKE);
}

void xpv_netback_vif_broken(struct xpv_vif *vif)
{
	queue_work(system_long_wq, &vif->broken);
}

void xpv_netback_vif_report(struct xpv_vif *vif, const char *why, uint32_t queue,
			    uint32_t value)
{
	xenbus_dev_error(vif->bus.dev, -EPROTO, "device stopped: %s (queue %u, value %d)",
			 why, queue, (int)value);
}

static void frontend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	struct xpv_vif *vif = dev_get_drvdata(&dev->dev);

	if (vif && handle(vif, XPV_NETBACK_CHANGED))
		device_unregister(&dev->dev); /* calls netback_remove() */
}

/*
 * The nodes of our folder that the toolstack writes, and the watch's first event.
 * One pending event says all that many would: xenstore's queue stays short.
 */
static bool hotplug_will_handle(struct xenbus_watch *watch, const char *path,
				const char *token)
{
	const char *node = strrchr(path, '/');

	return watch->nr_pending == 0 && node &&
	       (!strcmp(node, "/hotplug-status") || !strcmp(node, "/online") ||
		!strcmp(path, watch->node));
}

static void hotplug_changed(struct xenbus_watch *watch, const char *path,
			    const char *token)
{
	struct xpv_vif *vif = container_of(watch, struct xpv_vif, hotplug);
	struct xenbus_device *dev = vif->bus.dev;

	if (handle(vif, XPV_NETBACK_CHANGED))
		device_unregister(&dev->dev);
}

static void netback_remove(struct xenbus_device *dev)
{
	struct xpv_vif *vif = dev_get_drvdata(&dev->dev);

	if (!vif)
		return;
	if (vif->watching) {
		unregister_xenbus_watch(&vif->hotplug);
		kfree(vif->hotplug.node);
	}
	kobject_uevent(&dev->dev.kobj, KOBJ_OFFLINE);
	handle(vif, XPV_NETBACK_REMOVE);
	/* Nothing can schedule it any more. */
	cancel_work_sync(&vif->broken);
	dev_set_drvdata(&dev->dev, NULL);
	xpv_netback_destroy(vif->core);
	xpv_vif_destroy(vif);
}

static int netback_probe(struct xenbus_device *dev,
			 const struct xenbus_device_id *id)
{
	struct xpv_netback_settings settings;
	struct xpv_vif *vif;
	unsigned int handle_number;
	char *script;
	int err;

	err = xenbus_scanf(XBT_NIL, dev->nodename, "handle", "%u",
			   &handle_number);
	if (err != 1) {
		err = err < 0 ? err : -EINVAL;
		xenbus_dev_fatal(dev, err, "reading %s/handle", dev->nodename);
		return err;
	}
	vif = xpv_vif_create(dev, handle_number);
	if (IS_ERR(vif)) {
		xenbus_dev_fatal(dev, PTR_ERR(vif), "creating vif%u.%u",
				 dev->otherend_id, handle_number);
		return PTR_ERR(vif);
	}
	xpv_vif_settings(&settings);
	vif->core = xpv_netback_create(&vif->bus, vif, &settings);
	if (!vif->core) {
		xenbus_dev_fatal(dev, -ENOMEM, "allocating the device");
		xpv_vif_destroy(vif);
		return -ENOMEM;
	}
	script = xenbus_read(XBT_NIL, dev->nodename, "script", NULL);
	vif->script = IS_ERR(script) ? NULL : script;
	dev_set_drvdata(&dev->dev, vif);
	/* The scripts that this starts find the net device. */
	kobject_uevent(&dev->dev.kobj, KOBJ_ONLINE);

	/* The bus looks at the other end's state once probe is over. */
	handle(vif, XPV_NETBACK_CHANGED);
	err = xenbus_watch_pathfmt(dev, &vif->hotplug, hotplug_will_handle,
				   hotplug_changed, "%s", dev->nodename);
	if (err) {
		netback_remove(dev);
		return err;
	}
	vif->watching = true;
	return 0;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
static int netback_uevent(const struct xenbus_device *dev,
			  struct kobj_uevent_env *env)
#else
static int netback_uevent(struct xenbus_device *dev,
			  struct kobj_uevent_env *env)
#endif
{
	struct xpv_vif *vif = dev_get_drvdata(&dev->dev);

	if (!vif)
		return 0;
	if (vif->script && add_uevent_var(env, "script=%s", vif->script))
		return -ENOMEM;
	return add_uevent_var(env, "vif=%s", vif->dev->name);
}

static const struct xenbus_device_id netback_ids[] = {
	{ "vif" },
	{ "" },
};

static struct xenbus_driver netback_driver = {
	.name = "xpv-netback",
	.ids = netback_ids,
	.probe = netback_probe,
	.remove = netback_remove,
	.uevent = netback_uevent,
	.otherend_changed = frontend_changed,
	.allow_rebind = true,
};

int xpv_vif_register_driver(void)
{
	int err;

	/*
	 * Without an owner: the bus would hold the module as long as there is a
	 * guest, but leaving a device with its guest up is what we can.
	 */
	err = __xenbus_register_backend(&netback_driver, NULL, KBUILD_MODNAME);
	if (err)
		return err;
	err = xpv_refuse_beside(&netback_driver.driver, "vif", "xen-netback");
	if (err)
		xenbus_unregister_driver(&netback_driver);
	return err;
}

void xpv_vif_unregister_driver(void)
{
	xenbus_unregister_driver(&netback_driver);
}
