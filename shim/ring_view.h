/* SPDX-License-Identifier: GPL-2.0-only */
/* A ring as both ends see it, for debugfs. */
#ifndef XPV_SHIM_RING_VIEW_H
#define XPV_SHIM_RING_VIEW_H

#include <linux/seq_file.h>

#include "core/kapi.h"

/* Our own indices; what the ring itself says, and how far it is from them. */
static inline void xpv_ring_show(struct seq_file *out, const char *name,
				 const struct xpv_ring_view *ring)
{
	seq_printf(out, "%s: %u slots, event channel %u%s\n", name, ring->size,
		   ring->port, ring->owes_eoi ? ", EOI owed" : "");
	if (ring->pages) /* a frontend's */
		seq_printf(out, "  pages %u, the first one's ref %u\n",
			   ring->pages, ring->ref);
	seq_printf(out, "  req %10u  prod %10u (%+d)  event %10u (%+d)\n",
		   ring->req, ring->shared_req_prod,
		   (int)(ring->shared_req_prod - ring->req),
		   ring->shared_req_event,
		   (int)(ring->shared_req_event - ring->req));
	seq_printf(out, "  rsp %10u  prod %10u (%+d)  event %10u (%+d)\n",
		   ring->rsp, ring->shared_rsp_prod,
		   (int)(ring->shared_rsp_prod - ring->rsp),
		   ring->shared_rsp_event,
		   (int)(ring->shared_rsp_event - ring->rsp));
	seq_printf(out, "  unanswered %u\n", ring->req - ring->rsp);
}

#endif
