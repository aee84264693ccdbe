// SPDX-License-Identifier: GPL-2.0-only
/* /sys/kernel/debug/xpv-netfront/<device>/queue-<n>: a queue's rings as both ends
 * see them. <device> is the one that ethtool -i calls bus-info.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "netfront/netfront.h"
#include "shim/ring_view.h"

static struct dentry *root;

static int queue_show(struct seq_file *out, void *unused)
{
	struct netfront_queue *queue = out->private;
	struct xpv_netfront_os *nf = queue->nf;
	struct xpv_netfront_rings rings;
	bool connected;

	mutex_lock(&nf->bus.end.lock); /* no connecting or disconnecting meanwhile */
	connected = xpv_netfront_view(nf->core, queue->index, &rings);
	mutex_unlock(&nf->bus.end.lock);

	seq_printf(out, "%s queue %u: ", netdev_name(nf->netdev), queue->index);
	if (!connected) {
		seq_puts(out, "not connected\n");
		return 0;
	}
	seq_printf(out, "connected, %s event channel%s\n",
		   rings.split ? "split" : "one", rings.split ? "s" : "");
	xpv_ring_show(out, "tx", &rings.tx.ring);
	seq_printf(out, "  in flight %10u  buffers granted %u%s\n",
		   rings.tx.in_flight, rings.tx.buffers,
		   rings.tx.stopped ? ", stopped" : "");
	xpv_ring_show(out, "rx", &rings.rx.ring);
	seq_printf(out, "  posted    %10u  to post %u  without page %u\n",
		   rings.rx.in_flight, rings.rx.buffers, rings.rx.bare);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(queue);

void netfront_debugfs_add(struct xpv_netfront_os *nf)
{
	char name[24];
	u32 i;

	nf->debugfs = debugfs_create_dir(dev_name(&nf->bus.dev->dev), root);
	for (i = 0; i < nf->max_queues; i++) {
		snprintf(name, sizeof(name), "queue-%u", i);
		debugfs_create_file(name, 0400, nf->debugfs, &nf->queues[i],
				    &queue_fops);
	}
}

void netfront_debugfs_init(void)
{
	root = debugfs_create_dir("xpv-netfront", NULL);
}

void netfront_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}
