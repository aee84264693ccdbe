// SPDX-License-Identifier: GPL-2.0-only
/* Knobs in /sys/module/xpv_pvlock/parameters, statistics in debugfs. */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/cpumask.h>
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "pvlock/pvlock.h"
#include "pvlock/shim.h"
#include "shim/param.h"

struct xpv_pvlock_knobs xpv_pvlock_live_knobs = {
	.spin_limit = 2048,
	.yield_limit = 1,
	.turn_limit = 4096,
	.turn_us = 500,
	.adaptive = 1,
};
u32 xpv_pvlock_timeout_ms = 10000;

/* ---- knobs ---------------------------------------------------------------- */

XPV_PARAM(spin_limit, xpv_pvlock_live_knobs.spin_limit, 0, 1 << 24, 0644,
	  "Turns of cpu_relax before a waiter gives up the processor, 0..16777216 (2048)");
XPV_PARAM(yield_limit, xpv_pvlock_live_knobs.yield_limit, 0, 1000, 0644,
	  "SCHEDOP_yield before a waiter sleeps, 0..1000 (1)");
XPV_PARAM(turn_limit, xpv_pvlock_live_knobs.turn_limit, 0, 1000000, 0644,
	  "Times that a CPU overtakes a queue, then it queues, 0..1000000 (4096)");
XPV_PARAM(turn_us, xpv_pvlock_live_knobs.turn_us, 0, 1000000, 0644,
	  "Microseconds after which such a CPU queues, 0: no such limit; 0..1000000 (500)");
XPV_PARAM(adaptive, xpv_pvlock_live_knobs.adaptive, 0, 1, 0644,
	  "Stop spinning for a vCPU that does not run, 0 or 1 (1)");
XPV_PARAM(timeout_ms, xpv_pvlock_timeout_ms, 100, 600000, 0644,
	  "Safety timeout of a sleep in milliseconds, 100..600000 (10000)");

/* ---- statistics ------------------------------------------------------------ */

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
#define COUNTER(field)                                           \
	{                                                        \
#field, offsetof(struct xpv_pvlock_stats, field) \
	}
	COUNTER(at_once),
	COUNTER(contended),
	COUNTER(queued),
	COUNTER(yields),
	COUNTER(polls),
	COUNTER(kicks),
	COUNTER(repends),
	COUNTER(spurious),
	COUNTER(timeouts),
	COUNTER(rescued),
	COUNTER(not_owner),
#undef COUNTER
};

static struct dentry *folder;

/* Of the lock type, or of the kernel's locks. */
static struct xpv_pvlock_cpu *cpus_of(const struct seq_file *file)
{
	return file->private ? xpv_pvlock_kernel_cpus : xpv_pvlock_cpus;
}

/* Times at once in a turn that goes on; the CPU may change both meanwhile. */
static u32 passes(const struct xpv_pvlock_cpu *cpu)
{
	s32 count = READ_ONCE(cpu->granted) - READ_ONCE(*cpu->left);

	return max(count, 0);
}

static int stats_show(struct seq_file *file, void *unused)
{
	u64 spins[XPV_PVLOCK_BUCKETS] = {}, acquired = 0, longest = 0;
	const struct xpv_pvlock_cpu *cpus = cpus_of(file);
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		const struct xpv_pvlock_stats *stats = &cpus[cpu].stats;

		acquired += per_cpu(xpv_pvlock_acquired, cpu);
		longest = max(longest, READ_ONCE(stats->longest));
		for (i = 0; i < XPV_PVLOCK_BUCKETS; i++)
			spins[i] += READ_ONCE(stats->spins[i]);
	}
	if (file->private)
		seq_printf(file, "mode: %s\n", xpv_pvlock_kernel_mode());
	else
		seq_printf(file, "mode: %s%s\n", xpv_pvlock_spin_reason ? "spin, " : "sleep",
			   xpv_pvlock_spin_reason ?: "");
	seq_printf(file, "channels: %u\n", xpv_pvlock_channels());
	if (file->private)
		seq_printf(file, "hooks: %u\n", xpv_pvlock_hooks());
	/* The kernel's fast paths count nothing. */
	if (!file->private)
		seq_printf(file, "acquired: %llu\n", acquired);
	for (i = 0; i < ARRAY_SIZE(counters); i++) {
		u64 sum = 0;

		for_each_possible_cpu(cpu)
			sum += READ_ONCE(*(u64 *)((char *)&cpus[cpu].stats + counters[i].offset));
		/* Those of a turn that goes on are not counted yet. */
		if (counters[i].offset == offsetof(struct xpv_pvlock_stats, at_once))
			for_each_possible_cpu(cpu)
				sum += passes(&cpus[cpu]);
		seq_printf(file, "%s: %llu\n", counters[i].name, sum);
	}
	seq_printf(file, "longest_wait_ns: %llu\n", longest);
	seq_puts(file, "spins:");
	for (i = 0; i < XPV_PVLOCK_BUCKETS; i++)
		seq_printf(file, " %llu", spins[i]);
	seq_puts(file, "\n");
	return 0;
}

static int stats_open(struct inode *inode, struct file *file)
{
	return single_open(file, stats_show, inode->i_private);
}

/* Anything written sets the counters to nought; what is counted meanwhile may
 * be lost. */
static ssize_t stats_write(struct file *file, const char __user *text, size_t size,
			   loff_t *at)
{
	const struct seq_file *seq = file->private_data;
	struct xpv_pvlock_cpu *cpus = cpus_of(seq);
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		memset(&cpus[cpu].stats, 0, sizeof(struct xpv_pvlock_stats));
		WRITE_ONCE(cpus[cpu].granted, READ_ONCE(*cpus[cpu].left));
		if (!seq->private)
			per_cpu(xpv_pvlock_acquired, cpu) = 0;
	}
	return size;
}

static const struct file_operations stats_ops = {
	.owner = THIS_MODULE,
	.open = stats_open,
	.read = seq_read,
	.write = stats_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void xpv_pvlock_stats_init(void)
{
	folder = debugfs_create_dir("xpv-pvlock", NULL);
	debugfs_create_file("stats", 0600, folder, NULL, &stats_ops);
	debugfs_create_file("kernel", 0600, folder, (void *)"", &stats_ops);
}

void xpv_pvlock_stats_exit(void)
{
	debugfs_remove_recursive(folder);
}
