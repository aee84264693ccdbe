// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile network frontend, for the lab: takes a guest's vif in the place of its driver,
 * and does what it is told.
 *
 *	rmmod xpv-netfront; insmod xpv-hostile-test.ko
 *	cd /sys/kernel/debug/xpv-hostile
 *	echo connect >run; echo chain-endless >run; cat run; echo close >run
 */
#define pr_fmt(fmt) "hostile: " fmt

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <xen/events.h>
#include <xen/page.h>
#include <xen/xen.h>

#include "net/hostile/hostile.h"

static struct hostile *the; /* the first vif */
static DEFINE_MUTEX(lock);
static struct dentry *folder;

enum xenbus_state hostile_backend(struct hostile *h)
{
	return xenbus_read_driver_state(h->dev->otherend);
}

static int await(struct hostile *h, unsigned int states)
{
	unsigned long end = jiffies + 60 * HZ;

	while (time_before(jiffies, end)) {
		if (states & BIT(hostile_backend(h)))
			return 0;
		msleep(20);
	}
	pr_err("the backend stays in state %d\n", hostile_backend(h));
	return -ETIMEDOUT;
}

static irqreturn_t event(int irq, void *data)
{
	return IRQ_HANDLED;
}

static void free_queue(struct hostile_queue *q)
{
	if (q->irq)
		unbind_from_irqhandler(q->irq, q);
	xenbus_teardown_ring((void **)&q->tx, 1, &q->tx_ref);
	xenbus_teardown_ring((void **)&q->rx, 1, &q->rx_ref);
	memset(q, 0, sizeof(*q));
}

static void queue_path(struct hostile *h, unsigned int index, char *path, size_t size)
{
	snprintf(path, size, "%s/queue-%u", h->dev->nodename, index);
}

static void free_all(struct hostile *h)
{
	char path[80];
	int i;

	for (i = 0; i < HOSTILE_QUEUES; i++) {
		free_queue(&h->queue[i]);
		queue_path(h, i, path, sizeof(path));
		xenbus_rm(XBT_NIL, path, "event-channel");
	}
	/* What the backend still uses is freed once it does not any more. */
	if (h->readonly)
		gnttab_end_foreign_access(h->readonly, NULL);
	h->readonly = 0;
	for (i = 0; i < HOSTILE_PAGES; i++) {
		if (h->gref[i])
			gnttab_end_foreign_access(h->gref[i], h->page[i]);
		else if (h->page[i])
			__free_page(h->page[i]);
		h->gref[i] = 0;
		h->page[i] = NULL;
	}
}

static int make_queue(struct hostile *h, unsigned int index, enum hostile_lie lie)
{
	struct hostile_queue *q = &h->queue[index];
	evtchn_port_t port;
	char path[80];
	int ret;

	ret = xenbus_setup_ring(h->dev, GFP_KERNEL, (void **)&q->tx, 1, &q->tx_ref);
	if (ret)
		return ret;
	ret = xenbus_setup_ring(h->dev, GFP_KERNEL, (void **)&q->rx, 1, &q->rx_ref);
	if (ret)
		return ret;
	SHARED_RING_INIT(q->tx);
	SHARED_RING_INIT(q->rx);
	ret = xenbus_alloc_evtchn(h->dev, &port);
	if (ret)
		return ret;
	ret = bind_evtchn_to_irqhandler(port, event, 0, "hostile", q);
	if (ret < 0) {
		xenbus_free_evtchn(h->dev, port);
		return ret;
	}
	q->irq = ret;

	queue_path(h, index, path, sizeof(path));
	if (index == 0)
		lie = HOSTILE_HONEST;
	/* Of the driver before, and would come first. */
	xenbus_rm(XBT_NIL, path, "event-channel-tx");
	xenbus_rm(XBT_NIL, path, "event-channel-rx");
	ret = xenbus_printf(XBT_NIL, path, "tx-ring-ref", "%u", q->tx_ref);
	if (!ret)
		ret = xenbus_printf(XBT_NIL, path, "rx-ring-ref", "%u",
				    lie == HOSTILE_BAD_REF ? 4000000 : q->rx_ref);
	if (!ret)
		ret = xenbus_printf(XBT_NIL, path, "event-channel", "%u",
				    lie == HOSTILE_BAD_PORT ? 4000 : port);
	return ret;
}

static int make_pages(struct hostile *h)
{
	static const u8 header[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0,
				     0, 0, 0, 1, 0x88, 0xb5 };
	int i, ret;

	for (i = 0; i < HOSTILE_PAGES; i++) {
		h->page[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!h->page[i])
			return -ENOMEM;
		memcpy(page_address(h->page[i]), header, sizeof(header));
		ret = gnttab_grant_foreign_access(h->dev->otherend_id,
						  xen_page_to_gfn(h->page[i]), 0);
		if (ret < 0)
			return ret;
		h->gref[i] = ret;
	}
	ret = gnttab_grant_foreign_access(h->dev->otherend_id, xen_page_to_gfn(h->page[0]), 1);
	if (ret < 0)
		return ret;
	h->readonly = ret;
	return 0;
}

static int publish(struct hostile *h)
{
	static const char *const nodes[] = { "request-rx-copy", "feature-rx-notify", "feature-sg",
					     "feature-gso-tcpv4" };
	const char *node = h->dev->nodename;
	int i, ret;

	ret = xenbus_printf(XBT_NIL, node, "multi-queue-num-queues", "%u", HOSTILE_QUEUES);
	for (i = 0; !ret && i < ARRAY_SIZE(nodes); i++)
		ret = xenbus_printf(XBT_NIL, node, nodes[i], "1");
	return ret ?: xenbus_switch_state(h->dev, XenbusStateConnected);
}

static int connect(struct hostile *h, enum hostile_lie lie)
{
	const unsigned int refused = BIT(XenbusStateClosing) | BIT(XenbusStateClosed);
	int i, ret;

	if (h->connected)
		return -EBUSY;
	ret = xenbus_switch_state(h->dev, XenbusStateInitialising);
	if (!ret)
		ret = await(h, BIT(XenbusStateInitWait));
	if (!ret)
		ret = make_pages(h);
	for (i = 0; !ret && i < HOSTILE_QUEUES; i++)
		ret = make_queue(h, i, lie);
	if (!ret)
		ret = publish(h);
	h->connected = true; /* as far as close() is concerned */
	return ret ?: await(h, lie ? refused : BIT(XenbusStateConnected));
}

/* Whatever the backend's state: it has let go of all when this returns 0. */
static int close(struct hostile *h)
{
	const unsigned int gone = BIT(XenbusStateClosed) | BIT(XenbusStateInitWait) |
				  BIT(XenbusStateUnknown);
	int ret;

	if (!h->connected)
		return 0;
	xenbus_switch_state(h->dev, XenbusStateClosing);
	ret = await(h, gone | BIT(XenbusStateClosing));
	xenbus_switch_state(h->dev, XenbusStateClosed);
	ret = ret ?: await(h, gone);
	free_all(h);
	h->connected = false;
	return ret;
}

static int command(const char *name)
{
	if (!the)
		return -ENODEV;
	the->said[0] = 0;
	if (!strcmp(name, "connect"))
		return connect(the, HOSTILE_HONEST);
	if (!strcmp(name, "connect-bad-ref"))
		return connect(the, HOSTILE_BAD_REF);
	if (!strcmp(name, "connect-bad-port"))
		return connect(the, HOSTILE_BAD_PORT);
	if (!strcmp(name, "close"))
		return close(the);
	return the->connected ? hostile_attack(the, name) : -ENOTCONN;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	char name[32] = "";
	int ret;

	if (count >= sizeof(name))
		return -EINVAL;
	if (copy_from_user(name, from, count))
		return -EFAULT;
	mutex_lock(&lock);
	ret = command(strim(name));
	mutex_unlock(&lock);
	return ret < 0 ? ret : count;
}

static ssize_t run_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	ssize_t ret = 0;

	mutex_lock(&lock);
	if (the)
		ret = simple_read_from_buffer(to, count, at, the->said, strlen(the->said));
	mutex_unlock(&lock);
	return ret;
}

static const struct file_operations run_file = {
	.owner = THIS_MODULE,
	.write = run_write,
	.read = run_read,
	.llseek = default_llseek,
};

static int hostile_probe(struct xenbus_device *dev, const struct xenbus_device_id *id)
{
	struct hostile *h;

	if (the)
		return -EBUSY;
	h = kzalloc(sizeof(*h), GFP_KERNEL);
	if (!h)
		return -ENOMEM;
	h->dev = dev;
	dev_set_drvdata(&dev->dev, h);
	mutex_lock(&lock);
	the = h;
	mutex_unlock(&lock);
	return 0;
}

static void hostile_remove(struct xenbus_device *dev)
{
	struct hostile *h = dev_get_drvdata(&dev->dev);

	mutex_lock(&lock);
	close(h);
	the = NULL;
	mutex_unlock(&lock);
	kfree(h);
}

/* It looks at the other end's state when it wants to. */
static void hostile_changed(struct xenbus_device *dev, enum xenbus_state state)
{
}

static const struct xenbus_device_id ids[] = { { "vif" }, { "" } };

static struct xenbus_driver driver = {
	.name = "xpv-hostile",
	.ids = ids,
	.probe = hostile_probe,
	.remove = hostile_remove,
	.otherend_changed = hostile_changed,
};

static int __init hostile_init(void)
{
	int ret;

	if (!xen_domain())
		return -ENODEV;
	/* Without an owner: a module with a device may be unloaded. */
	ret = __xenbus_register_frontend(&driver, NULL, KBUILD_MODNAME);
	if (ret)
		return ret;
	folder = debugfs_create_dir("xpv-hostile", NULL);
	debugfs_create_file("run", 0600, folder, NULL, &run_file);
	return 0;
}
module_init(hostile_init);

static void __exit hostile_exit(void)
{
	debugfs_remove(folder);
	xenbus_unregister_driver(&driver);
}
module_exit(hostile_exit);

MODULE_DESCRIPTION("A hostile network frontend (test)");
MODULE_LICENSE("GPL");
