// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/xpv-netback/<vif>/queue-N: both rings at a glance. Writing
 * "kick" runs the pollers as an event would.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "netback/netback.h"
#include "shim/ring_view.h"

static struct dentry *root;

static int queue_show(struct seq_file *m, void *unused)
{
	struct netback_queue *queue = m->private;
	struct xpv_ring_view tx, rx;

	xpv_netback_view(queue->core, &tx, &rx);
	xpv_ring_show(m, "guest-tx", &tx);
	xpv_ring_show(m, "guest-rx", &rx);
	seq_printf(m, "guest-rx queue: %u packets, %u bytes of %u, %u in hand, %s\n",
		   skb_queue_len_lockless(&queue->rx_queue),
		   READ_ONCE(queue->rx_queued_bytes), netback_rx_queue_bytes,
		   queue->rx_count - queue->rx_first,
		   netif_xmit_stopped(netdev_get_tx_queue(queue->vif->dev,
							  queue->index)) ?
			   "stopped" :
			   "running");
	return 0;
}

static int queue_open(struct inode *inode, struct file *file)
{
	return single_open(file, queue_show, inode->i_private);
}

static ssize_t queue_write(struct file *file, const char __user *text,
			   size_t length, loff_t *position)
{
	struct netback_queue *queue =
		((struct seq_file *)file->private_data)->private;
	char word[8] = {};

	if (length >= sizeof(word) || copy_from_user(word, text, length))
		return -EINVAL;
	if (strcmp(strim(word), "kick"))
		return -EINVAL;
	xpv_netback_os_schedule(queue, XPV_NETBACK_TX | XPV_NETBACK_RX);
	return length;
}

static const struct file_operations queue_fops = {
	.owner = THIS_MODULE,
	.open = queue_open,
	.read = seq_read,
	.write = queue_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void netback_debugfs_add(struct xpv_netback_os *vif)
{
	char name[16];
	u32 i;

	vif->debugfs = debugfs_create_dir(vif->dev->name, root);
	for (i = 0; i < vif->made_queues; i++) {
		snprintf(name, sizeof(name), "queue-%u", i);
		debugfs_create_file(name, 0600, vif->debugfs, vif->queues[i],
				    &queue_fops);
	}
}

/* Nobody reads any more when this returns. */
void netback_debugfs_remove(struct xpv_netback_os *vif)
{
	debugfs_remove_recursive(vif->debugfs);
	vif->debugfs = NULL;
}

void netback_debugfs_init(void)
{
	root = debugfs_create_dir("xpv-netback", NULL);
}

void netback_debugfs_exit(void)
{
	debugfs_remove_recursive(root);
}
