// SPDX-License-Identifier: GPL-2.0-only
/*
 * xpv-netback: Xen's virtual network interfaces as the guests' other end; the
 * module itself. xen/io/netif.h is the protocol, abi.h the way to the C++ that
 * speaks it.
 */
#include <linux/module.h>
#include <xen/xen.h>
#include <xen/xenbus.h>

#include "netback/netback.h"

struct workqueue_struct *xpv_vif_workqueue;

/* No device is left; packets of former ones may be. */
static void netback_leave(void)
{
	xpv_vif_zerocopy_exit();
	destroy_workqueue(xpv_vif_workqueue); /* its works have left our code */
	xpv_vif_debugfs_exit();
}

static int __init netback_init(void)
{
	int err;

	if (!xen_domain()) {
		pr_err("xpv-netback: this machine does not run on Xen\n");
		return -ENODEV;
	}
	/* Freezable: nobody speaks with a frontend while this domain is being suspended. */
	xpv_vif_workqueue =
		alloc_workqueue("xpv-netback", WQ_UNBOUND | WQ_FREEZABLE, 0);
	if (!xpv_vif_workqueue)
		return -ENOMEM;
	xpv_vif_debugfs_init();
	err = xpv_vif_register_driver();
	if (err)
		netback_leave();
	return err;
}
module_init(netback_init);

static void __exit netback_exit(void)
{
	xpv_vif_unregister_driver();
	netback_leave();
}
module_exit(netback_exit);

MODULE_DESCRIPTION("Xen paravirtual network backend");
MODULE_AUTHOR("The xpv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen-backend:vif");
