// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: locks. */
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "shim/shim.h"

struct xpv_lock {
	spinlock_t lock;
};

struct xpv_lock *xpv_lock_new(uint32_t order)
{
	static struct lock_class_key classes[2];
	struct xpv_lock *new = kmalloc(sizeof(*new), GFP_KERNEL);

	if (!new)
		return NULL;
	spin_lock_init(&new->lock);
	lockdep_set_class(&new->lock, &classes[order]);
	return new;
}

void xpv_lock_free(struct xpv_lock *lock)
{
	kfree(lock);
}

unsigned long xpv_lock_take(struct xpv_lock *lock) __acquires(&lock->lock)
{
	unsigned long flags;

	spin_lock_irqsave(&lock->lock, flags);
	return flags;
}

void xpv_lock_drop(struct xpv_lock *lock, unsigned long flags)
	__releases(&lock->lock)
{
	spin_unlock_irqrestore(&lock->lock, flags);
}
