// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody else's direct call of ftrace on a function of the kernel, which does nothing:
 *
 *	echo queued_write_lock_slowpath > /sys/kernel/debug/xpv-pvlock-test/rival
 *	echo > /sys/kernel/debug/xpv-pvlock-test/rival
 */
#include <linux/debugfs.h>
#include <linux/ftrace.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <asm/ibt.h>
#include <asm/linkage.h>

#include "pvlock/test/rival.h"

#ifdef CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS

asm(".pushsection .text, \"ax\", @progbits\n"
    ".globl xpv_pvlock_rival\n"
    ".type xpv_pvlock_rival, @function\n"
    "xpv_pvlock_rival:\n" ASM_ENDBR "	" ASM_RET ".size xpv_pvlock_rival, . - xpv_pvlock_rival\n"
    ".popsection\n");

static struct ftrace_ops ops;
static bool registered;
static DEFINE_MUTEX(mutex);

static void forget(void)
{
	ftrace_free_filter(&ops);
	memset(&ops, 0, sizeof(ops));
}

static int attach(char *function)
{
	int err = ftrace_set_filter(&ops, function, strlen(function), 1);

	if (!err)
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
		err = register_ftrace_direct_multi(&ops, (unsigned long)xpv_pvlock_rival);
#else
		err = register_ftrace_direct(&ops, (unsigned long)xpv_pvlock_rival);
#endif
	registered = !err;
	if (err)
		forget();
	return err;
}

static void detach(void)
{
	if (!registered)
		return;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
	unregister_ftrace_direct_multi(&ops, (unsigned long)xpv_pvlock_rival);
#else
	unregister_ftrace_direct(&ops, (unsigned long)xpv_pvlock_rival, false);
#endif
	registered = false;
	forget();
}

static ssize_t rival_write(struct file *file, const char __user *text, size_t size, loff_t *at)
{
	char *copy = memdup_user_nul(text, min_t(size_t, size, 64));
	int err = 0;

	if (IS_ERR(copy))
		return PTR_ERR(copy);
	mutex_lock(&mutex);
	detach();
	if (*strim(copy))
		err = attach(strim(copy));
	mutex_unlock(&mutex);
	kfree(copy);
	return err ?: size;
}

static const struct file_operations rival_ops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = rival_write,
};

void rival_init(struct dentry *folder)
{
	debugfs_create_file("rival", 0200, folder, NULL, &rival_ops);
}

void rival_exit(void)
{
	detach();
}

#else

void rival_init(struct dentry *folder)
{
}

void rival_exit(void)
{
}

#endif
