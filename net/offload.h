/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a packet is besides its bytes, between struct sk_buff and the wire's terms, the
 * same at both ends. For C shims; inline, as it is there for every packet.
 */
#ifndef XPV_NET_OFFLOAD_H
#define XPV_NET_OFFLOAD_H

#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>

#include "net/packet.h"
#include "net/settings.h"

/* No more than the other end takes. */
static inline netdev_features_t
xpv_net_fix_features(const struct xpv_net_features *takes,
		     netdev_features_t features)
{
	if (!takes->sg)
		features &= ~(NETIF_F_SG | NETIF_F_FRAGLIST);
	if (!takes->csum_v4)
		features &= ~NETIF_F_IP_CSUM;
	if (!takes->csum_v6)
		features &= ~NETIF_F_IPV6_CSUM;
	if (!takes->gso_v4)
		features &= ~NETIF_F_TSO;
	if (!takes->gso_v6)
		features &= ~NETIF_F_TSO6;
	return features;
}

/* Of a packet that the stack sends. */
static inline struct xpv_offload xpv_net_get_offload(const struct sk_buff *skb)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	struct xpv_offload offload = { 0 };

	if (skb->ip_summed == CHECKSUM_PARTIAL)
		offload.csum = XPV_CSUM_BLANK;
	else if (skb->ip_summed == CHECKSUM_UNNECESSARY)
		offload.csum = XPV_CSUM_VALIDATED;
	if (info->gso_size) {
		offload.gso = info->gso_type & SKB_GSO_TCPV6 ? XPV_GSO_TCPV6 :
							       XPV_GSO_TCPV4;
		offload.gso_size = info->gso_size;
	}
	return offload;
}

/*
 * For a packet that the stack is to receive, after eth_type_trans() and with the network
 * header set. *fixed becomes true if a GSO packet came without csum_blank. False: its
 * bytes do not have what its offload state says.
 */
static inline bool xpv_net_set_offload(struct sk_buff *skb,
				       const struct xpv_offload *offload,
				       bool *fixed)
{
	struct skb_shared_info *info = skb_shinfo(skb);
	bool recalculate = false;
	u32 headers;

	if (!offload->gso && offload->csum != XPV_CSUM_BLANK) {
		if (offload->csum == XPV_CSUM_VALIDATED &&
		    skb->dev->features & NETIF_F_RXCSUM)
			skb->ip_summed = CHECKSUM_UNNECESSARY;
		return true;
	}
	/* Some other ends forget to say it of GSO, but it cannot be otherwise. */
	if (offload->csum != XPV_CSUM_BLANK) {
		recalculate = true;
		*fixed = true;
	}
	skb->ip_summed = CHECKSUM_PARTIAL;
	if (offload->gso) {
		/* Dodgy: whoever segments it checks the headers first. */
		info->gso_type = SKB_GSO_DODGY |
				 (offload->gso == XPV_GSO_TCPV6 ? SKB_GSO_TCPV6 :
								  SKB_GSO_TCPV4);
		info->gso_size = offload->gso_size;
	}
	if (skb_checksum_setup(skb, recalculate))
		return false;
	if (!offload->gso)
		return true;
	if (skb_headlen(skb) < skb_transport_offset(skb) + sizeof(struct tcphdr))
		return false;
	headers = skb_transport_offset(skb) + tcp_hdrlen(skb);
	if (skb->len <= headers)
		return false;
	info->gso_segs = DIV_ROUND_UP(skb->len - headers, info->gso_size);
	return true;
}

#endif
