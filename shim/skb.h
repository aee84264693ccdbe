/* SPDX-License-Identifier: GPL-2.0-only */
/* Packets of the network drivers. */
#ifndef XPV_SHIM_SKB_H
#define XPV_SHIM_SKB_H

#include <linux/netdevice.h>
#include <linux/skbuff.h>

/*
 * napi_alloc_skb() of a small head for what it holds: Linux 6.1 takes a KiB for
 * each, and charges the receiver's socket for it, which then holds fewer packets.
 */
static inline struct sk_buff *xpv_napi_alloc_skb(struct napi_struct *napi,
						 unsigned int length)
{
	const unsigned int pad = NET_SKB_PAD + NET_IP_ALIGN;
	struct sk_buff *skb;

	if (length > 512)
		return napi_alloc_skb(napi, length);
	skb = __alloc_skb(length + pad, GFP_ATOMIC | __GFP_NOWARN,
			  SKB_ALLOC_RX | SKB_ALLOC_NAPI, NUMA_NO_NODE);
	if (likely(skb)) {
		skb_reserve(skb, pad);
		skb->dev = napi->dev;
	}
	return skb;
}

#endif
