/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a page is another domain's, mapped here through a grant. */
#ifndef XPV_SHIM_FOREIGN_H
#define XPV_SHIM_FOREIGN_H

#include <linux/mm.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <asm/xen/page.h>

/*
 * The domain and the grant, or NULL for a page of our own.
 *
 * PageForeign is PG_owner_priv_1, and so are PageSwapCache, PageChecked and PagePinned:
 * an anonymous page on its way to swap, sent without a copy, has the bit, and a swap
 * entry where the grant would be. Read as domid and reference it names whatever grant
 * of whatever guest it happens to: at worst somebody's secrets. A page that a grant is
 * mapped into is none of anybody's memory (no mapping, not to be swapped), and all that
 * map grants mark it private (gnttab_pages_set_private). Where Xen does not translate
 * for us, the frame's own entry says that it is foreign, which nothing else sets.
 */
static inline const struct xen_page_foreign *xpv_page_foreign(struct page *page)
{
	const struct xen_page_foreign *foreign = xen_page_foreign(page);

	if (likely(!foreign))
		return NULL;
	if (!PagePrivate(page) || folio_test_swapbacked(page_folio(page)) || READ_ONCE(page->mapping))
		return NULL;
	if (!xen_feature(XENFEAT_auto_translated_physmap)) {
		unsigned long mfn = __pfn_to_mfn(page_to_pfn(page));

		if (mfn == INVALID_P2M_ENTRY || !(mfn & FOREIGN_FRAME_BIT))
			return NULL;
	}
	return foreign;
}

#endif
