// SPDX-License-Identifier: GPL-2.0-only
#include <linux/compiler.h>
#include <linux/ethtool.h>
#include <linux/kernel.h>

#include "shim/counters.h"

static u64 value_of(const struct xpv_counter *counter, const void *from)
{
	return READ_ONCE(*(const u64 *)((const u8 *)from + counter->offset));
}

void xpv_counters_names(const struct xpv_counter *table, u32 count,
			const char *prefix, u8 **strings)
{
	u32 i;

	for (i = 0; i < count; i++) {
		snprintf((char *)*strings, ETH_GSTRING_LEN, "%s%s", prefix,
			 table[i].name);
		*strings += ETH_GSTRING_LEN;
	}
}

void xpv_counters_read(const struct xpv_counter *table, u32 count,
		       const void *from, u64 *values)
{
	u32 i;

	for (i = 0; i < count; i++)
		values[i] = value_of(&table[i], from);
}

void xpv_counters_sum(const struct xpv_counter *table, u32 count,
		      const void *from, u64 *sums)
{
	u32 i;

	for (i = 0; i < count; i++)
		sums[i] += value_of(&table[i], from);
}

void xpv_counters_fold(const struct xpv_counter *table, u32 count,
		       const void *from, void *to)
{
	u32 i;

	for (i = 0; i < count; i++)
		*(u64 *)((u8 *)to + table[i].offset) += value_of(&table[i], from);
}
