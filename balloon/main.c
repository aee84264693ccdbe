// SPDX-License-Identifier: GPL-2.0-only
/* The module, its parameters and its thread. */
#define pr_fmt(fmt) "xpv-balloon: " fmt

#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/oom.h>
#include <linux/sched.h>
#include <linux/string_helpers.h>
#include <xen/xen.h>

#include "balloon/balloon.h"
#include "shim/param.h"

#define MIB_PAGES (1U << (20 - PAGE_SHIFT))
#define NICE 10
/* For `echo 0 > balloon`, seconds; a host that is full gives nothing back. */
#define RELEASE_S 60

/* How long somebody's death is put off for a lock. */
#define OOM_PATIENCE (2 * HZ)

/* Parameters are set before the module's init, and after its exit. */
struct xpv_balloon_os balloon_os = {
	.lock = __MUTEX_INITIALIZER(balloon_os.lock),
	.wake = __WAIT_QUEUE_HEAD_INITIALIZER(balloon_os.wake),
	.turned = __WAIT_QUEUE_HEAD_INITIALIZER(balloon_os.turned),
};

static const char *const modes[] = {
	[XPV_BALLOON_TAKE_OVER] = "take-over",
	[XPV_BALLOON_TARGET] = "target",
	[XPV_BALLOON_STEER] = "steer",
};

static unsigned int floor_mb;
XPV_PARAM(floor_mb, floor_mb, 0, 1 << 24, 0644,
	  "Never go below so many MiB, whoever asks, 0..16777216; 0 (default): what cannot be reclaimed and 64");

static unsigned int wish_mb = 64;
XPV_PARAM(wish_mb, wish_mb, 0, 1 << 24, 0644,
	  "MiB of cache beyond the floor to have while the host has plenty, 0..16777216 (default: 64)");

static unsigned int slew_percent = 5;
XPV_PARAM(slew_percent, slew_percent, 1, 100, 0644,
	  "Of what is above the floor, the most to give per tick for the gauge, 1..100 (default: 5)");

static unsigned int cpu_percent = 90;
XPV_PARAM(cpu_percent, cpu_percent, 1, 100, 0644,
	  "Of one processor, the most to take, 1..100 (default: 90)");

static unsigned int tick_ms = 1000;
XPV_PARAM(tick_ms, tick_ms, 100, 60000, 0644,
	  "Between looks at the guest while something changes, 100..60000 (default: 1000)");

static bool dom0;
module_param(dom0, bool, 0444);
MODULE_PARM_DESC(dom0, "In the control domain too, whose target is the toolstack's");

static enum xpv_balloon_mode mode = XPV_BALLOON_TAKE_OVER;
static bool released;

void balloon_settings_read(struct xpv_balloon_settings *settings)
{
	*settings = (struct xpv_balloon_settings){
		.mode = READ_ONCE(mode),
		.floor_pages = (u64)READ_ONCE(floor_mb) * MIB_PAGES,
		.wish_pages = (u64)READ_ONCE(wish_mb) * MIB_PAGES,
		.slew_percent = READ_ONCE(slew_percent),
		.cpu_percent = READ_ONCE(cpu_percent),
		.tick_ms = READ_ONCE(tick_ms),
		.released = READ_ONCE(released),
	};
}

void balloon_poke(struct xpv_balloon_os *os, unsigned int event)
{
	atomic_or(event, &os->events);
	wake_up(&os->wake);
}

/* ---- the mode, and giving all back ---------------------------------------- */

static int mode_set(const char *text, const struct kernel_param *kernel)
{
	struct xpv_balloon_os *os = &balloon_os;
	struct xpv_balloon_settings settings;
	int found = sysfs_match_string(modes, text), err = 0;

	if (sysfs_streq(text, "auto"))
		found = balloon_stock_present() ? XPV_BALLOON_TAKE_OVER :
						  XPV_BALLOON_TARGET;
	if (found < 0) {
		pr_err("parameter mode: \"%.*s\" is not auto, take-over, target or steer\n",
		       (int)strcspn(text, "\n"), text);
		return -EINVAL;
	}
	if (balloon_stock_present() == (found == XPV_BALLOON_TARGET)) {
		pr_err("parameter mode: \"%s\" is not for a kernel %s a balloon of its own\n",
		       modes[found], balloon_stock_present() ? "with" : "without");
		return -EINVAL;
	}
	mutex_lock(&os->lock);
	settings = os->settings;
	settings.mode = found;
	if (os->core)
		err = xpv_balloon_set(os->core, &settings);
	if (!err) {
		os->settings = settings;
		WRITE_ONCE(mode, found);
	}
	mutex_unlock(&os->lock);
	if (err)
		pr_err("parameter mode: pages are out: echo 0 > /sys/module/xpv_balloon/parameters/balloon first\n");
	else
		pr_info("mode %s\n", modes[found]);
	balloon_poke(os, XPV_BALLOON_SETTINGS);
	return err;
}

static int mode_get(char *buffer, const struct kernel_param *kernel)
{
	return sysfs_emit(buffer, "%s\n", modes[READ_ONCE(mode)]);
}

static const struct kernel_param_ops mode_ops = {
	.set = mode_set,
	.get = mode_get,
};
module_param_cb(mode, &mode_ops, NULL, 0644);
MODULE_PARM_DESC(mode,
		 "auto (default), take-over: in Linux's place; target: without Linux's; steer: Linux's moves the pages");

static int balloon_set(const char *text, const struct kernel_param *kernel)
{
	struct xpv_balloon_os *os = &balloon_os;
	bool serve;
	long left;

	if (kstrtobool(text, &serve)) {
		pr_err("parameter balloon: \"%.*s\" is not 0 or 1\n",
		       (int)strcspn(text, "\n"), text);
		return -EINVAL;
	}
	WRITE_ONCE(released, !serve);
	balloon_poke(os, XPV_BALLOON_SETTINGS);
	if (serve)
		return 0;
	left = wait_event_interruptible_timeout(os->turned,
						!READ_ONCE(os->holds_module),
						RELEASE_S * HZ);
	if (left < 0)
		return left;
	if (left)
		return 0;
	pr_err("not all pages could be returned within %u s: the host is full or max_pages too low\n",
	       RELEASE_S);
	return -EBUSY;
}

static int balloon_get(char *buffer, const struct kernel_param *kernel)
{
	return sysfs_emit(buffer, "%u\n", !READ_ONCE(released));
}

static const struct kernel_param_ops balloon_ops = {
	.set = balloon_set,
	.get = balloon_get,
};
module_param_cb(balloon, &balloon_ops, NULL, 0644);
MODULE_PARM_DESC(balloon, "0: give all pages back and stand aside; 1 (default): serve");

/* ---- the thread ------------------------------------------------------------ */

/* While pages are out nobody unloads what knows where they are. */
void xpv_balloon_os_hold(struct xpv_balloon_os *os, bool out)
{
	if (out)
		__module_get(THIS_MODULE);
	else
		module_put(THIS_MODULE);
	WRITE_ONCE(os->holds_module, out);
}

static u32 turn(struct xpv_balloon_os *os)
{
	struct xpv_balloon_settings settings;
	u32 delay;

	mutex_lock(&os->lock);
	balloon_settings_read(&settings);
	if (memcmp(&settings, &os->settings, sizeof(settings))) {
		xpv_balloon_set(os->core, &settings);
		os->settings = settings;
		atomic_or(XPV_BALLOON_SETTINGS, &os->events);
	}
	delay = xpv_balloon_turn(os->core, atomic_xchg(&os->events, 0));
	mutex_unlock(&os->lock);
	wake_up_all(&os->turned);
	return delay;
}

static int work(void *data)
{
	struct xpv_balloon_os *os = data;
	u32 delay;

	set_user_nice(current, NICE);
	set_freezable();
	while (!kthread_should_stop()) {
		delay = turn(os);
		if (!delay) {
			cond_resched();
			try_to_freeze();
			continue;
		}
		wait_event_freezable_timeout(os->wake,
					     atomic_read(&os->events) || kthread_should_stop(),
					     delay == XPV_BALLOON_NEVER ? MAX_SCHEDULE_TIMEOUT :
									  msecs_to_jiffies(delay));
	}
	return 0;
}

/*
 * Under oom_lock. Whoever holds ours may be waiting for memory himself, be it the caller: then
 * somebody dies. But mostly he has only lost the processor, or waits for xenstore.
 */
static bool oom_lock_ours(struct xpv_balloon_os *os)
{
	const unsigned long end = jiffies + OOM_PATIENCE;

	while (!mutex_trylock(&os->lock)) {
		if (current == os->thread || time_after(jiffies, end))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

static int oom_notify(struct notifier_block *notifier, unsigned long unused,
		      void *freed)
{
	struct xpv_balloon_os *os = container_of(notifier, struct xpv_balloon_os, oom);

	if (oom_lock_ours(os)) {
		*(unsigned long *)freed += xpv_balloon_oom(os->core);
		mutex_unlock(&os->lock);
	}
	balloon_poke(os, XPV_BALLOON_OOM);
	return NOTIFY_OK;
}

/* ---- loading and leaving --------------------------------------------------- */

static int may_run(void)
{
	if (!xen_domain()) {
		pr_err("this machine does not run on Xen\n");
		return -ENODEV;
	}
	if (xen_initial_domain() && !dom0) {
		pr_err("the toolstack minds dom0's memory; load with dom0=1 to have it otherwise\n");
		return -EPERM;
	}
	return 0;
}

/* Who sets a parameter meanwhile finds it whole or gone. */
static void core_end(struct xpv_balloon_os *os)
{
	mutex_lock(&os->lock);
	xpv_balloon_destroy(os->core);
	os->core = NULL;
	mutex_unlock(&os->lock);
}

static int __init balloon_init(void)
{
	struct xpv_balloon_os *os = &balloon_os;
	int err = may_run();

	if (err)
		return err;
	if (!balloon_stock_present())
		mode = XPV_BALLOON_TARGET;
	balloon_stock_init(os);
	balloon_settings_read(&os->settings);
	os->core = xpv_balloon_create(os, &os->settings);
	if (!os->core)
		return -ENOMEM;
	err = balloon_sysfs_init(os);
	if (err)
		goto destroy;
	os->thread = kthread_create(work, os, "xpv-balloon");
	if (IS_ERR(os->thread)) {
		err = PTR_ERR(os->thread);
		goto sysfs;
	}
	err = balloon_watch(os);
	if (err)
		goto stop;
	/* Nothing is out before the thread's first turn, and nothing can fail after it. */
	os->oom.notifier_call = oom_notify;
	register_oom_notifier(&os->oom);
	balloon_debugfs_init(os);
	pr_info("mode %s\n", modes[mode]);
	wake_up_process(os->thread);
	return 0;
stop:
	kthread_stop(os->thread);
sysfs:
	balloon_sysfs_exit(os);
destroy:
	core_end(os);
	return err;
}
module_init(balloon_init);

static void __exit balloon_exit(void)
{
	struct xpv_balloon_os *os = &balloon_os;

	balloon_unwatch(os);
	balloon_debugfs_exit();
	unregister_oom_notifier(&os->oom);
	kthread_stop(os->thread);
	balloon_sysfs_exit(os);
	core_end(os);
}
module_exit(balloon_exit);

MODULE_DESCRIPTION("Xen memory balloon");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
