// SPDX-License-Identifier: GPL-2.0-only
/* The module: what this machine offers, and the API's entries out of line. */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/build_bug.h>
#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <xen/events.h>
#include <xen/xen.h>
#include <asm/xen/hypervisor.h>
#include <asm/xen/cpuid.h>

#include "pvlock/pvlock.h"
#include "pvlock/shim.h"

struct xpv_pvlock_cpu *xpv_pvlock_cpus;
const char *xpv_pvlock_spin_reason;

DEFINE_PER_CPU(u64, xpv_pvlock_acquired);
EXPORT_PER_CPU_SYMBOL_GPL(xpv_pvlock_acquired);
DEFINE_PER_CPU(int, xpv_pvlock_left);
EXPORT_PER_CPU_SYMBOL_GPL(xpv_pvlock_left);

/* ---- the API out of line ------------------------------------------------ */

/* Straight into slow.cpp: no hop between a caller and the algorithm. */
typeof(xpv_pvlock_contended) xpv_pvlock_contended;
EXPORT_SYMBOL_GPL(xpv_pvlock_contended);
typeof(xpv_pvlock_release) xpv_pvlock_release;
EXPORT_SYMBOL_GPL(xpv_pvlock_release);

/* All locks that C++ initialises are one class to lockdep, told apart by name. */
void xpv_pvlock_init(struct xpv_spinlock *lock, const char *name)
{
	static struct lock_class_key key;

	lock->word = 0;
	lockdep_init_map_wait(xpv_pvlock_dep(lock), name, &key, 0, LD_WAIT_SPIN);
}
EXPORT_SYMBOL_GPL(xpv_pvlock_init);

void xpv_pvlock_lock(struct xpv_spinlock *lock)
{
	xpv_spin_lock(lock);
}
EXPORT_SYMBOL_GPL(xpv_pvlock_lock);

bool xpv_pvlock_trylock(struct xpv_spinlock *lock)
{
	return xpv_spin_trylock(lock);
}
EXPORT_SYMBOL_GPL(xpv_pvlock_trylock);

void xpv_pvlock_unlock(struct xpv_spinlock *lock)
{
	xpv_spin_unlock(lock);
}
EXPORT_SYMBOL_GPL(xpv_pvlock_unlock);

unsigned long xpv_pvlock_lock_irqsave(struct xpv_spinlock *lock)
{
	unsigned long flags;

	xpv_spin_lock_irqsave(lock, flags);
	return flags;
}
EXPORT_SYMBOL_GPL(xpv_pvlock_lock_irqsave);

void xpv_pvlock_unlock_irqrestore(struct xpv_spinlock *lock, unsigned long flags)
{
	xpv_spin_unlock_irqrestore(lock, flags);
}
EXPORT_SYMBOL_GPL(xpv_pvlock_unlock_irqrestore);

void xpv_pvlock_not_owner(void *lock, uint32_t owner)
{
	WARN_ONCE(1, "xpv-pvlock: CPU %u unlocks %p, which %s; left as it is\n",
		  raw_smp_processor_id(), lock,
		  owner ? "another CPU holds" : "nobody holds");
}

/* ---- what this machine offers ------------------------------------------- */

/* Why waiters cannot sleep here, or NULL. */
static const char *negotiate(void)
{
	u32 base = xen_cpuid_base();
	u32 version = base ? cpuid_eax(base + 1) : 0;

	if (base)
		pr_info("CPUID %#x: Xen %u.%u, %s guest, %u possible CPUs\n", base,
			version >> 16, version & 0xffff,
			xen_pv_domain() ? "PV" : xen_pvh_domain() ? "PVH" :
					 xen_hvm_domain()	  ? "HVM" :
								    "unaware",
			num_possible_cpus());
	if (!xen_domain())
		return base ? "this kernel does not use Xen's interfaces" :
			      "no Xen (CPUID 0x40000000)";
	if (num_possible_cpus() == 1)
		return "one vCPU";
	if (xen_hvm_domain() && !xen_have_vector_callback)
		return "an HVM guest without the callback vector";
	return NULL;
}

static int __init pvlock_init(void)
{
	unsigned int cpu;
	int err;

#ifdef CONFIG_DEBUG_LOCK_ALLOC
	BUILD_BUG_ON(sizeof(struct lockdep_map) > XPV_PVLOCK_DEP_WORDS * 8);
#else
	BUILD_BUG_ON(sizeof(struct xpv_spinlock) != 8);
#endif
	BUILD_BUG_ON(CONFIG_NR_CPUS > XPV_PVLOCK_CPUS_MAX);

	if (xpv_pvlock_size_in_cpp() != sizeof(struct xpv_spinlock)) {
		pr_err("built wrongly: a lock has %zu bytes in C, %u in C++\n",
		       sizeof(struct xpv_spinlock), xpv_pvlock_size_in_cpp());
		return -ENOEXEC;
	}
	xpv_pvlock_cpus = vzalloc(nr_cpu_ids * sizeof(*xpv_pvlock_cpus));
	if (!xpv_pvlock_cpus)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		xpv_pvlock_cpus[cpu].left = &per_cpu(xpv_pvlock_left, cpu);
	xpv_pvlock_spin_reason = negotiate();
	if (!xpv_pvlock_spin_reason) {
		err = xpv_pvlock_channels_init();
		if (err) {
			pr_warn("no event channels: error %d\n", err);
			xpv_pvlock_spin_reason = "no event channels";
		}
	}
	if (xpv_pvlock_spin_reason)
		pr_info("waiters only spin: %s\n", xpv_pvlock_spin_reason);
	else
		pr_info("waiters sleep, an event channel each on %u CPUs\n",
			xpv_pvlock_channels());
	err = xpv_pvlock_kernel_init();
	if (err) {
		xpv_pvlock_channels_exit();
		vfree(xpv_pvlock_cpus);
		return err;
	}
	xpv_pvlock_stats_init();
	return 0;
}
module_init(pvlock_init);

static void __exit pvlock_exit(void)
{
	xpv_pvlock_kernel_exit();
	xpv_pvlock_stats_exit();
	xpv_pvlock_channels_exit();
	vfree(xpv_pvlock_cpus);
}
module_exit(pvlock_exit);

MODULE_DESCRIPTION("Spinlock for Xen guests whose vCPUs may be preempted");
MODULE_AUTHOR("The xpv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
