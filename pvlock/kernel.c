// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel=: the kernel's own spinlocks and rwlocks wait here, or as they did. What is done
 * in what order is takeover.hpp's, how it is done is in hooks.c.
 */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <asm/paravirt.h>

#include "pvlock/shim.h"

struct xpv_pvlock_cpu *xpv_pvlock_kernel_cpus;

static DEFINE_MUTEX(switching);
static bool ready;	  /* between init and exit */
static unsigned int wish; /* kernel=, as loaded */
static DEFINE_PER_CPU(int, kernel_left);
DEFINE_PER_CPU(struct xpv_pvlock_cpu *, xpv_pvlock_kernel_self);

void xpv_pvlock_queue_lock(void *queue)
{
	arch_spin_lock(queue);
}

void xpv_pvlock_queue_unlock(void *queue)
{
	arch_spin_unlock(queue);
}

int xpv_pvlock_refuse(enum xpv_pvlock_refusal why)
{
	switch (why) {
	case XPV_PVLOCK_NO_XEN:
		pr_err("kernel=1 refused: no Xen\n");
		return -ENODEV;
	case XPV_PVLOCK_FIXED:
		pr_err("kernel=1 refused: this kernel was built with PREEMPT_RT, or without direct calls of ftrace or PV spinlocks\n");
		return -EOPNOTSUPP;
	case XPV_PVLOCK_NOT_LINUX:
		pr_err("kernel=1 refused: a function that is not Linux's waits for spinlocks\n");
		return -EBUSY;
	case XPV_PVLOCK_CPUS:
		pr_err("kernel=1 refused: %u CPUs, at most %u\n", nr_cpu_ids,
		       XPV_PVLOCK_KERNEL_CPUS_MAX);
		return -E2BIG;
	}
	return -EINVAL;
}

const char *xpv_pvlock_kernel_mode(void)
{
	if (!xpv_pvlock_taken_over())
		return "off";
	if (xpv_pvlock_kernel_facts().waits == XPV_PVLOCK_WAITS_NATIVE)
		return "native, waiters yield";
	return xpv_pvlock_spin_reason ? "PV, waiters yield" : "PV, waiters sleep";
}

static int switch_to(bool on)
{
	int err;

	if (on == xpv_pvlock_taken_over())
		return 0;
	err = xpv_pvlock_takeover(on);
	if (err)
		return err;
	if (on)
		pr_info("the kernel's spinlocks and rwlocks wait here now: %s\n",
			xpv_pvlock_kernel_mode());
	else
		pr_info("the kernel's spinlocks and rwlocks wait as they did\n");
	return 0;
}

/* ---- kernel= --------------------------------------------------------------- */

static int kernel_set(const char *text, const struct kernel_param *param)
{
	unsigned int number;
	int err = 0;

	if (kstrtouint(text, 0, &number) || number > 1) {
		pr_err("parameter %s: \"%.*s\" is not a number in 0..1\n", param->name,
		       (int)strcspn(text, "\n"), text);
		return -EINVAL;
	}
	mutex_lock(&switching);
	if (ready)
		err = switch_to(number);
	else
		wish = number;
	mutex_unlock(&switching);
	return err;
}

static int kernel_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%u\n", xpv_pvlock_taken_over());
}

static const struct kernel_param_ops kernel_ops = { .set = kernel_set, .get = kernel_get };
module_param_cb(kernel, &kernel_ops, NULL, 0644);
MODULE_PARM_DESC(kernel, "Take over the kernel's own spinlocks and rwlocks, 0 or 1 (0)");

int xpv_pvlock_kernel_init(void)
{
	unsigned int cpu;

	xpv_pvlock_kernel_cpus = vzalloc(nr_cpu_ids * sizeof(*xpv_pvlock_kernel_cpus));
	if (!xpv_pvlock_kernel_cpus)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		xpv_pvlock_kernel_cpus[cpu].number = cpu;
		xpv_pvlock_kernel_cpus[cpu].left = &per_cpu(kernel_left, cpu);
		per_cpu(xpv_pvlock_kernel_self, cpu) = &xpv_pvlock_kernel_cpus[cpu];
	}
	mutex_lock(&switching);
	ready = true;
	/* Refused, and said: the lock type is there all the same. */
	switch_to(wish);
	mutex_unlock(&switching);
	return 0;
}

void xpv_pvlock_kernel_exit(void)
{
	mutex_lock(&switching);
	switch_to(0);
	xpv_pvlock_takeover_end();
	ready = false;
	mutex_unlock(&switching);
	vfree(xpv_pvlock_kernel_cpus);
}
