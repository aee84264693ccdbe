// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints a line in each interrupt of a timer, for the lab: what a kernel that
 * complains from an interrupt does to a network driver below netconsole.
 *
 *	insmod xpv-irqprint-test.ko lines=5000 period_us=1000
 *	cat /sys/module/xpv_irqprint_test/parameters/printed
 */
#define pr_fmt(fmt) "irqprint: " fmt

#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/module.h>

static unsigned int lines = 5000;
module_param(lines, uint, 0444);
MODULE_PARM_DESC(lines, "how many to print (default: 5000)");

static unsigned int period_us = 1000;
module_param(period_us, uint, 0444);
MODULE_PARM_DESC(period_us, "microseconds between two, at least 100 (default: 1000)");

static unsigned int printed;
module_param(printed, uint, 0444);
MODULE_PARM_DESC(printed, "how many were printed so far");

static struct hrtimer timer;

static enum hrtimer_restart print_one(struct hrtimer *t)
{
	WARN_ON_ONCE(!in_hardirq());
	pr_info("%u\n", printed);
	WRITE_ONCE(printed, printed + 1);
	if (printed >= lines)
		return HRTIMER_NORESTART;
	/* From now, not from when it was due: a slow machine prints fewer. */
	hrtimer_forward_now(t, ns_to_ktime(period_us * (u64)NSEC_PER_USEC));
	return HRTIMER_RESTART;
}

static int __init irqprint_init(void)
{
	if (period_us < 100)
		return -EINVAL;
	printed = 0;
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer.function = print_one;
	hrtimer_start(&timer, ns_to_ktime(period_us * (u64)NSEC_PER_USEC), HRTIMER_MODE_REL_HARD);
	return 0;
}
module_init(irqprint_init);

static void __exit irqprint_exit(void)
{
	hrtimer_cancel(&timer);
}
module_exit(irqprint_exit);

MODULE_DESCRIPTION("Prints from interrupts (test)");
MODULE_LICENSE("GPL");
