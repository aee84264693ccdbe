/* SPDX-License-Identifier: GPL-2.0-only */
/* What pvlock's C files share. Never seen by C++. */
#ifndef XPV_PVLOCK_SHIM_H
#define XPV_PVLOCK_SHIM_H

#include <linux/percpu.h>
#include <linux/types.h>

#include "pvlock/abi.h"

/* Why waiters only spin; NULL: they sleep on event channels. */
extern const char *xpv_pvlock_spin_reason;
/* The safety timeout of a sleep. */
extern u32 xpv_pvlock_timeout_ms;

/* channels.c: bind the CPUs' event channels, keep them bound. May sleep. */
int xpv_pvlock_channels_init(void);
void xpv_pvlock_channels_exit(void);
/* CPUs that have one. */
unsigned int xpv_pvlock_channels(void);

/* kernel.c: the kernel's own locks. Off when exit returns. May sleep. */
int xpv_pvlock_kernel_init(void);
void xpv_pvlock_kernel_exit(void);
/* This CPU's of xpv_pvlock_kernel_cpus. */
DECLARE_PER_CPU(struct xpv_pvlock_cpu *, xpv_pvlock_kernel_self);
/* How they wait: "off", or a word on it. */
const char *xpv_pvlock_kernel_mode(void);

/*
 * Inside hooks.c. The trampolines, what they lead to, and what is traced to keep ftrace on.
 */
struct qspinlock;
struct qrwlock;
void xpv_pvlock_to_pv_lock(void);
void xpv_pvlock_to_pv_unlock(void);
void xpv_pvlock_to_native_lock(void);
void xpv_pvlock_to_read_lock(void);
void xpv_pvlock_to_write_lock(void);
void xpv_pvlock_now_pv_lock(struct qspinlock *lock, u32 val);
void xpv_pvlock_now_pv_unlock(struct qspinlock *lock, u8 locked);
void xpv_pvlock_now_native_lock(struct qspinlock *lock, u32 val);
void xpv_pvlock_now_read_lock(struct qrwlock *lock);
void xpv_pvlock_now_write_lock(struct qrwlock *lock);
extern u8 xpv_pvlock_in_charge;
int xpv_pvlock_set_in_charge(void *value);

/* stats.c */
void xpv_pvlock_stats_init(void);
void xpv_pvlock_stats_exit(void);

#endif
