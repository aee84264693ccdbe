/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters by name. An X-macro lists a struct's fields once; the struct and this table of
 * it are made from that list, so that no field can be missing where numbers are shown or
 * added up:
 *
 *     static const struct xpv_counter table[] = {
 *     #define X(name) XPV_COUNTER(xpv_netback_counters, name),
 *             XPV_NETBACK_COUNTERS(X)
 *     #undef X
 *     };
 *
 * Every field is a u64. Whoever counts need not stop for those who read.
 */
#ifndef XPV_SHIM_COUNTERS_H
#define XPV_SHIM_COUNTERS_H

#include <linux/stddef.h>
#include <linux/types.h>

struct xpv_counter {
	const char *name;
	u16 offset;
};

#define XPV_COUNTER(type, field)                     \
	{                                            \
#field, offsetof(struct type, field) \
	}

/* Names for ETH_SS_STATS, each after prefix; *strings moves on. */
void xpv_counters_names(const struct xpv_counter *table, u32 count,
			const char *prefix, u8 **strings);
/* values[i] = the i-th counter of the struct `from`. */
void xpv_counters_read(const struct xpv_counter *table, u32 count,
		       const void *from, u64 *values);
/* sums[i] += the same. */
void xpv_counters_sum(const struct xpv_counter *table, u32 count,
		      const void *from, u64 *sums);
/* Each counter of `from` is added to that of `to`, another such struct. */
void xpv_counters_fold(const struct xpv_counter *table, u32 count,
		       const void *from, void *to);

#endif
