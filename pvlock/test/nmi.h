/* SPDX-License-Identifier: GPL-2.0-only */
/* NMIs that the test sends to the CPUs of its threads. */
#ifndef XPV_PVLOCK_TEST_NMI_H
#define XPV_PVLOCK_TEST_NMI_H

#include <linux/cpumask.h>
#include <linux/types.h>

struct nmi_counts {
	u64 taken;   /* NMIs that came; each took the lock that only NMIs take */
	u64 waited;  /* ... and found it held */
	u64 slept;   /* ... and was blocked in the hypervisor meanwhile */
	u64 longest; /* ns from the lock's call to its return */
};

/*
 * From now on section() runs in each NMI sent to a CPU, on that CPU. ours: the lock that
 * NMIs take is one of ours, else the kernel's. hold: turns of a loop with it held. May
 * sleep. Negative errno.
 */
int nmi_start(bool ours, u32 hold, void (*section)(unsigned int cpu));

/* An NMI to each of these CPUs, less those where one is on its way. Any context. */
void nmi_send(const struct cpumask *cpus);

/*
 * Wait for those on their way. May sleep. -EIO: the NMIs' counter does not match;
 * -ETIMEDOUT: one did not come within a second.
 */
int nmi_stop(struct nmi_counts *counts);

#endif
