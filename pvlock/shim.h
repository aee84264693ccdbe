/* SPDX-License-Identifier: GPL-2.0-only */
/* What pvlock's C files share. Never seen by C++. */
#ifndef XPV_PVLOCK_SHIM_H
#define XPV_PVLOCK_SHIM_H

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

/* stats.c */
void xpv_pvlock_stats_init(void);
void xpv_pvlock_stats_exit(void);

#endif
