// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lock in NMIs: they interrupt a waiter wherever it is, between two of its
 * instructions or in its sleep, also with interrupts off, and must not sleep. Xen
 * tells whether one did: how long a vCPU has been blocked in its life.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/sched/clock.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <xen/interface/xen.h>
#include <xen/interface/vcpu.h>
#include <xen/xen-ops.h>
#include <xen/xen.h>
#include <asm/apic.h>
#include <asm/nmi.h>
#include <asm/xen/hypercall.h>

#include "pvlock/pvlock.h"
#include "pvlock/test/nmi.h"

struct nmi_cpu {
	u32 on_its_way;
	struct nmi_counts counts;
};

static DEFINE_PER_CPU_ALIGNED(struct nmi_cpu, nmi_cpus);
/* Taken in NMIs only: ours, or one of the kernel's, which lockdep need not know. */
static DEFINE_XPV_SPINLOCK(nmi_lock);
static arch_spinlock_t nmi_kernel = __ARCH_SPIN_LOCK_UNLOCKED;
static bool nmi_ours;
static u64 nmi_total; /* under it */
static u32 nmi_hold;
static void (*nmi_section)(unsigned int cpu);

/* Xen's run state of a CPU; none without Xen. xen/vcpu.h. */
static int runstate(unsigned int cpu, struct vcpu_runstate_info *state)
{
	*state = (struct vcpu_runstate_info){};
	if (!xen_domain())
		return 0;
	return HYPERVISOR_vcpu_op(VCPUOP_get_runstate_info, xen_vcpu_nr(cpu), state);
}

/* Nanoseconds that this vCPU was blocked in Xen. */
static u64 blocked(unsigned int cpu)
{
	struct vcpu_runstate_info state;

	runstate(cpu, &state);
	return state.time[RUNSTATE_blocked];
}

static int nmi_came(unsigned int type, struct pt_regs *regs)
{
	unsigned int cpu = smp_processor_id();
	struct nmi_cpu *self = per_cpu_ptr(&nmi_cpus, cpu);
	u32 turns = nmi_hold;
	u64 before, start;

	if (!xchg(&self->on_its_way, 0))
		return NMI_DONE;
	before = blocked(cpu);
	if (nmi_ours ? xpv_spin_is_locked(&nmi_lock) : arch_spin_is_locked(&nmi_kernel))
		self->counts.waited++;
	start = sched_clock();
	if (nmi_ours)
		xpv_spin_lock(&nmi_lock);
	else
		arch_spin_lock(&nmi_kernel);
	self->counts.longest = max(self->counts.longest, sched_clock() - start);
	nmi_total++;
	while (turns--)
		cpu_relax(); /* long enough that others come meanwhile */
	if (nmi_ours)
		xpv_spin_unlock(&nmi_lock);
	else
		arch_spin_unlock(&nmi_kernel);
	self->counts.taken++;
	self->counts.slept += blocked(cpu) != before;
	nmi_section(cpu);
	return NMI_HANDLED;
}

int nmi_start(bool ours, u32 hold, void (*section)(unsigned int cpu))
{
	struct vcpu_runstate_info state;
	unsigned int cpu;
	int err = runstate(0, &state);

	if (err)
		return err;
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&nmi_cpus, cpu), 0, sizeof(struct nmi_cpu));
	nmi_total = 0;
	nmi_ours = ours;
	nmi_hold = hold;
	nmi_section = section;
	return register_nmi_handler(NMI_LOCAL, nmi_came, 0, "xpv-pvlock-test");
}

void nmi_send(const struct cpumask *cpus)
{
	unsigned int cpu;

	for_each_cpu(cpu, cpus) {
		if (xchg(&per_cpu_ptr(&nmi_cpus, cpu)->on_its_way, 1))
			continue;
		if (xen_pv_domain())
			HYPERVISOR_vcpu_op(VCPUOP_send_nmi, xen_vcpu_nr(cpu), NULL);
		else
			apic->send_IPI(cpu, NMI_VECTOR);
	}
}

int nmi_stop(struct nmi_counts *counts)
{
	unsigned long end = jiffies + HZ;
	unsigned int cpu;
	int err = 0;

	*counts = (struct nmi_counts){};
	for_each_possible_cpu(cpu) {
		struct nmi_cpu *one = per_cpu_ptr(&nmi_cpus, cpu);

		while (READ_ONCE(one->on_its_way) && time_before(jiffies, end))
			usleep_range(100, 200);
		if (READ_ONCE(one->on_its_way))
			err = -ETIMEDOUT;
	}
	/* Waits for those that are in the handler. */
	unregister_nmi_handler(NMI_LOCAL, "xpv-pvlock-test");
	for_each_possible_cpu(cpu) {
		struct nmi_cpu *one = per_cpu_ptr(&nmi_cpus, cpu);

		counts->taken += one->counts.taken;
		counts->waited += one->counts.waited;
		counts->slept += one->counts.slept;
		counts->longest = max(counts->longest, one->counts.longest);
	}
	if (!err && counts->taken != nmi_total)
		err = -EIO;
	return err;
}
