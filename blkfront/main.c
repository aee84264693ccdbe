// SPDX-License-Identifier: GPL-2.0-only
/* The module, its parameters, and one device's life on the xenbus. */
#define pr_fmt(fmt) "xpv-blkfront: " fmt

#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <xen/platform_pci.h>
#include <xen/xen.h>

#include "blkfront/blkfront.h"
#include "shim/param.h"

#define DEFAULT_RINGS 4

static void apply_settings(void);

/* Of a disk's next connection, when they change. */
static unsigned int max_rings;
XPV_PARAM_LIVE(max_rings, max_rings, 1, XPV_BLKFRONT_MAX_RINGS, apply_settings,
	       "Rings per disk, 1..8 (default: one per processor, at most 4)");

static unsigned int max_ring_page_order = XPV_BLKFRONT_MAX_ORDER;
XPV_PARAM_LIVE(max_ring_page_order, max_ring_page_order, 0,
	       XPV_BLKFRONT_MAX_ORDER, apply_settings,
	       "Pages per ring, as a power of two, 0..4, at most (default: what makes 128 slots per ring and 256 per disk)");

static unsigned int max_indirect_segments = 256;
XPV_PARAM_LIVE(max_indirect_segments, max_indirect_segments, 0, 256,
	       apply_settings,
	       "Segments per indirect request, 0..256 (default: 256)");

static unsigned int persistent;
XPV_PARAM_LIVE(persistent, persistent, 0, 2, apply_settings,
	       "Copy into pages that stay granted: 0 with backends that keep them (default), 1 always, 2 never");

/* Of disks as they are. */
static unsigned int pool_pages = XPV_BLKFRONT_MAX_PAGES;
XPV_PARAM_LIVE(pool_pages, pool_pages, XPV_BLKFRONT_MIN_PAGES,
	       XPV_BLKFRONT_MAX_PAGES, apply_settings,
	       "Pages per disk that a backend may have at once, 768..1024 (default: 1024)");

static unsigned int fail_after_s;
XPV_PARAM_LIVE(fail_after_s, fail_after_s, 0, 86400, apply_settings,
	       "Without a backend requests fail after so many seconds, 0..86400 (default: 0, never)");

static unsigned int event_batch = 1;
XPV_PARAM_LIVE(event_batch, event_batch, 1, 64, apply_settings,
	       "Answers that one event may stand for, at most for 50 us, 1..64 (default: 1)");

static unsigned int detach_in_use;
XPV_PARAM_LIVE(detach_in_use, detach_in_use, 0, 1, apply_settings,
	       "Let the toolstack detach a disk that is in use, 0..1 (default: 0)");

/* Of new disks. */
static unsigned int poll_queues;
XPV_PARAM(poll_queues, poll_queues, 0, 64, 0444,
	  "Queues per disk for I/O that is polled (io_uring's IOPOLL), 0..64, at most one per processor (default: 0)");

static DEFINE_MUTEX(disks_lock); /* taken before any disk's */
static LIST_HEAD(disks);

static struct xpv_blkfront_os *os_of(struct xpv_xenbus *bus)
{
	return container_of(bus, struct xpv_blkfront_os, bus);
}

static struct xpv_blkfront_settings settings_now(void)
{
	return (struct xpv_blkfront_settings){
		.max_rings = READ_ONCE(max_rings),
		.max_order = READ_ONCE(max_ring_page_order),
		.max_segments = READ_ONCE(max_indirect_segments),
		.pages = READ_ONCE(pool_pages),
		.event_batch = READ_ONCE(event_batch),
		.fail_after_s = READ_ONCE(fail_after_s),
		.persistent = READ_ONCE(persistent),
		.insist = READ_ONCE(detach_in_use),
	};
}

static void set(struct xpv_blkfront_os *os,
		const struct xpv_blkfront_settings *settings)
{
	unsigned int flags = xpv_end_enter(&os->bus);

	xpv_blkfront_set(os->core, settings);
	xpv_end_exit(&os->bus, flags);
}

static void apply_settings(void)
{
	const struct xpv_blkfront_settings settings = settings_now();
	struct xpv_blkfront_os *os;

	mutex_lock(&disks_lock);
	list_for_each_entry(os, &disks, of_disks)
		set(os, &settings);
	mutex_unlock(&disks_lock);
}

/* From now on settings that change are told to it, beginning with those of now. */
static void join_disks(struct xpv_blkfront_os *os)
{
	struct xpv_blkfront_settings settings;

	mutex_lock(&disks_lock);
	list_add(&os->of_disks, &disks);
	settings = settings_now();
	set(os, &settings);
	mutex_unlock(&disks_lock);
}

static void leave_disks(struct xpv_blkfront_os *os)
{
	mutex_lock(&disks_lock);
	list_del(&os->of_disks);
	mutex_unlock(&disks_lock);
}

static int blkfront_handle(struct xpv_xenbus *bus, enum xpv_event event)
{
	return xpv_blkfront_handle(os_of(bus)->core, event);
}

static void tick_work(struct work_struct *work)
{
	struct xpv_blkfront_os *os = container_of(
		to_delayed_work(work), struct xpv_blkfront_os, tick_work);
	unsigned int flags = xpv_end_enter(&os->bus);

	xpv_blkfront_tick(os->core);
	xpv_end_exit(&os->bus, flags);
}

void xpv_blkfront_os_tick(struct xpv_blkfront_os *os, uint32_t ms)
{
	queue_delayed_work(os->bus.end.driver->works, &os->tick_work,
			   msecs_to_jiffies(ms));
}

/* In a guest with emulated devices some disks are theirs. */
static bool is_ours(struct xenbus_device *dev, const struct xpv_blkfront_os *os)
{
	unsigned int length;
	char *type;
	bool cdrom;

	if (!xen_hvm_domain())
		return true;
	if (xen_has_pv_and_legacy_disk_devices() && os->name.foreign)
		return false;
	type = xenbus_read(XBT_NIL, dev->nodename, "device-type", &length);
	if (IS_ERR(type))
		return true;
	cdrom = !strncmp(type, "cdrom", 5);
	kfree(type);
	return !cdrom;
}

static struct xpv_blkfront_os *os_new(struct xenbus_device *dev)
{
	const struct xpv_blkfront_settings settings = settings_now();
	struct xpv_blkfront_os *os = kzalloc(sizeof(*os), GFP_KERNEL);

	if (!os)
		return NULL;
	xpv_xenbus_init(&os->bus, dev);
	os->stopped = true;
	os->poll_queues = min_t(u32, poll_queues, num_online_cpus());
	INIT_DELAYED_WORK(&os->tick_work, tick_work);
	INIT_WORK(&os->add_work, blkfront_add_work);
	INIT_WORK(&os->change_work, blkfront_change_work);
	blkfront_timers_init(os);
	os->core = xpv_blkfront_create(&os->bus, os, &settings);
	if (os->core)
		return os;
	kfree(os);
	return NULL;
}

static struct xpv_xenbus *blkfront_create(struct xenbus_device *dev)
{
	struct xpv_blkfront_os *os = os_new(dev);
	int err = os ? 0 : -ENOMEM;

	if (os)
		err = xpv_blkfront_identity(os->core, &os->name);
	if (!err && !is_ours(dev, os))
		err = -ENODEV;
	if (!err) {
		blkfront_debugfs_add(os);
		join_disks(os);
		return &os->bus;
	}
	if (err != -ENODEV)
		xenbus_dev_fatal(dev, err, "creating the disk");
	if (os)
		xpv_blkfront_destroy(os->core);
	kfree(os);
	return ERR_PTR(err);
}

/* Whoever waits for all disks at boot need not wait for this one. */
static int blkfront_is_ready(struct xenbus_device *dev)
{
	struct xpv_blkfront_os *os = os_of(dev_get_drvdata(&dev->dev));
	struct xpv_blkfront_summary summary;

	if (READ_ONCE(os->added) || READ_ONCE(os->hopeless))
		return 1;
	mutex_lock(&os->bus.end.lock);
	xpv_blkfront_summarise(os->core, &summary);
	mutex_unlock(&os->bus.end.lock);
	return summary.failing;
}

static void blkfront_withdraw(struct xpv_xenbus *bus)
{
	struct xpv_blkfront_os *os = os_of(bus);

	leave_disks(os);
	debugfs_remove_recursive(os->debugfs);
	mutex_lock(&bus->end.lock);
	os->gone = true;
	xpv_blkfront_fail_all(os->core);
	mutex_unlock(&bus->end.lock);
	blkfront_disk_end(os);
	blkfront_timers_cancel(os);
	cancel_delayed_work_sync(&os->tick_work);
}

static void blkfront_destroy(struct xpv_xenbus *bus)
{
	struct xpv_blkfront_os *os = os_of(bus);

	xpv_blkfront_destroy(os->core);
	os->core = NULL;
	blkfront_disk_put(os);
}

static struct xpv_end_driver blkfront_driver = {
	.xenbus.name = "xpv-blkfront",
	.xenbus.is_ready = blkfront_is_ready,
	.type = "vbd",
	.stock = "xen-blkfront",
	.wanted = xen_has_pv_disk_devices,
	.create = blkfront_create,
	.handle = blkfront_handle,
	.withdraw = blkfront_withdraw,
	.destroy = blkfront_destroy,
};

static int __init blkfront_init(void)
{
	int err;

	if (!max_rings)
		max_rings = min_t(u32, num_online_cpus(), DEFAULT_RINGS);
	err = register_blkdev(BLKFRONT_MAJOR, "xvd");
	if (err) {
		pr_err("major number %u is taken: unload xen-blkfront or blacklist it\n",
		       BLKFRONT_MAJOR);
		return err;
	}
	blkfront_debugfs_init();
	err = xpv_end_register(&blkfront_driver);
	if (!err)
		return 0;
	blkfront_debugfs_exit();
	unregister_blkdev(BLKFRONT_MAJOR, "xvd");
	return err;
}
module_init(blkfront_init);

static void __exit blkfront_exit(void)
{
	xpv_end_unregister(&blkfront_driver);
	blkfront_debugfs_exit();
	unregister_blkdev(BLKFRONT_MAJOR, "xvd");
}
module_exit(blkfront_exit);

MODULE_DESCRIPTION("Xen paravirtual block frontend");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
MODULE_ALIAS("xen:vbd");
MODULE_ALIAS("xenblk");
MODULE_ALIAS_BLOCKDEV_MAJOR(BLKFRONT_MAJOR);
