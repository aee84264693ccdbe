// SPDX-License-Identifier: GPL-2.0-only
/* The xenbus driver: from the bus's calls to xpv_netback_handle(). */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/xenbus.h>

#include "netback/netback.h"

static void handle(struct xpv_vif *vif, enum xpv_netback_event event)
{
	mutex_lock(&vif->lock);
	xpv_netback_handle(vif->core, event);
	mutex_unlock(&vif->lock);
}

void xpv_vif_look(struct work_struct *work)
{
	struct xpv_vif *vif =
		container_of(to_delayed_work(work), struct xpv_vif, look);

	handle(vif, XPV_NETBACK_CHANGED);
}

void xpv_netback_vif_poke(struct xpv_vif *vif, uint32_t delay_ms)
{
	if (delay_ms)
		queue_delayed_work(xpv_vif_workqueue, &vif->look,
				   msecs_to_jiffies(delay_ms));
	else
		mod_delayed_work(xpv_vif_workqueue, &vif->look, 0);
}

/*
 * Watches only ask for a look: the xenwatch thread serves every device of this host,
 * and a disconnect takes as long as rtnl and grace periods do. The watch is gone before
 * the device's data is.
 */
static void frontend_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	xpv_netback_vif_poke(dev_get_drvdata(&dev->dev), 0);
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

	xpv_netback_vif_poke(vif, 0);
}

/*
 * For udev's scripts. Told with the event instead of by the driver's own uevent(): that
 * one is called for whoever reads the node in sysfs, at any time, also while the device
 * goes, or our code.
 */
static void tell_scripts(struct xpv_vif *vif, enum kobject_action action)
{
	char *name = kasprintf(GFP_KERNEL, "vif=%s", vif->dev->name);
	char *script = vif->script ?
			       kasprintf(GFP_KERNEL, "script=%s", vif->script) :
			       NULL;
	char *variables[3] = { NULL };

	variables[0] = name;
	variables[1] = script;
	kobject_uevent_env(&vif->bus.dev->dev.kobj, action,
			   name ? variables : NULL);
	kfree(script);
	kfree(name);
}

/* The bus has removed its watch of the other end. */
static void netback_remove(struct xenbus_device *dev)
{
	struct xpv_vif *vif = dev_get_drvdata(&dev->dev);

	if (vif->watching) {
		unregister_xenbus_watch(&vif->hotplug);
		kfree(vif->hotplug.node);
	}
	tell_scripts(vif, KOBJ_OFFLINE);
	handle(vif, XPV_NETBACK_REMOVE);
	/* Watches and pollers are gone, a look after REMOVE asks for no other. */
	cancel_delayed_work_sync(&vif->look);
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
	tell_scripts(vif, KOBJ_ONLINE);

	xpv_netback_vif_poke(vif, 0);
	err = xenbus_watch_pathfmt(dev, &vif->hotplug, hotplug_will_handle,
				   hotplug_changed, "%s", dev->nodename);
	if (err) {
		netback_remove(dev);
		return err;
	}
	vif->watching = true;
	return 0;
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
	.otherend_changed = frontend_changed,
	.allow_rebind = true,
};

int xpv_vif_register_driver(void)
{
	int err;

	/*
	 * Without an owner: the bus would hold the module as long as there is a
	 * guest. We can be unloaded in use.
	 */
	err = __xenbus_register_backend(&netback_driver, NULL, KBUILD_MODNAME);
	if (err)
		return err;
	err = xpv_refuse_beside(&netback_driver.driver, "vif", "xen-netback");
	if (err)
		xpv_vif_unregister_driver();
	return err;
}

void xpv_vif_unregister_driver(void)
{
	xpv_xenbus_unregister_driver(&netback_driver, NULL);
}
