// SPDX-License-Identifier: GPL-2.0-only
/* /sys/kernel/debug/xpv-blkfront/<device>/: the disk, its rings as both ends see them,
 * and what they have counted.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "blkfront/blkfront.h"
#include "shim/counters.h"
#include "shim/ring_view.h"

static struct dentry *root;

static int disk_show(struct seq_file *out, void *unused)
{
	struct xpv_blkfront_os *os = out->private;
	struct xpv_blkfront_summary is;

	mutex_lock(&os->bus.end.lock);
	xpv_blkfront_summarise(os->core, &is);
	mutex_unlock(&os->bus.end.lock);
	seq_printf(out, "%s: %s%s%s\n", os->name.text,
		   is.connected ? "connected" : "not connected",
		   is.failing ? ", requests fail" : "",
		   is.dirty ? ", written and not flushed" : "");
	seq_printf(out, "rings %u, %u segments per ring request, %s\n",
		   is.rings, is.segments,
		   is.persistent ? "copied" : "granted as it lies");
	seq_printf(out, "sectors %llu of 512, blocks of %u (physical %u)\n",
		   is.disk.sectors, is.disk.sector_size,
		   is.disk.physical_size);
	seq_printf(out, "flush %u barrier %u discard %u erase %u readonly %u\n",
		   is.disk.flush, is.disk.barrier, is.disk.discard,
		   is.disk.erase, is.disk.readonly);
	seq_printf(out,
		   "pages kept %u free %u held by a former backend %u of %u\n",
		   is.pool_kept, is.pool_free, is.pool_stuck,
		   is.pool_capacity);
	seq_printf(out, "requests that wait for a backend %u\n", is.parked);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(disk);

static int rings_show(struct seq_file *out, void *unused)
{
	struct xpv_blkfront_os *os = out->private;
	struct xpv_blkfront_view view;
	char name[16];
	u32 i;

	for (i = 0; i < XPV_BLKFRONT_MAX_RINGS; i++) {
		mutex_lock(&os->bus.end.lock);
		xpv_blkfront_view_ring(os->core, i, &view);
		mutex_unlock(&os->bus.end.lock);
		if (!view.connected)
			continue;
		snprintf(name, sizeof(name), "ring %u", i);
		xpv_ring_show(out, name, &view.ring);
		seq_printf(out, "  waiting for slots %u, for pages %u\n",
			   view.ready, view.waiting);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(rings);

static const struct xpv_counter counters[] = {
#define X(name) XPV_COUNTER(xpv_blkfront_counters, name),
	XPV_BLKFRONT_COUNTERS(X)
#undef X
};

/* Each stands for more than the one before it, up to its own name. */
#define LENGTH(most, i)                                                  \
	{                                                                \
#most, offsetof(struct xpv_blkfront_counters, lengths) + \
			       (i) * sizeof(u64)                         \
	}
static const struct xpv_counter lengths[XPV_BLKFRONT_LENGTHS] = {
	LENGTH(1, 0),
	LENGTH(2, 1),
	LENGTH(4, 2),
	LENGTH(8, 3),
	LENGTH(16, 4),
	LENGTH(32, 5),
	LENGTH(64, 6),
	LENGTH(128, 7),
	LENGTH(256, 8),
};

static void show_sums(struct seq_file *out, const struct xpv_counter *table,
		      u32 count, u64 *sums)
{
	struct xpv_blkfront_os *os = out->private;
	u32 i;

	for (i = 0; i < XPV_BLKFRONT_MAX_RINGS; i++)
		xpv_counters_sum(table, count,
				 xpv_blkfront_ring_counters(os->core, i), sums);
	for (i = 0; i < count; i++)
		seq_printf(out, "%s %llu\n", table[i].name, sums[i]);
}

static int segments_show(struct seq_file *out, void *unused)
{
	u64 sums[ARRAY_SIZE(lengths)] = { 0 };

	show_sums(out, lengths, ARRAY_SIZE(lengths), sums);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(segments);

static int counters_show(struct seq_file *out, void *unused)
{
	u64 sums[ARRAY_SIZE(counters)] = { 0 };

	show_sums(out, counters, ARRAY_SIZE(counters), sums);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

void blkfront_debugfs_add(struct xpv_blkfront_os *os)
{
	os->debugfs = debugfs_create_dir(dev_name(&os->bus.dev->dev), root);
	debugfs_create_file("disk", 0400, os->debugfs, os, &disk_fops);
	debugfs_create_file("rings", 0400, os->debugfs, os, &rings_fops);
	debugfs_create_file("counters", 0400, os->debugfs, os, &counters_fops);
	debugfs_create_file("segments", 0400, os->debugfs, os, &segments_fops);
}

void blkfront_debugfs_init(void)
{
	root = debugfs_create_dir("xpv-blkfront", NULL);
}

void blkfront_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}
