/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that come back to the queue that made packets of them: nobody clears or frees
 * them in between.
 */
#ifndef XPV_SHIM_PAGE_POOL_H
#define XPV_SHIM_PAGE_POOL_H

#include <linux/netdevice.h>
#include <linux/numa.h>
#include <linux/skbuff.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

#ifndef PP_FLAG_PAGE_FRAG /* no pool needs it any more */
#define PP_FLAG_PAGE_FRAG 0
#endif

/*
 * Keeps `size` pages, more are freed. flags: PP_FLAG_PAGE_FRAG for a pool of heads.
 * An ERR_PTR on failure; process context.
 */
static inline struct page_pool *
xpv_page_pool_create(struct device *dev, unsigned int size, unsigned int flags)
{
	struct page_pool_params params = {
		.flags = flags,
		.pool_size = size,
		.nid = NUMA_NO_NODE,
		.dev = dev,
	};

	return page_pool_create(&params);
}

/*
 * A packet with room for a head of `length` bytes. Up to XPV_POOL_HEAD of them lie in
 * one page, side by side with others, so that a hypercall that copies many finds their
 * page once. NULL without memory; the poller's context.
 */
#define XPV_POOL_HEAD 2048
static inline struct sk_buff *xpv_page_pool_skb(struct page_pool *heads,
						struct napi_struct *napi,
						unsigned int length)
{
	const unsigned int pad = NET_SKB_PAD + NET_IP_ALIGN;
	const unsigned int size =
		SKB_DATA_ALIGN(pad + length) +
		SKB_DATA_ALIGN(sizeof(struct skb_shared_info));
	unsigned int offset;
	struct sk_buff *skb;
	struct page *page;

	if (unlikely(length > XPV_POOL_HEAD))
		return napi_alloc_skb(napi, length);
	page = page_pool_dev_alloc_frag(heads, &offset, size);
	if (unlikely(!page))
		return NULL;
	skb = napi_build_skb(page_address(page) + offset, size);
	if (unlikely(!skb)) {
		page_pool_put_full_page(heads, page, true);
		return NULL;
	}
	skb_mark_for_recycle(skb);
	skb_reserve(skb, pad);
	skb->dev = napi->dev;
	return skb;
}

#endif
