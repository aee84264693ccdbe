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

static int __init netback_init(void)
{
	int err;

	if (!xen_domain()) {
		pr_err("xpv-netback: this machine does not run on Xen\n");
		return -ENODEV;
	}
	xpv_vif_debugfs_init();
	err = xpv_vif_register_driver();
	if (err)
		xpv_vif_debugfs_exit();
	return err;
}
module_init(netback_init);

static void __exit netback_exit(void)
{
	xpv_vif_unregister_driver();
	xpv_vif_zerocopy_exit();
	xpv_vif_debugfs_exit();
}
module_exit(netback_exit);

MODULE_DESCRIPTION("Xen paravirtual network backend");
MODULE_AUTHOR("The xpv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen-backend:vif");
