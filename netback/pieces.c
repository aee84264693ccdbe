// SPDX-License-Identifier: GPL-2.0-only
/* Guest-RX: a packet as pieces of a page each, which is what Xen copies. */
#include <linux/mm.h>
#include <linux/skbuff.h>
#include <xen/grant_table.h>
#include <xen/page.h>

#include "netback/netback.h"
#include "shim/foreign.h"

struct flattener {
	struct xpv_netback_piece *piece;
	u32 count;
};

static void add_piece(struct flattener *f, struct page *page, u32 offset,
		      u32 length)
{
	struct xpv_netback_piece *piece = &f->piece[f->count++];
	const struct xen_page_foreign *foreign = xpv_page_foreign(page);

	piece->offset = offset;
	piece->length = length;
	piece->foreign = foreign;
	if (unlikely(foreign)) {
		piece->ref = foreign->gref;
		piece->domid = foreign->domid;
	} else {
		piece->gfn = pfn_to_gfn(page_to_pfn(page));
	}
}

/* A stretch of memory that is contiguous, page by page. */
static bool add_run(struct flattener *f, struct page *page, u32 offset, u32 length)
{
	page += offset / PAGE_SIZE;
	offset = offset_in_page(offset);
	while (length) {
		u32 part = min_t(u32, length, PAGE_SIZE - offset);

		if (f->count == XPV_NETBACK_RX_PIECES)
			return false;
		add_piece(f, page++, offset, part);
		length -= part;
		offset = 0;
	}
	return true;
}

static bool add_skb(struct flattener *f, const struct sk_buff *skb)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	const struct sk_buff *part;
	u32 i;

	if (!add_run(f, virt_to_page(skb->data), offset_in_page(skb->data),
		     skb_headlen(skb)))
		return false;
	for (i = 0; i < shared->nr_frags; i++) {
		const skb_frag_t *frag = &shared->frags[i];

		if (!add_run(f, skb_frag_page(frag), skb_frag_off(frag),
			     skb_frag_size(frag)))
			return false;
	}
	for (part = shared->frag_list; part; part = part->next)
		if (!add_skb(f, part))
			return false;
	return true;
}

u32 netback_pieces(struct sk_buff *skb, struct xpv_netback_piece *pieces)
{
	struct flattener f = { .piece = pieces };

	if (likely(add_skb(&f, skb)))
		return f.count;
	f.count = 0;
	if (skb_linearize(skb) || !add_skb(&f, skb))
		return 0;
	return f.count;
}
