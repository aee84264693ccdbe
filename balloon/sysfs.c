// SPDX-License-Identifier: GPL-2.0-only
/* The device that userspace knows as the first of the subsystem below: what Linux's own
 * driver shows of its own, where it means the same.
 */
#include <linux/device.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "balloon/balloon.h"

#define KIB_PER_PAGE (PAGE_SIZE >> 10)

static void show(struct xpv_balloon_state *state)
{
	mutex_lock(&balloon_os.lock);
	xpv_balloon_show(balloon_os.core, state);
	mutex_unlock(&balloon_os.lock);
}

#define SHOW_KB(name, pages)                                                 \
	static ssize_t name##_show(struct device *dev,                       \
				   struct device_attribute *attr, char *buf) \
	{                                                                    \
		struct xpv_balloon_state is;                                 \
		show(&is);                                                   \
		return sysfs_emit(buf, "%llu\n", (u64)(pages)*KIB_PER_PAGE); \
	}

SHOW_KB(target_kb, is.wanted)
SHOW_KB(current_kb, is.held)
SHOW_KB(low_kb, is.out[0] * 512 + is.out[1] * 16 + is.out[2])
SHOW_KB(floor_kb, is.floor)
SHOW_KB(goal_kb, is.goal)
SHOW_KB(lost_kb, is.lost)

static ssize_t target_kb_store(struct device *dev, struct device_attribute *attr,
			       const char *buf, size_t count)
{
	char text[32];
	int err;

	if (strscpy(text, buf, sizeof(text)) < 0)
		return -ERANGE;
	mutex_lock(&balloon_os.lock);
	err = xpv_balloon_ask(balloon_os.core, strim(text));
	mutex_unlock(&balloon_os.lock);
	if (err)
		return err;
	balloon_poke(&balloon_os, XPV_BALLOON_SETTINGS);
	return count;
}

static DEVICE_ATTR_RW(target_kb);
static DEVICE_ATTR_RO(current_kb);
static DEVICE_ATTR_RO(low_kb);
static DEVICE_ATTR_RO(floor_kb);
static DEVICE_ATTR_RO(goal_kb);
static DEVICE_ATTR_RO(lost_kb);

static struct attribute *attributes[] = {
	&dev_attr_target_kb.attr,
	NULL,
};

static struct attribute *info[] = {
	&dev_attr_current_kb.attr,
	&dev_attr_low_kb.attr,
	&dev_attr_floor_kb.attr,
	&dev_attr_goal_kb.attr,
	&dev_attr_lost_kb.attr,
	NULL,
};

static const struct attribute_group group = { .attrs = attributes };
static const struct attribute_group info_group = { .name = "info", .attrs = info };
static const struct attribute_group *groups[] = { &group, &info_group, NULL };

static struct bus_type subsystem = {
	.name = "xpv_memory",
	.dev_name = "xpv_memory",
};

static void device_end(struct device *dev)
{
	kfree(dev);
}

int balloon_sysfs_init(struct xpv_balloon_os *os)
{
	int err = subsys_system_register(&subsystem, NULL);

	if (err)
		return err;
	os->dev = kzalloc(sizeof(*os->dev), GFP_KERNEL);
	if (!os->dev) {
		bus_unregister(&subsystem);
		return -ENOMEM;
	}
	os->dev->bus = &subsystem;
	os->dev->groups = groups;
	os->dev->release = device_end;
	err = device_register(os->dev);
	if (err) {
		put_device(os->dev);
		bus_unregister(&subsystem);
	}
	return err;
}

void balloon_sysfs_exit(struct xpv_balloon_os *os)
{
	device_unregister(os->dev);
	bus_unregister(&subsystem);
}
