// SPDX-License-Identifier: GPL-2.0-only
/* Module parameters: each refused with its value and range when it is wrong. */
#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

#include "netback/netback.h"

struct ranged {
	unsigned int *value;
	unsigned int min, max;
};

static int ranged_set(const char *text, const struct kernel_param *param)
{
	const struct ranged *r = param->arg;
	unsigned int number;

	if (kstrtouint(text, 0, &number) || number < r->min || number > r->max) {
		pr_err("xpv-netback: parameter %s: \"%s\" is not a number in %u..%u\n",
		       param->name, text, r->min, r->max);
		return -EINVAL;
	}
	WRITE_ONCE(*r->value, number);
	return 0;
}

static int ranged_get(char *buffer, const struct kernel_param *param)
{
	const struct ranged *r = param->arg;

	return sysfs_emit(buffer, "%u\n", *r->value);
}

static const struct kernel_param_ops ranged_ops = {
	.set = ranged_set,
	.get = ranged_get,
};

#define RANGED(name, variable, low, high, mode, text)                          \
	static const struct ranged ranged_##name = { &(variable), low, high }; \
	module_param_cb(name, &ranged_ops, (void *)&ranged_##name, mode);      \
	MODULE_PARM_DESC(name, text)

static unsigned int max_queues;
RANGED(max_queues, max_queues, 1, XPV_NET_MAX_QUEUES, 0444,
       "queues a vif may have, 1..64 (default: processors, at most 8)");

unsigned int xpv_rx_queue_bytes = 512 * 1024;
RANGED(rx_queue_bytes, xpv_rx_queue_bytes, 65536, 64 * 1024 * 1024, 0644,
       "bytes that may wait for a guest's buffers, a queue, 65536..67108864 (default: 524288)");

unsigned int xpv_rx_drain_timeout_ms = 10000;
RANGED(rx_drain_timeout_ms, xpv_rx_drain_timeout_ms, 10, 600000, 0644,
       "milliseconds after which a packet that waits for a guest's buffers is dropped, 10..600000 (default: 10000)");

unsigned int xpv_tx_map_threshold = 65536;
RANGED(tx_map_threshold, xpv_tx_map_threshold, 0, 65536, 0644,
       "guest-TX packets of more bytes are mapped instead of copied, 0..65536; vifs made while it is 65536 copy all (default: 65536)");

static bool sg = true;
module_param(sg, bool, 0444);
MODULE_PARM_DESC(sg, "offer scatter-gather (default: 1)");

static bool gso = true;
module_param(gso, bool, 0444);
MODULE_PARM_DESC(gso, "offer TCP segmentation offload (default: 1)");

static bool csum = true;
module_param(csum, bool, 0444);
MODULE_PARM_DESC(csum, "offer checksum offload (default: 1)");

static bool split = true;
module_param(split, bool, 0444);
MODULE_PARM_DESC(split, "offer an event channel for each direction (default: 1)");

void xpv_vif_settings(struct xpv_netback_settings *settings)
{
	if (!max_queues)
		max_queues = min(num_online_cpus(), 8U);
	settings->max_queues = max_queues;
	settings->sg = sg;
	settings->csum = csum;
	/* Segmentation works on packets of several slots without checksums. */
	settings->gso = gso && sg && csum;
	settings->split = split;
	settings->map = READ_ONCE(xpv_tx_map_threshold) < 65536;
}
