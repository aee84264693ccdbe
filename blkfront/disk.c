// SPDX-License-Identifier: GPL-2.0-only
/* The disk as the block layer knows it. What differs between kernels is here. */
#include <linux/version.h>

#include "blkfront/blkfront.h"

/* Of each processor's queue; more than a ring takes wait in C++. */
#define TAGS 128

static void count_open(struct gendisk *disk)
{
	struct xpv_blkfront_os *os = disk->private_data;

	atomic_inc(&os->openers);
}

static void count_close(struct gendisk *disk)
{
	struct xpv_blkfront_os *os = disk->private_data;

	if (!atomic_dec_and_test(&os->openers))
		return;
	mutex_lock(&os->bus.end.lock);
	if (!os->gone && os->awaited) /* else all of xenstore is read for nothing */
		xpv_end_poke(&os->bus, XPV_CHANGED, 0);
	mutex_unlock(&os->bus.end.lock);
}

static void free_disk(struct gendisk *disk)
{
	struct xpv_blkfront_os *os = disk->private_data;

	mutex_destroy(&os->bus.end.lock);
	kfree(os);
}

/* Discards of any length; the block layer counts bytes in 32 bits. */
#define MOST_SECTORS (UINT_MAX >> SECTOR_SHIFT)

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)

static int blkfront_open(struct gendisk *disk, blk_mode_t mode)
{
	count_open(disk);
	return 0;
}

static void blkfront_release(struct gendisk *disk)
{
	count_close(disk);
}

static void set_limits(struct queue_limits *lim,
		       const struct xpv_blkfront_disk *is)
{
	lim->logical_block_size = is->sector_size;
	lim->physical_block_size = is->physical_size;
	lim->max_hw_sectors = XPV_BLKFRONT_MAX_SECTORS;
	lim->max_segments = USHRT_MAX;
	lim->max_segment_size = UINT_MAX;
	lim->dma_alignment = SECTOR_SIZE - 1;
	lim->features &= ~BLK_FEAT_WRITE_CACHE;
	if (is->flush)
		lim->features |= BLK_FEAT_WRITE_CACHE;
	lim->max_hw_discard_sectors = is->discard ? MOST_SECTORS : 0;
	lim->discard_granularity = is->discard_bytes;
	lim->discard_alignment = is->discard_offset;
	lim->max_secure_erase_sectors = is->erase ? MOST_SECTORS : 0;
}

static struct gendisk *alloc_disk(struct xpv_blkfront_os *os,
				  const struct xpv_blkfront_disk *is)
{
	struct queue_limits lim = {};

	set_limits(&lim, is);
	return blk_mq_alloc_disk(&os->tags, &lim, os);
}

/* Not frozen: that would wait for requests, and they for us. */
static int change_limits(struct gendisk *disk,
			 const struct xpv_blkfront_disk *is)
{
	struct queue_limits lim = queue_limits_start_update(disk->queue);

	set_limits(&lim, is);
	return queue_limits_commit_update(disk->queue, &lim);
}

#else

static int blkfront_open(struct block_device *bdev, fmode_t mode)
{
	count_open(bdev->bd_disk);
	return 0;
}

static void blkfront_release(struct gendisk *disk, fmode_t mode)
{
	count_close(disk);
}

static int change_limits(struct gendisk *disk,
			 const struct xpv_blkfront_disk *is)
{
	struct request_queue *q = disk->queue;

	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	blk_queue_logical_block_size(q, is->sector_size);
	blk_queue_physical_block_size(q, is->physical_size);
	blk_queue_max_hw_sectors(q, XPV_BLKFRONT_MAX_SECTORS);
	blk_queue_max_segments(q, USHRT_MAX);
	blk_queue_max_segment_size(q, UINT_MAX);
	blk_queue_dma_alignment(q, SECTOR_SIZE - 1);
	blk_queue_write_cache(q, is->flush, false);
	q->limits.discard_granularity = is->discard_bytes;
	q->limits.discard_alignment = is->discard_offset;
	blk_queue_max_discard_sectors(q, is->discard ? MOST_SECTORS : 0);
	blk_queue_max_secure_erase_sectors(q, is->erase ? MOST_SECTORS : 0);
	return 0;
}

static struct gendisk *alloc_disk(struct xpv_blkfront_os *os,
				  const struct xpv_blkfront_disk *is)
{
	struct gendisk *disk = blk_mq_alloc_disk(&os->tags, os);

	if (!IS_ERR(disk))
		change_limits(disk, is);
	return disk;
}

#endif

const struct block_device_operations blkfront_fops = {
	.owner = THIS_MODULE, /* not unloaded while one is open */
	.open = blkfront_open,
	.release = blkfront_release,
	.free_disk = free_disk,
};

/* A queue per processor, for ever: to change their number waits for requests. */
static int make_tags(struct xpv_blkfront_os *os)
{
	os->tags.ops = &blkfront_mq_ops;
	os->tags.nr_hw_queues = num_online_cpus() + os->poll_queues;
	os->tags.nr_maps = os->poll_queues ? HCTX_MAX_TYPES : 1;
	os->tags.queue_depth = TAGS;
	os->tags.numa_node = NUMA_NO_NODE;
	os->tags.flags = BLK_MQ_F_SHOULD_MERGE | BLK_MQ_F_NO_SCHED_BY_DEFAULT;
	os->tags.cmd_size = sizeof(struct xpv_blkfront_request);
	os->tags.driver_data = os;
	return blk_mq_alloc_tag_set(&os->tags);
}

static int make_disk(struct xpv_blkfront_os *os,
		     const struct xpv_blkfront_disk *is)
{
	struct gendisk *disk;
	int err;

	err = make_tags(os);
	if (err)
		return err;
	disk = alloc_disk(os, is);
	if (IS_ERR(disk)) {
		blk_mq_free_tag_set(&os->tags);
		return PTR_ERR(disk);
	}
	disk->major = BLKFRONT_MAJOR;
	disk->first_minor = os->name.minor;
	disk->minors = os->name.minors;
	disk->fops = &blkfront_fops;
	disk->private_data = os;
	strscpy(disk->disk_name, os->name.text, sizeof(disk->disk_name));
	if (is->removable || is->cdrom)
		disk->flags |= GENHD_FL_REMOVABLE;
	set_capacity(disk, is->sectors);
	set_disk_ro(disk, is->readonly);
	os->disk = disk;
	blk_mq_quiesce_queue(disk->queue); /* as os->stopped says */
	queue_work(os->bus.end.driver->works, &os->add_work);
	return 0;
}

int xpv_blkfront_os_disk(struct xpv_blkfront_os *os,
			 const struct xpv_blkfront_disk *is)
{
	if (!os->disk)
		return make_disk(os, is);
	os->now_is = *is;
	queue_work(os->bus.end.driver->works, &os->change_work);
	return 0;
}

/* Not where events are handled: limits change under a lock whose owner may be waiting for
 * requests, which wait for the next backend, whose event it is.
 */
void blkfront_change_work(struct work_struct *work)
{
	struct xpv_blkfront_os *os =
		container_of(work, struct xpv_blkfront_os, change_work);
	struct gendisk *disk = os->disk;
	struct xpv_blkfront_disk is;
	int err;

	mutex_lock(&os->bus.end.lock);
	is = os->now_is;
	mutex_unlock(&os->bus.end.lock);
	if (get_disk_ro(disk) != is.readonly)
		set_disk_ro(disk, is.readonly);
	if (get_capacity(disk) != is.sectors)
		set_capacity_and_notify(disk, is.sectors);
	err = change_limits(disk, &is);
	if (err)
		xpv_end_report(&os->bus, err, "%s cannot be changed",
			       disk->disk_name);
}

/* Not where xenstore's events are handled: it reads the partitions. */
void blkfront_add_work(struct work_struct *work)
{
	struct xpv_blkfront_os *os =
		container_of(work, struct xpv_blkfront_os, add_work);
	int err = device_add_disk(&os->bus.dev->dev, os->disk, NULL);

	if (err)
		xpv_end_report(&os->bus, err, "%s cannot be added",
			       os->disk->disk_name);
	WRITE_ONCE(os->hopeless, err != 0);
	WRITE_ONCE(os->added, err == 0);
}

/* All requests have failed, and fail from now on. */
void blkfront_disk_end(struct xpv_blkfront_os *os)
{
	struct gendisk *disk = os->disk;

	if (!disk)
		return;
	/* One that is about to be added will find no partitions. */
	blk_mark_disk_dead(disk);
	xpv_blkfront_os_start(os);
	flush_work(&os->add_work);
	flush_work(&os->change_work);
	if (os->added)
		del_gendisk(disk);
}

/* Frees os: now, or when the last one closes it. */
void blkfront_disk_put(struct xpv_blkfront_os *os)
{
	if (os->added) {
		blk_mq_free_tag_set(&os->tags);
		put_disk(os->disk);
		return;
	}
	if (os->disk) {
		put_disk(os->disk);
		blk_mq_free_tag_set(&os->tags);
	}
	kfree(os);
}

void xpv_blkfront_os_stop(struct xpv_blkfront_os *os)
{
	if (!os->stopped && os->disk)
		blk_mq_quiesce_queue(os->disk->queue);
	os->stopped = true;
}

void xpv_blkfront_os_start(struct xpv_blkfront_os *os)
{
	if (os->stopped && os->disk)
		blk_mq_unquiesce_queue(os->disk->queue);
	os->stopped = os->disk ? false : os->stopped;
}

bool xpv_blkfront_os_in_use(struct xpv_blkfront_os *os)
{
	os->awaited = atomic_read(&os->openers) != 0;
	return os->awaited;
}
