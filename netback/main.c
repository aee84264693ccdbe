// SPDX-License-Identifier: GPL-2.0-only
/*
 * xpv-netback: Xen's virtual network interfaces as the guests' other end; the
 * module, and how a device is made and unmade. xen/io/netif.h is the protocol, abi.h
 * the way to the C++ that speaks it.
 */
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <xen/xenbus.h>

#include "netback/netback.h"

static struct xpv_netback_os *os_of(struct xpv_xenbus *bus)
{
	return container_of(bus, struct xpv_netback_os, bus);
}

static int netback_handle(struct xpv_xenbus *bus, enum xpv_event event)
{
	return xpv_netback_handle(os_of(bus)->core, event);
}

/*
 * For udev's scripts. Told with the event instead of by the driver's own uevent(): that
 * one is called for whoever reads the node in sysfs, at any time, also while the device
 * goes, or our code.
 */
static void tell_scripts(struct xpv_netback_os *vif, enum kobject_action action)
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

static struct xpv_xenbus *netback_create(struct xenbus_device *dev)
{
	struct xpv_netback_settings settings;
	struct xpv_netback_os *vif;
	unsigned int number;
	char *script;
	int err;

	err = xenbus_scanf(XBT_NIL, dev->nodename, "handle", "%u", &number);
	if (err != 1) {
		err = err < 0 ? err : -EINVAL;
		xenbus_dev_fatal(dev, err, "reading %s/handle", dev->nodename);
		return ERR_PTR(err);
	}
	vif = netback_netdev_new(dev, number);
	if (IS_ERR(vif)) {
		xenbus_dev_fatal(dev, PTR_ERR(vif), "creating vif%u.%u",
				 dev->otherend_id, number);
		return ERR_CAST(vif);
	}
	netback_settings(&settings);
	vif->core = xpv_netback_create(&vif->bus, vif, &settings);
	if (!vif->core) {
		xenbus_dev_fatal(dev, -ENOMEM, "allocating the device");
		netback_netdev_free(vif);
		return ERR_PTR(-ENOMEM);
	}
	script = xenbus_read(XBT_NIL, dev->nodename, "script", NULL);
	vif->script = IS_ERR(script) ? NULL : script;
	/* The scripts that this starts find the net device. */
	tell_scripts(vif, KOBJ_ONLINE);
	return &vif->bus;
}

static void netback_withdraw(struct xpv_xenbus *bus)
{
	netback_netdev_withdraw(os_of(bus));
	tell_scripts(os_of(bus), KOBJ_OFFLINE);
}

static void netback_destroy(struct xpv_xenbus *bus)
{
	struct xpv_netback_os *vif = os_of(bus);

	xpv_netback_destroy(vif->core);
	netback_netdev_free(vif);
}

static struct xpv_end_driver netback_driver = {
	.xenbus.name = "xpv-netback",
	.type = "vif",
	.stock = "xen-netback",
	.backend = true,
	.node = "rate",
	.create = netback_create,
	.handle = netback_handle,
	.withdraw = netback_withdraw,
	.destroy = netback_destroy,
};

/* No device is left; packets of former ones may be. */
static void netback_leave(void)
{
	netback_zerocopy_exit();
	netback_debugfs_exit();
}

static int __init netback_init(void)
{
	int err = netback_zerocopy_init();

	if (err)
		return err;
	netback_debugfs_init();
	err = xpv_end_register(&netback_driver);
	if (err)
		netback_leave();
	return err;
}
module_init(netback_init);

static void __exit netback_exit(void)
{
	xpv_end_unregister(&netback_driver);
	netback_leave();
}
module_exit(netback_exit);

MODULE_DESCRIPTION("Xen paravirtual network backend");
MODULE_AUTHOR("The xpv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen-backend:vif");
