/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The module parameters that both ends of a vif have. Include from one file per module,
 * after pr_fmt.
 */
#ifndef XPV_NET_PARAMS_H
#define XPV_NET_PARAMS_H

#include <linux/cpumask.h>
#include <linux/minmax.h>
#include <linux/module.h>

#include "net/settings.h"
#include "shim/param.h"

static unsigned int max_queues;
XPV_PARAM(max_queues, max_queues, 1, XPV_NET_MAX_QUEUES, 0444,
	  "queues per vif, 1..64 (default: one per processor, at most 8)");

static bool sg = true;
module_param(sg, bool, 0444);
MODULE_PARM_DESC(sg, "packets of more than one slot, scatter-gather (default: 1)");

static bool gso = true;
module_param(gso, bool, 0444);
MODULE_PARM_DESC(gso, "TCP segmentation offload, both directions; needs sg and csum (default: 1)");

static bool csum = true;
module_param(csum, bool, 0444);
MODULE_PARM_DESC(csum, "checksum offload, both directions (default: 1)");

static bool split = true;
module_param(split, bool, 0444);
MODULE_PARM_DESC(split, "one event channel per direction (default: 1)");

static struct xpv_net_settings xpv_net_parameters(void)
{
	if (!max_queues)
		max_queues = min(num_online_cpus(), 8U);
	return (struct xpv_net_settings){
		.max_queues = max_queues,
		.sg = sg,
		.gso = gso,
		.csum = csum,
		.split = split,
	};
}

#endif
