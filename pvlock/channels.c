// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sleeping and waking: one event channel per CPU, bound to that vCPU, masked for
 * ever, so that it is only polled. xen/event_channel.h, xen/sched.h.
 *
 * A channel stays bound while its CPU is off line: a late kick then finds it, and
 * it is the same when the CPU comes back. It goes when the module goes, and after
 * a restore, which takes all channels; they are bound anew then. In between
 * can_sleep() says no.
 */
#define pr_fmt(fmt) "xpv-pvlock: " fmt

#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/percpu.h>
#include <linux/sched/clock.h>
#include <linux/workqueue.h>
#include <xen/events.h>
#include <xen/interface/event_channel.h>
#include <xen/interface/sched.h>
#include <xen/interface/vcpu.h>
#include <xen/xen-ops.h>
#include <xen/xen.h>
#include <asm/xen/hypercall.h>

#include "pvlock/shim.h"

struct channel {
	int irq; /* 0: none */
	evtchn_port_t port;
	int failed; /* error of a poll: not used any more */
	struct irq_work say_failed;
	char name[16];
};

static DEFINE_PER_CPU(struct channel, channels);
static s64 xen_ahead; /* Xen's system time less ours */
static int hotplug_state;

static bool live(const struct channel *channel)
{
	int irq = READ_ONCE(channel->irq);

	/* After a restore the port is no more, or somebody else's. */
	return irq > 0 && (int)irq_from_evtchn(READ_ONCE(channel->port)) == irq;
}

static void say_failed(struct irq_work *work)
{
	struct channel *channel = container_of(work, struct channel, say_failed);

	pr_warn("%s: SCHEDOP_poll failed with %d, its CPU's waiters only spin now\n",
		channel->name, channel->failed);
}

/* ---- for C++ ------------------------------------------------------------ */

bool xpv_pvlock_preempted(uint32_t cpu)
{
	return vcpu_is_preempted(cpu);
}

bool xpv_pvlock_yield(void)
{
	if (xen_domain() && !in_nmi()) {
		HYPERVISOR_sched_op(SCHEDOP_yield, NULL);
		return true;
	}
	cpu_relax();
	return false;
}

bool xpv_pvlock_can_sleep(uint32_t cpu)
{
	const struct channel *channel = per_cpu_ptr(&channels, cpu);

	return !in_nmi() && !READ_ONCE(channel->failed) && live(channel);
}

void xpv_pvlock_clear_event(uint32_t cpu)
{
	xen_clear_irq_pending(per_cpu(channels, cpu).irq);
	/* Cleared before anybody looks at the lock. */
	smp_mb();
}

bool xpv_pvlock_poll(uint32_t cpu)
{
	struct channel *channel = per_cpu_ptr(&channels, cpu);
	u64 end = sched_clock() + READ_ONCE(xpv_pvlock_timeout_ms) * (u64)NSEC_PER_MSEC;
	struct sched_poll poll = {
		.nr_ports = 1,
		.timeout = end + READ_ONCE(xen_ahead), /* absolute */
	};
	int err;

	set_xen_guest_handle(poll.ports, &channel->port);
	err = HYPERVISOR_sched_op(SCHEDOP_poll, &poll);
	/* The waiter may want a lock of the console: whoever has time says it. */
	if (unlikely(err) && !xchg(&channel->failed, err))
		irq_work_queue(&channel->say_failed);
	return (s64)(sched_clock() - end) >= 0;
}

bool xpv_pvlock_kick(uint32_t cpu)
{
	struct channel *channel = per_cpu_ptr(&channels, cpu);

	if (!live(channel))
		return false;
	notify_remote_via_evtchn(channel->port);
	return true;
}

uint64_t xpv_pvlock_clock(void)
{
	return sched_clock();
}

/* ---- binding ------------------------------------------------------------ */

/* Masked for ever, so never called. */
static irqreturn_t no_interrupt(int irq, void *data)
{
	WARN_ONCE(1, "xpv-pvlock: irq %d came although it is masked\n", irq);
	return IRQ_HANDLED;
}

static int bind(unsigned int cpu)
{
	struct channel *channel = per_cpu_ptr(&channels, cpu);
	struct evtchn_bind_ipi ipi = { .vcpu = xen_vcpu_nr(cpu) };
	int err;

	err = HYPERVISOR_event_channel_op(EVTCHNOP_bind_ipi, &ipi);
	if (err)
		return err;
	snprintf(channel->name, sizeof(channel->name), "pvlock%u", cpu);
	err = bind_evtchn_to_irqhandler(ipi.port, no_interrupt,
					IRQF_NO_AUTOEN | IRQF_NOBALANCING |
						IRQF_NO_SUSPEND,
					channel->name, channel);
	if (err < 0) {
		struct evtchn_close close = { .port = ipi.port };

		HYPERVISOR_event_channel_op(EVTCHNOP_close, &close);
		return err;
	}
	channel->failed = 0;
	init_irq_work(&channel->say_failed, say_failed);
	WRITE_ONCE(channel->port, ipi.port);
	smp_wmb(); /* live() finds the irq with its port */
	WRITE_ONCE(channel->irq, err);
	return 0;
}

static void unbind(unsigned int cpu)
{
	struct channel *channel = per_cpu_ptr(&channels, cpu);
	int irq = channel->irq;

	if (!irq)
		return;
	WRITE_ONCE(channel->irq, 0);
	irq_work_sync(&channel->say_failed);
	unbind_from_irqhandler(irq, channel);
}

static int on_line(unsigned int cpu)
{
	int err;

	if (per_cpu(channels, cpu).irq)
		return 0;
	err = bind(cpu);
	/* No reason to keep a CPU off line: its waiters spin. */
	if (err)
		pr_warn("CPU %u: no event channel (error %d), its waiters only spin\n",
			cpu, err);
	return 0;
}

/*
 * Xen's system time is what a poll's timeout is in, and no exported function tells
 * it. A vCPU that just slept was set running at a moment that its run state
 * tells: the largest difference found is the best. Good to a millisecond, for a
 * timeout that is there never to be needed.
 */
static void compare_clocks(void)
{
	s64 best = S64_MIN;
	int turn;

	for (turn = 0; turn < 5; turn++) {
		struct vcpu_runstate_info state;
		s64 ahead;
		int err;

		usleep_range(500, 1000);
		preempt_disable();
		err = HYPERVISOR_vcpu_op(VCPUOP_get_runstate_info,
					 xen_vcpu_nr(smp_processor_id()), &state);
		ahead = state.state_entry_time - sched_clock();
		preempt_enable();
		if (!err && ahead > best)
			best = ahead;
	}
	if (best != S64_MIN)
		WRITE_ONCE(xen_ahead, best);
}

static void bind_anew(struct work_struct *work)
{
	unsigned int cpu;
	int err;

	compare_clocks();
	for_each_possible_cpu(cpu) {
		struct channel *channel = per_cpu_ptr(&channels, cpu);

		/* Still there: the suspend was cancelled. */
		if (!channel->irq || live(channel))
			continue;
		unbind(cpu);
		err = bind(cpu);
		if (err)
			pr_warn("CPU %u: no event channel after resume (error %d), its waiters only spin\n",
				cpu, err);
	}
}

static DECLARE_WORK(resume_work, bind_anew);

/* The other CPUs have no timers yet, so nobody may sleep here. */
static int resumed(struct notifier_block *block, unsigned long action, void *data)
{
	schedule_work(&resume_work);
	return NOTIFY_OK;
}

static struct notifier_block resume_notifier = { .notifier_call = resumed };

unsigned int xpv_pvlock_channels(void)
{
	unsigned int cpu, count = 0;

	for_each_possible_cpu(cpu)
		count += live(per_cpu_ptr(&channels, cpu));
	return count;
}

int xpv_pvlock_channels_init(void)
{
	compare_clocks();
	hotplug_state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "xpv/pvlock:online",
					  on_line, NULL);
	if (hotplug_state < 0)
		return hotplug_state;
	xen_resume_notifier_register(&resume_notifier);
	if (xpv_pvlock_channels())
		return 0;
	xpv_pvlock_channels_exit();
	return -ENOSPC;
}

void xpv_pvlock_channels_exit(void)
{
	unsigned int cpu;

	if (hotplug_state <= 0)
		return;
	xen_resume_notifier_unregister(&resume_notifier);
	cancel_work_sync(&resume_work);
	cpuhp_remove_state_nocalls(hotplug_state);
	hotplug_state = 0;
	for_each_possible_cpu(cpu)
		unbind(cpu);
}
