/* SPDX-License-Identifier: GPL-2.0-only */
/* What the balloon's C files share. Never seen by C++. */
#ifndef XPV_BALLOON_H
#define XPV_BALLOON_H

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <xen/xen.h>
#include <xen/interface/memory.h>
#include <xen/interface/xen.h>
#include <xen/xenbus.h>

#include "balloon/abi.h"

struct xpv_balloon_os {
	struct mutex lock; /* around every call into C++ */
	struct xpv_balloon *core;
	struct xpv_balloon_settings settings; /* as core has them */

	struct task_struct *thread;
	wait_queue_head_t wake;	  /* the thread, for events */
	wait_queue_head_t turned; /* who waits for what the thread does */
	atomic_t events;	  /* of enum xpv_balloon_event */
	bool holds_module;

	bool still; /* Linux's driver is to move nothing */
	struct xenbus_watch target, static_max, gauge;
	bool watching[3];
	struct notifier_block oom;
	struct device *dev;

	unsigned long boot_pages; /* without Linux's driver: what there is */
	unsigned long reserved;	  /* of the guest's pages, never in its allocator */
	unsigned long vm_events[NR_VM_EVENT_ITEMS];

	/* One batch, by page; nothing of it outlives a call from the thread or the OOM
	 * notifier, so none is kept over a suspend.
	 */
	unsigned long mfns[XPV_BALLOON_BATCH];
	xen_pfn_t frames[XPV_BALLOON_BATCH];
	struct mmu_update updates[XPV_BALLOON_BATCH];
};

extern struct xpv_balloon_os balloon_os;

/* An event for the thread; any context. */
void balloon_poke(struct xpv_balloon_os *os, unsigned int event);

/* What there is, at load, before any page is out. */
void balloon_stock_init(struct xpv_balloon_os *os);
bool balloon_stock_present(void);
void balloon_stock_still(void);

int balloon_watch(struct xpv_balloon_os *os);
void balloon_unwatch(struct xpv_balloon_os *os);

/* The settings of the parameters; for the thread, with the lock held. */
void balloon_settings_read(struct xpv_balloon_settings *settings);

void balloon_debugfs_init(struct xpv_balloon_os *os);
void balloon_debugfs_exit(void);
int balloon_sysfs_init(struct xpv_balloon_os *os);
void balloon_sysfs_exit(struct xpv_balloon_os *os);

#endif
