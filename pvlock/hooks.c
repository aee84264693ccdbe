// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the kernel's slow paths lead to ours. A direct call of ftrace goes from the first
 * instruction of each to a trampoline, which goes on into the kernel's function or into
 * ours, as one flag says. It changes in stop_machine(), when no CPU waits for a lock or
 * holds one: the two ways of waiting never meet on a word. takeover.hpp says when.
 */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/ftrace.h>
#include <linux/spinlock.h>
#include <linux/stop_machine.h>
#include <linux/version.h>
#include <xen/xen.h>
#include <asm/ibt.h>
#include <asm/linkage.h>
#include <asm/paravirt.h>
#include <asm/unwind_hints.h>

#include "pvlock/shim.h"

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
	xpv_pvlock_kernel_lock_pv((u32 *)&lock->val, raw_cpu_read(xpv_pvlock_kernel_self));
}

void xpv_pvlock_now_pv_unlock(struct qspinlock *lock, u8 locked)
{
	xpv_pvlock_kernel_unlock((u32 *)&lock->val, raw_smp_processor_id());
}

void xpv_pvlock_now_native_lock(struct qspinlock *lock, u32 val)
{
	xpv_pvlock_kernel_lock_native((u32 *)&lock->val, raw_cpu_read(xpv_pvlock_kernel_self));
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
	const char *name;
	void (*trampoline)(void);
	struct ftrace_ops ops;
} hooks[XPV_PVLOCK_FUNCTIONS] = {
	[XPV_PVLOCK_PV_LOCK] = { "__pv_queued_spin_lock_slowpath", xpv_pvlock_to_pv_lock },
	[XPV_PVLOCK_PV_UNLOCK] = { "__pv_queued_spin_unlock_slowpath", xpv_pvlock_to_pv_unlock },
	[XPV_PVLOCK_NATIVE_LOCK] = { "native_queued_spin_lock_slowpath", xpv_pvlock_to_native_lock },
	[XPV_PVLOCK_READ_LOCK] = { "queued_read_lock_slowpath", xpv_pvlock_to_read_lock },
	[XPV_PVLOCK_WRITE_LOCK] = { "queued_write_lock_slowpath", xpv_pvlock_to_write_lock },
};

/* ftrace refuses to be switched off while this one is there, and to register it then. */
static void guard_called(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
			 struct ftrace_regs *regs)
{
}

static struct ftrace_ops guard;

/* As new: ftrace leaves in it what it frees. */
static void forget(struct ftrace_ops *ops)
{
	ftrace_free_filter(ops);
	memset(ops, 0, sizeof(*ops));
}

/* What the guard looks at: ftrace wants a function. */
int xpv_pvlock_set_in_charge(void *value)
{
	WRITE_ONCE(xpv_pvlock_in_charge, value != NULL);
	return 0;
}

int xpv_pvlock_guard(void)
{
	char guarded[] = "xpv_pvlock_set_in_charge";
	int err;

	guard.func = guard_called;
	guard.flags = FTRACE_OPS_FL_PERMANENT;
	err = ftrace_set_filter(&guard, guarded, strlen(guarded), 1);
	if (!err)
		err = register_ftrace_function(&guard);
	if (!err)
		return 0;
	pr_err("kernel=1 refused: ftrace is off (error %d)\n", err);
	forget(&guard);
	return err;
}

void xpv_pvlock_unguard(void)
{
	WARN_ON(unregister_ftrace_function(&guard));
	forget(&guard);
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

int xpv_pvlock_hook(enum xpv_pvlock_function function)
{
	struct hook *hook = &hooks[function];
	char name[48];
	int err;

	strscpy(name, hook->name, sizeof(name));
	err = ftrace_set_filter(&hook->ops, name, strlen(name), 1);
	if (err) {
		pr_err("kernel=1 refused: %s cannot be traced (error %d)\n", hook->name, err);
	} else {
		err = attach(&hook->ops, hook->trampoline);
		if (!err)
			return 0;
		pr_err("kernel=1 refused: %s is somebody else's (error %d)\n", hook->name, err);
	}
	forget(&hook->ops);
	return err;
}

void xpv_pvlock_unhook(enum xpv_pvlock_function function)
{
	struct hook *hook = &hooks[function];

	WARN_ON(detach(&hook->ops, hook->trampoline));
	forget(&hook->ops);
}

/* ---- all CPUs at once ------------------------------------------------------- */

static int nothing(void *unused)
{
	return 0;
}

/* None is preempted in a trampoline. */
void xpv_pvlock_settle(void)
{
	stop_machine(nothing, NULL, NULL);
}

void xpv_pvlock_change_over(bool ours)
{
	stop_machine(xpv_pvlock_set_in_charge, ours ? &xpv_pvlock_in_charge : NULL, NULL);
}

struct xpv_pvlock_facts xpv_pvlock_kernel_facts(void)
{
	void *waits = pv_ops.lock.queued_spin_lock_slowpath;

	BUILD_BUG_ON(sizeof(struct qspinlock) != 4 || sizeof(arch_spinlock_t) != 4);
	BUILD_BUG_ON(_QW_WAITING != XPV_PVLOCK_RW_WAITING || _QW_LOCKED != XPV_PVLOCK_RW_LOCKED ||
		     _QR_BIAS != XPV_PVLOCK_RW_READER);
	return (struct xpv_pvlock_facts){
		.xen = xen_domain(),
		.cpus = nr_cpu_ids,
		.waits = waits == __pv_queued_spin_lock_slowpath   ? XPV_PVLOCK_WAITS_PV :
			 waits == native_queued_spin_lock_slowpath ? XPV_PVLOCK_WAITS_NATIVE :
								     XPV_PVLOCK_WAITS_OTHER,
	};
}

#else /* nothing to hook, and takeover.hpp does not ask */

struct xpv_pvlock_facts xpv_pvlock_kernel_facts(void)
{
	return (struct xpv_pvlock_facts){ .xen = xen_domain(),
					  .cpus = nr_cpu_ids,
					  .waits = XPV_PVLOCK_WAITS_FIXED };
}

int xpv_pvlock_guard(void)
{
	return -EOPNOTSUPP;
}

void xpv_pvlock_unguard(void)
{
}

int xpv_pvlock_hook(enum xpv_pvlock_function function)
{
	return -EOPNOTSUPP;
}

void xpv_pvlock_unhook(enum xpv_pvlock_function function)
{
}

void xpv_pvlock_settle(void)
{
}

void xpv_pvlock_change_over(bool ours)
{
}

#endif
