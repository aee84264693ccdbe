// SPDX-License-Identifier: GPL-2.0-only
/* The module, its parameters, and one device's life on the xenbus. */
#define pr_fmt(fmt) "xpv-netfront: " fmt

#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <xen/platform_pci.h>

#include "net/params.h"
#include "netfront/netfront.h"

static unsigned int rx_copybreak = 1600;
XPV_PARAM(rx_copybreak, rx_copybreak, 0, XPV_NETFRONT_MAX_COPYBREAK, 0444,
	  "received packets of up to so many bytes are copied, 0..4096 (default: 1600)");

static struct xpv_netfront_os *os_of(struct xpv_xenbus *bus)
{
	return container_of(bus, struct xpv_netfront_os, bus);
}

static int netfront_handle(struct xpv_xenbus *bus, enum xpv_event event)
{
	return xpv_netfront_handle(os_of(bus)->core, event);
}

static int netfront_register(struct xpv_netfront_os *nf)
{
	u8 mac[ETH_ALEN];
	u32 mtu;
	int err;

	err = xpv_netfront_identity(nf->core, mac, &mtu);
	if (err)
		return err;
	eth_hw_addr_set(nf->netdev, mac);
	if (mtu)
		nf->netdev->mtu = mtu;
	return register_netdev(nf->netdev);
}

static struct xpv_xenbus *netfront_create(struct xenbus_device *dev)
{
	struct xpv_netfront_settings settings = {
		.net = xpv_net_parameters(),
		.rx_copybreak = rx_copybreak,
	};
	struct xpv_netfront_os *nf;
	struct net_device *netdev;
	const char *handle = strrchr(dev->nodename, '/');
	int err;

	if (!handle || kstrtou32(handle + 1, 10, &settings.handle))
		settings.handle = 0;
	netdev = netfront_netdev_new(dev, &settings.net);
	if (!netdev) {
		xenbus_dev_fatal(dev, -ENOMEM, "creating the net device");
		return ERR_PTR(-ENOMEM);
	}
	nf = netdev_priv(netdev);
	nf->core = xpv_netfront_create(&nf->bus, nf, &settings);
	err = nf->core ? netfront_register(nf) : -ENOMEM;
	if (err) {
		xenbus_dev_fatal(dev, err, "creating the net device");
		xpv_netfront_destroy(nf->core);
		netfront_netdev_free(netdev);
		return ERR_PTR(err);
	}
	netfront_debugfs_add(nf);
	return &nf->bus;
}

static void netfront_withdraw(struct xpv_xenbus *bus)
{
	struct xpv_netfront_os *nf = os_of(bus);

	debugfs_remove_recursive(nf->debugfs);
	unregister_netdev(nf->netdev);
}

static void netfront_destroy(struct xpv_xenbus *bus)
{
	struct xpv_netfront_os *nf = os_of(bus);

	cancel_delayed_work_sync(&nf->peers_work);
	xpv_netfront_destroy(nf->core);
	netfront_netdev_free(nf->netdev);
}

static struct xpv_end_driver netfront_driver = {
	.xenbus.name = "xpv-netfront",
	.type = "vif",
	.stock = "xen-netfront",
	.wanted = xen_has_pv_nic_devices,
	.node = "carrier",
	.create = netfront_create,
	.handle = netfront_handle,
	.withdraw = netfront_withdraw,
	.destroy = netfront_destroy,
};

static int __init netfront_init(void)
{
	int err;

	netfront_debugfs_init();
	err = xpv_end_register(&netfront_driver);
	if (err)
		netfront_debugfs_exit();
	return err;
}
module_init(netfront_init);

static void __exit netfront_exit(void)
{
	xpv_end_unregister(&netfront_driver);
	netfront_debugfs_exit();
}
module_exit(netfront_exit);

MODULE_DESCRIPTION("Xen paravirtual network frontend");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen:vif");
