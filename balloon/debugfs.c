// SPDX-License-Identifier: GPL-2.0-only
/* /sys/kernel/debug/xpv-balloon/: where the pages are, and what was counted. */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "balloon/balloon.h"
#include "shim/counters.h"

static struct dentry *root;

static int state_show(struct seq_file *out, void *unused)
{
	struct xpv_balloon_os *os = out->private;
	struct xpv_balloon_state is;

	mutex_lock(&os->lock);
	xpv_balloon_show(os->core, &is);
	mutex_unlock(&os->lock);
	seq_printf(out, "held %llu wanted %llu goal %llu floor %llu limit %llu\n",
		   is.held, is.wanted, is.goal, is.floor, is.limit);
	seq_printf(out, "out: 2M %llu 64K %llu 4K %llu, lost pages %llu\n",
		   is.out[0], is.out[1], is.out[2], is.lost);
	seq_printf(out, "rung %u level %u%s backoff_ms %u%s%s%s\n", is.rung,
		   is.level, is.gauge ? "" : " (no gauge)", is.backoff_ms,
		   is.hungry ? " hungry" : "", is.at_rest ? " at rest" : "",
		   is.released ? " released" : "");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

static const struct xpv_counter counters[] = {
#define X(name) XPV_COUNTER(xpv_balloon_counters, name),
	XPV_BALLOON_COUNTERS(X)
#undef X
};

static int counters_show(struct seq_file *out, void *unused)
{
	struct xpv_balloon_os *os = out->private;
	u64 values[ARRAY_SIZE(counters)];
	u32 i;

	xpv_counters_read(counters, ARRAY_SIZE(counters),
			  xpv_balloon_count(os->core), values);
	for (i = 0; i < ARRAY_SIZE(counters); i++)
		seq_printf(out, "%s %llu\n", counters[i].name, values[i]);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

void balloon_debugfs_init(struct xpv_balloon_os *os)
{
	root = debugfs_create_dir("xpv-balloon", NULL);
	debugfs_create_file("state", 0400, root, os, &state_fops);
	debugfs_create_file("counters", 0400, root, os, &counters_fops);
}

void balloon_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}
