// SPDX-License-Identifier: GPL-2.0-only
/* The module, its parameters, and one device's life on the xenbus. */
#define pr_fmt(fmt) "xpv-netfront: " fmt

#include <linux/debugfs.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>

#include "net/params.h"
#include "netfront/netfront.h"

static unsigned int rx_copybreak = 1600;
XPV_PARAM(rx_copybreak, rx_copybreak, 0, XPV_NETFRONT_MAX_COPYBREAK, 0444,
	  "received packets of up to so many bytes are copied, 0..4096 (default: 1600)");

struct workqueue_struct *netfront_works;

static void broken_work(struct work_struct *work)
{
	struct xpv_netfront_os *nf =
		container_of(work, struct xpv_netfront_os, broken_work);

	mutex_lock(&nf->lock);
	xpv_netfront_handle(nf->core, XPV_NETFRONT_BROKE);
	mutex_unlock(&nf->lock);
}

static void reconnect_work(struct work_struct *work)
{
	struct xpv_netfront_os *nf =
		container_of(work, struct xpv_netfront_os, reconnect_work);

	mutex_lock(&nf->lock);
	xpv_netfront_handle(nf->core, XPV_NETFRONT_RECONNECT);
	mutex_unlock(&nf->lock);
}

static int netfront_handle(struct xpv_netfront_os *nf,
			   enum xpv_netfront_event event)
{
	int err;

	mutex_lock(&nf->lock);
	err = xpv_netfront_handle(nf->core, event);
	mutex_unlock(&nf->lock);
	if (err)
		xenbus_dev_error(nf->bus.dev, err, "connecting to the backend");
	return err;
}

static void retry_work(struct work_struct *work)
{
	struct xpv_netfront_os *nf = container_of(
		to_delayed_work(work), struct xpv_netfront_os, retry_work);

	netfront_handle(nf, XPV_NETFRONT_CHANGED);
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

static int netfront_probe(struct xenbus_device *dev,
			  const struct xenbus_device_id *id)
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
		return -ENOMEM;
	}
	nf = netdev_priv(netdev);
	INIT_WORK(&nf->broken_work, broken_work);
	INIT_WORK(&nf->reconnect_work, reconnect_work);
	INIT_DELAYED_WORK(&nf->retry_work, retry_work);
	nf->core = xpv_netfront_create(&nf->bus, nf, &settings);
	err = nf->core ? netfront_register(nf) : -ENOMEM;
	if (err) {
		xenbus_dev_fatal(dev, err, "creating the net device");
		xpv_netfront_destroy(nf->core);
		netfront_netdev_free(netdev);
		return err;
	}
	dev_set_drvdata(&dev->dev, nf);
	netfront_debugfs_add(nf);
	/* A backend that cannot be talked to now may come round later. */
	netfront_handle(nf, XPV_NETFRONT_PROBED);
	return 0;
}

static void netfront_changed(struct xenbus_device *dev, enum xenbus_state state)
{
	netfront_handle(dev_get_drvdata(&dev->dev), XPV_NETFRONT_CHANGED);
}

/*
 * After save and restore or migration; a suspend that was cancelled does not come here,
 * and nothing was stopped for it. The bus knows the new other end already and watches its
 * state when this returns: the first look connects.
 */
static int netfront_resume(struct xenbus_device *dev)
{
	return netfront_handle(dev_get_drvdata(&dev->dev), XPV_NETFRONT_RESUMED);
}

/* Leave as long as xenstore's events still come. */
static void netfront_leave(struct xenbus_device *dev)
{
	struct xpv_netfront_os *nf = dev_get_drvdata(&dev->dev);

	if (nf)
		netfront_handle(nf, XPV_NETFRONT_REMOVE);
}

static void netfront_remove(struct xenbus_device *dev)
{
	struct xpv_netfront_os *nf = dev_get_drvdata(&dev->dev);

	netfront_handle(nf, XPV_NETFRONT_REMOVE);
	debugfs_remove_recursive(nf->debugfs);
	unregister_netdev(nf->netdev);
	cancel_work_sync(&nf->broken_work);
	cancel_work_sync(&nf->reconnect_work);
	cancel_delayed_work_sync(&nf->retry_work);
	cancel_delayed_work_sync(&nf->peers_work);
	xpv_netfront_destroy(nf->core);
	netfront_netdev_free(nf->netdev);
}

static const struct xenbus_device_id netfront_ids[] = {
	{ "vif" },
	{ "" },
};

static struct xenbus_driver netfront_driver = {
	.name = "xpv-netfront",
	.ids = netfront_ids,
	.probe = netfront_probe,
	.remove = netfront_remove,
	.resume = netfront_resume,
	.otherend_changed = netfront_changed,
};

static int __init netfront_init(void)
{
	int err;

	if (!xen_domain()) {
		pr_err("this machine does not run on Xen\n");
		return -ENODEV;
	}
	if (!xen_has_pv_nic_devices()) {
		pr_err("this domain uses emulated network devices\n");
		return -ENODEV;
	}
	netfront_works = alloc_workqueue("xpv-netfront",
					 WQ_FREEZABLE | WQ_UNBOUND, 0);
	if (!netfront_works)
		return -ENOMEM;
	netfront_debugfs_init();
	/*
	 * Without an owner: the bus would hold the module as long as there is a
	 * device, but leaving one that is in use is what we can.
	 */
	err = __xenbus_register_frontend(&netfront_driver, NULL,
					 KBUILD_MODNAME);
	if (err)
		goto undo;
	err = xpv_refuse_beside(&netfront_driver.driver, "vif", "xen-netfront");
	if (!err)
		return 0;
	xpv_xenbus_unregister_driver(&netfront_driver, netfront_leave);
undo:
	netfront_debugfs_exit();
	destroy_workqueue(netfront_works);
	return err;
}
module_init(netfront_init);

static void __exit netfront_exit(void)
{
	xpv_xenbus_unregister_driver(&netfront_driver, netfront_leave);
	netfront_debugfs_exit();
	destroy_workqueue(netfront_works);
}
module_exit(netfront_exit);

MODULE_DESCRIPTION("Xen paravirtual network frontend");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen:vif");
