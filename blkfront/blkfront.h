/* SPDX-License-Identifier: GPL-2.0-only */
/* What the frontend's C files share. Never seen by C++. */
#ifndef XPV_BLKFRONT_H
#define XPV_BLKFRONT_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/hrtimer.h>
#include <linux/workqueue.h>

#include "blkfront/abi.h"
#include "shim/shim.h"

#define BLKFRONT_MAJOR 202

struct blkfront_timer {
	struct xpv_blkfront_os *os;
	struct hrtimer timer;
	u32 ring;
};

/* A disk of the guest's: from probe until it is removed and nobody has it open. */
struct xpv_blkfront_os {
	struct xpv_xenbus bus;
	struct xpv_blkfront *core;
	struct list_head of_disks;
	struct delayed_work tick_work;
	struct work_struct add_work;	/* adds the disk: reads its partitions */
	struct work_struct change_work; /* tells the block layer of now_is */
	struct blkfront_timer timers[XPV_BLKFRONT_MAX_RINGS];
	struct xpv_blkfront_name name;
	struct dentry *debugfs;

	struct blk_mq_tag_set tags;
	unsigned int poll_queues; /* the last ones of its hardware queues */
	struct gendisk *disk;	  /* once the backend has described it */
	atomic_t openers;
	struct xpv_blkfront_disk now_is; /* bus.end.lock, as below */
	bool stopped;
	bool hopeless; /* nobody needs to wait for it */
	bool gone;     /* removed */
	bool awaited;  /* the last close is */
	bool added;
};

/* disk.c */
extern const struct block_device_operations blkfront_fops;
void blkfront_add_work(struct work_struct *work);
void blkfront_change_work(struct work_struct *work);
void blkfront_disk_end(struct xpv_blkfront_os *os);
void blkfront_disk_put(struct xpv_blkfront_os *os);

/* queue.c */
extern const struct blk_mq_ops blkfront_mq_ops;
void blkfront_timers_init(struct xpv_blkfront_os *os);
void blkfront_timers_cancel(struct xpv_blkfront_os *os);

/* debugfs.c */
void blkfront_debugfs_init(void);
void blkfront_debugfs_exit(void);
void blkfront_debugfs_add(struct xpv_blkfront_os *os);

#endif
