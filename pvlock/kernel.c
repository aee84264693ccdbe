// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own spinlocks and rwlocks: their slow hooks are taken over while
 * kernel=1. A direct call of ftrace leads from the first instruction of each to a
 * trampoline, which goes on into the kernel's function or into ours. All change
 * over at once, in stop_machine(), when no CPU waits for a lock or holds one: the
 * two ways of waiting never meet on a word.
 */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <xen/xen.h>
#include <asm/ibt.h>
#include <asm/linkage.h>
#include <asm/paravirt.h>
#include <asm/unwind_hints.h>

#include "pvlock/shim.h"

struct xpv_pvlock_cpu *xpv_pvlock_kernel_cpus;

static DEFINE_MUTEX(switching);
static bool ready;	  /* between init and exit */
static unsigned int wish; /* kernel=, as loaded */
static const char *mode = "off";
static DEFINE_PER_CPU(int, kernel_left);

const char *xpv_pvlock_kernel_mode(void)
{
	return READ_ONCE(mode);
}

void xpv_pvlock_queue_lock(void *queue)
{
	arch_spin_lock(queue);
}

void xpv_pvlock_queue_unlock(void *queue)
{
	arch_spin_unlock(queue);
}

#if defined(CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) && \
	defined(CONFIG_PARAVIRT_SPINLOCKS) && !defined(CONFIG_PREEMPT_RT)

/* Ours are in charge. Read by the trampolines, changed in stop_machine(). */
u8 xpv_pvlock_in_charge;

/*
 * Called by the first instruction of the kernel's function, with its arguments:
 * return into it, or drop that return address, as if ours had been called instead.
 */
#define TRAMPOLINE(name)                                                   \
	asm(".pushsection .text, \"ax\", @progbits\n"                      \
	    ".globl xpv_pvlock_to_" #name "\n"                             \
	    ".type xpv_pvlock_to_" #name ", @function\n"                   \
	    "xpv_pvlock_to_" #name ":\n" ASM_ENDBR                         \
	    "	cmpb $0, xpv_pvlock_in_charge(%rip)\n"                       \
	    "	jne 1f\n"                                                    \
	    "	" ASM_RET                                                  \
	    "1:	add $8, %rsp\n" UNWIND_HINT_FUNC                           \
	    "	jmp xpv_pvlock_now_" #name "\n"                            \
	    ".size xpv_pvlock_to_" #name ", . - xpv_pvlock_to_" #name "\n" \
	    ".popsection\n")

/* ---- what takes the place of the kernel's functions; preemption off ------- */

void xpv_pvlock_now_pv_lock(struct qspinlock *lock, u32 val)
{
	xpv_pvlock_kernel_lock((u32 *)&lock->val, raw_smp_processor_id(), true);
}

void xpv_pvlock_now_pv_unlock(struct qspinlock *lock, u8 locked)
{
	xpv_pvlock_kernel_unlock((u32 *)&lock->val, raw_smp_processor_id());
}

void xpv_pvlock_now_native_lock(struct qspinlock *lock, u32 val)
{
	xpv_pvlock_kernel_lock((u32 *)&lock->val, raw_smp_processor_id(), false);
}

void xpv_pvlock_now_read_lock(struct qrwlock *lock)
{
	xpv_pvlock_kernel_read((u32 *)&lock->cnts, &lock->wait_lock, in_interrupt(),
			       raw_smp_processor_id());
}

void xpv_pvlock_now_write_lock(struct qrwlock *lock)
{
	xpv_pvlock_kernel_write((u32 *)&lock->cnts, &lock->wait_lock,
				raw_smp_processor_id());
}

TRAMPOLINE(pv_lock);
TRAMPOLINE(pv_unlock);
TRAMPOLINE(native_lock);
TRAMPOLINE(read_lock);
TRAMPOLINE(write_lock);

/* ---- ftrace --------------------------------------------------------------- */

static struct hook {
	const char *function;
	void (*trampoline)(void);
	bool pv, native; /* which kinds of guest have it taken over */
	bool hooked;
	struct ftrace_ops ops;
} hooks[] = {
	{ "__pv_queued_spin_lock_slowpath", xpv_pvlock_to_pv_lock, .pv = true },
	{ "__pv_queued_spin_unlock_slowpath", xpv_pvlock_to_pv_unlock, .pv = true },
	{ "native_queued_spin_lock_slowpath", xpv_pvlock_to_native_lock, .native = true },
	{ "queued_read_lock_slowpath", xpv_pvlock_to_read_lock, true, true },
	{ "queued_write_lock_slowpath", xpv_pvlock_to_write_lock, true, true },
};

/*
 * Nobody may switch ftrace off meanwhile: waiters would go into the kernel's
 * functions. It refuses to while this one is there, and to register it when it is
 * off already.
 */
static void guard_called(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
			 struct ftrace_regs *regs)
{
}

static struct ftrace_ops guard;

/* What the guard looks at: ftrace wants a function. */
int xpv_pvlock_set_in_charge(void *value)
{
	WRITE_ONCE(xpv_pvlock_in_charge, value != NULL);
	return 0;
}

static int nothing(void *unused)
{
	return 0;
}

static int attach(struct ftrace_ops *ops, void (*trampoline)(void))
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	return register_ftrace_direct_multi(ops, (unsigned long)trampoline);
#else
	return register_ftrace_direct(ops, (unsigned long)trampoline);
#endif
}

static int detach(struct ftrace_ops *ops, void (*trampoline)(void))
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	return unregister_ftrace_direct_multi(ops, (unsigned long)trampoline);
#else
	return unregister_ftrace_direct(ops, (unsigned long)trampoline, false);
#endif
}

/* As new: ftrace leaves in it what it frees. */
static void forget(struct ftrace_ops *ops)
{
	ftrace_free_filter(ops);
	memset(ops, 0, sizeof(*ops));
}

static void unhook_all(void)
{
	struct hook *hook;

	for (hook = hooks; hook < hooks + ARRAY_SIZE(hooks); hook++) {
		if (hook->hooked)
			WARN_ON(detach(&hook->ops, hook->trampoline));
		hook->hooked = false;
		forget(&hook->ops);
	}
	unregister_ftrace_function(&guard);
	forget(&guard);
	/* Each CPU has left the trampolines, in which none is preempted. */
	stop_machine(nothing, NULL, NULL);
}

static int hook_all(bool pv)
{
	char guarded[] = "xpv_pvlock_set_in_charge";
	struct hook *hook;
	int err;

	guard.func = guard_called;
	guard.flags = FTRACE_OPS_FL_PERMANENT;
	err = ftrace_set_filter(&guard, guarded, strlen(guarded), 1) ?:
								       register_ftrace_function(&guard);
	if (err) {
		pr_err("kernel=1 refused: ftrace is off (error %d)\n", err);
		forget(&guard);
		return err;
	}
	for (hook = hooks; hook < hooks + ARRAY_SIZE(hooks); hook++) {
		char function[48];

		if (pv ? !hook->pv : !hook->native)
			continue;
		strscpy(function, hook->function, sizeof(function));
		err = ftrace_set_filter(&hook->ops, function, strlen(function), 1);
		if (err) {
			pr_err("kernel=1 refused: %s cannot be traced (error %d)\n",
			       hook->function, err);
			break;
		}
		err = attach(&hook->ops, hook->trampoline);
		if (err) {
			pr_err("kernel=1 refused: %s is somebody else's (error %d)\n",
			       hook->function, err);
			break;
		}
		hook->hooked = true;
	}
	if (err)
		unhook_all();
	return err;
}

/* ---- on and off ------------------------------------------------------------ */

static int take_over(void)
{
	/* Which function waits was settled at boot. */
	const bool pv = pv_ops.lock.queued_spin_lock_slowpath == __pv_queued_spin_lock_slowpath;
	int err;

	BUILD_BUG_ON(sizeof(struct qspinlock) != 4 || sizeof(arch_spinlock_t) != 4);
	BUILD_BUG_ON(_QW_WAITING != XPV_PVLOCK_RW_WAITING || _QW_LOCKED != XPV_PVLOCK_RW_LOCKED ||
		     _QR_BIAS != XPV_PVLOCK_RW_READER);

	if (!xen_domain()) {
		pr_err("kernel=1 refused: no Xen\n");
		return -ENODEV;
	}
	if (nr_cpu_ids > XPV_PVLOCK_KERNEL_CPUS_MAX) {
		pr_err("kernel=1 refused: %u CPUs, at most %u\n", nr_cpu_ids,
		       XPV_PVLOCK_KERNEL_CPUS_MAX);
		return -E2BIG;
	}
	if (!pv && pv_ops.lock.queued_spin_lock_slowpath != native_queued_spin_lock_slowpath) {
		pr_err("kernel=1 refused: %ps waits for spinlocks, which is not Linux's\n",
		       pv_ops.lock.queued_spin_lock_slowpath);
		return -EBUSY;
	}
	err = hook_all(pv);
	if (err)
		return err;
	stop_machine(xpv_pvlock_set_in_charge, &ready, NULL);
	WRITE_ONCE(mode, !pv			? "native, waiters yield" :
			 xpv_pvlock_spin_reason ? "PV, waiters yield" :
						  "PV, waiters sleep");
	pr_info("the kernel's spinlocks and rwlocks wait here now: %s\n", mode);
	return 0;
}

static void give_back(void)
{
	stop_machine(xpv_pvlock_set_in_charge, NULL, NULL);
	WRITE_ONCE(mode, "off");
	unhook_all();
	pr_info("the kernel's spinlocks and rwlocks wait as they did\n");
}

static bool in_charge(void)
{
	return READ_ONCE(xpv_pvlock_in_charge);
}

#else

static int take_over(void)
{
	pr_err("kernel=1 refused: this kernel was built with PREEMPT_RT, or without direct calls of ftrace or PV spinlocks\n");
	return -EOPNOTSUPP;
}

static void give_back(void)
{
}

static bool in_charge(void)
{
	return false;
}

#endif

static int switch_to(unsigned int on)
{
	if (on == in_charge())
		return 0;
	if (on)
		return take_over();
	give_back();
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
	return sysfs_emit(buffer, "%u\n", in_charge());
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
	for_each_possible_cpu(cpu)
		xpv_pvlock_kernel_cpus[cpu].left = &per_cpu(kernel_left, cpu);
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
	ready = false;
	mutex_unlock(&switching);
	vfree(xpv_pvlock_kernel_cpus);
}
