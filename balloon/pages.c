// SPDX-License-Identifier: GPL-2.0-only
/* balloon/abi.h: pages of the kernel. */
#include <linux/mm.h>
#include <linux/page-flags.h>

#include "balloon/balloon.h"

/*
 * Free memory only, and nobody is woken; then clean page cache; then what file systems keep
 * and write; then everything. Cleared here, once, and nowhere else.
 */
static gfp_t gfp_of(u32 rung)
{
	const gfp_t base = __GFP_HIGHMEM | __GFP_NOWARN | __GFP_NORETRY |
			   __GFP_NOMEMALLOC | __GFP_ZERO;

	switch (rung) {
	case 0:
		return base;
	case 1:
		return base | __GFP_DIRECT_RECLAIM;
	case 2:
		return base | __GFP_DIRECT_RECLAIM | __GFP_FS | __GFP_IO;
	default:
		return base | GFP_HIGHUSER;
	}
}

uint32_t xpv_balloon_os_alloc(struct xpv_balloon_os *os, uint32_t order,
			      uint32_t rung, uint32_t count, uint64_t *pfns)
{
	const gfp_t gfp = gfp_of(rung);
	struct page *page;
	u32 i;

	for (i = 0; i < count; i++) {
		page = alloc_pages(gfp, order);
		if (!page)
			break;
		pfns[i] = page_to_pfn(page);
	}
	return i;
}

void xpv_balloon_os_free(struct xpv_balloon_os *os, uint32_t order,
			 uint32_t count, const uint64_t *pfns)
{
	u32 i;

	for (i = 0; i < count; i++)
		__free_pages(pfn_to_page(pfns[i]), order);
}

void xpv_balloon_os_split(struct xpv_balloon_os *os, uint32_t order,
			  uint64_t pfn)
{
	split_page(pfn_to_page(pfn), order);
}

void xpv_balloon_os_mark(struct xpv_balloon_os *os, uint32_t order,
			 uint32_t count, const uint64_t *pfns)
{
	u32 i, j;

	/* Readers of /proc/kcore are elsewhere from here on. */
	page_offline_begin();
	for (i = 0; i < count; i++)
		for (j = 0; j < 1U << order; j++)
			__SetPageOffline(pfn_to_page(pfns[i] + j));
	page_offline_end();
	for (i = 0; i < count; i++)
		adjust_managed_page_count(pfn_to_page(pfns[i]), -(1L << order));
}

void xpv_balloon_os_unmark(struct xpv_balloon_os *os, uint32_t order,
			   uint32_t count, const uint64_t *pfns)
{
	u32 i, j;

	for (i = 0; i < count; i++) {
		for (j = 0; j < 1U << order; j++)
			__ClearPageOffline(pfn_to_page(pfns[i] + j));
		adjust_managed_page_count(pfn_to_page(pfns[i]), 1L << order);
	}
}

uint64_t *xpv_balloon_os_word(struct xpv_balloon_os *os, uint64_t pfn)
{
	BUILD_BUG_ON(sizeof(uint64_t) != sizeof(page_private(pfn_to_page(0))));
	return (uint64_t *)&page_private(pfn_to_page(pfn));
}
