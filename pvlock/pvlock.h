/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The PV spinlock for users: include this, and let your module depend on
 * xpv-pvlock.ko. For C in the kernel, and for C++ that sees no kernel header.
 *
 *	static DEFINE_XPV_SPINLOCK(table_lock);
 *
 *	xpv_spin_lock(&table_lock);
 *	...
 *	xpv_spin_unlock(&table_lock);
 *
 * The rules are those of raw_spinlock_t: any context, never sleep while holding
 * one, unlock on the CPU that locked, a lock that interrupts take needs irqsave
 * everywhere else. The memory may be freed as soon as unlock has returned on
 * every CPU that used it.
 */
#ifndef XPV_PVLOCK_H
#define XPV_PVLOCK_H

#include "pvlock/abi.h"

#if defined(__KERNEL__) && !defined(__cplusplus)
#include <linux/irqflags.h>
#include <linux/lockdep.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/smp.h>
#if defined(CONFIG_DEBUG_LOCK_ALLOC) && !defined(XPV_PVLOCK_LOCKDEP)
#define XPV_PVLOCK_LOCKDEP
#endif
#endif

XPV_BEGIN_DECLS

/* For C++, the build defines XPV_PVLOCK_LOCKDEP where C has it. */
#define XPV_PVLOCK_DEP_WORDS 12

struct xpv_spinlock {
	uint64_t word; /* see pvlock/abi.h; 0: free */
#ifdef XPV_PVLOCK_LOCKDEP
	union {
#ifndef __cplusplus
		struct lockdep_map dep_map;
#endif
		uint64_t dep_room[XPV_PVLOCK_DEP_WORDS];
	};
#endif
};

/* ---- out of line; what C++ calls -------------------------------------- */

void xpv_pvlock_init(struct xpv_spinlock *lock, const char *name);
void xpv_pvlock_lock(struct xpv_spinlock *lock);
bool xpv_pvlock_trylock(struct xpv_spinlock *lock);
void xpv_pvlock_unlock(struct xpv_spinlock *lock);
unsigned long xpv_pvlock_lock_irqsave(struct xpv_spinlock *lock);
void xpv_pvlock_unlock_irqrestore(struct xpv_spinlock *lock, unsigned long flags);

#if defined(__cplusplus)

#define DEFINE_XPV_SPINLOCK(name) struct xpv_spinlock name = {}
#define xpv_spin_lock_init(lock) xpv_pvlock_init(lock, #lock)
inline void xpv_spin_lock(struct xpv_spinlock *lock)
{
	xpv_pvlock_lock(lock);
}
inline bool xpv_spin_trylock(struct xpv_spinlock *lock)
{
	return xpv_pvlock_trylock(lock);
}
inline void xpv_spin_unlock(struct xpv_spinlock *lock)
{
	xpv_pvlock_unlock(lock);
}
#define xpv_spin_lock_irqsave(lock, flags) ((flags) = xpv_pvlock_lock_irqsave(lock))
#define xpv_spin_unlock_irqrestore(lock, flags) xpv_pvlock_unlock_irqrestore(lock, flags)
inline bool xpv_spin_is_locked(const struct xpv_spinlock *lock)
{
	return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & XPV_PVLOCK_OWNER) != 0;
}

#elif defined(__KERNEL__)

/* ---- in line, for C ---------------------------------------------------- */

#ifdef CONFIG_DEBUG_LOCK_ALLOC
#define XPV_PVLOCK_DEP_INIT(lockname) \
	.dep_map = { .name = #lockname, .wait_type_inner = LD_WAIT_SPIN },
#define xpv_pvlock_dep(lock) (&(lock)->dep_map)
#else
#define XPV_PVLOCK_DEP_INIT(lockname)
#define xpv_pvlock_dep(lock) NULL
#endif

#define XPV_SPINLOCK_UNLOCKED(lockname)                  \
	{                                                \
		.word = 0, XPV_PVLOCK_DEP_INIT(lockname) \
	}
#define DEFINE_XPV_SPINLOCK(name) struct xpv_spinlock name = XPV_SPINLOCK_UNLOCKED(name)

/* One class for each place that calls it, as with spin_lock_init(). */
#define xpv_spin_lock_init(lock)                                              \
	do {                                                                  \
		static struct lock_class_key __key;                           \
		(lock)->word = 0;                                             \
		lockdep_init_map_wait(xpv_pvlock_dep(lock), #lock, &__key, 0, \
				      LD_WAIT_SPIN);                          \
	} while (0)

DECLARE_PER_CPU(u64, xpv_pvlock_acquired);
/* How often this CPU may take a crowded lock; an interrupt may take one too many. */
DECLARE_PER_CPU(int, xpv_pvlock_left);

/* Held, or reserved for the queue's head. */
#define XPV_PVLOCK_TAKEN (XPV_PVLOCK_OWNER | XPV_PVLOCK_RESERVED)

static __always_inline void xpv_pvlock_raw_lock(struct xpv_spinlock *lock)
{
	u32 cpu = raw_smp_processor_id();
	u64 word = 0;

	this_cpu_inc(xpv_pvlock_acquired);
	if (likely(try_cmpxchg_acquire(&lock->word, &word, (u64)(cpu + 1))))
		return;
	/* A crowded lock is most often free, but for its waiters. */
	if (!(word & XPV_PVLOCK_TAKEN) && this_cpu_read(xpv_pvlock_left) > 0 &&
	    try_cmpxchg_acquire(&lock->word, &word, word | (cpu + 1))) {
		this_cpu_dec(xpv_pvlock_left);
		return;
	}
	xpv_pvlock_contended(&lock->word, cpu);
}

static __always_inline bool xpv_pvlock_raw_trylock(struct xpv_spinlock *lock)
{
	u64 word = READ_ONCE(lock->word);

	if (word & XPV_PVLOCK_TAKEN)
		return false;
	if (!try_cmpxchg_acquire(&lock->word, &word,
				 word | (u64)(raw_smp_processor_id() + 1)))
		return false;
	this_cpu_inc(xpv_pvlock_acquired);
	return true;
}

static __always_inline void xpv_pvlock_raw_unlock(struct xpv_spinlock *lock)
{
	u32 cpu = raw_smp_processor_id();
	u64 word = cpu + 1, released;

	if (likely(try_cmpxchg_release(&lock->word, &word, 0)))
		return;
	/* Somebody is awake and looks at the lock: nobody to call. */
	released = word ^ (cpu + 1);
	if (!(released & XPV_PVLOCK_TAKEN) &&
	    (released & (XPV_PVLOCK_OUTSIDER | XPV_PVLOCK_HEAD_UP)) &&
	    try_cmpxchg_release(&lock->word, &word, released))
		return;
	xpv_pvlock_release(&lock->word, cpu);
}

static __always_inline void xpv_spin_lock(struct xpv_spinlock *lock)
{
	preempt_disable();
	spin_acquire(xpv_pvlock_dep(lock), 0, 0, _THIS_IP_);
	xpv_pvlock_raw_lock(lock);
}

static __always_inline bool xpv_spin_trylock(struct xpv_spinlock *lock)
{
	preempt_disable();
	if (!xpv_pvlock_raw_trylock(lock)) {
		preempt_enable();
		return false;
	}
	spin_acquire(xpv_pvlock_dep(lock), 0, 1, _THIS_IP_);
	return true;
}

static __always_inline void xpv_spin_unlock(struct xpv_spinlock *lock)
{
	spin_release(xpv_pvlock_dep(lock), _THIS_IP_);
	xpv_pvlock_raw_unlock(lock);
	preempt_enable();
}

#define xpv_spin_lock_irqsave(lock, flags) \
	do {                               \
		local_irq_save(flags);     \
		xpv_spin_lock(lock);       \
	} while (0)

#define xpv_spin_unlock_irqrestore(lock, flags)                \
	do {                                                   \
		spin_release(xpv_pvlock_dep(lock), _THIS_IP_); \
		xpv_pvlock_raw_unlock(lock);                   \
		local_irq_restore(flags);                      \
		preempt_enable();                              \
	} while (0)

static __always_inline bool xpv_spin_is_locked(const struct xpv_spinlock *lock)
{
	return (READ_ONCE(lock->word) & XPV_PVLOCK_OWNER) != 0;
}

#endif

XPV_END_DECLS

#endif
