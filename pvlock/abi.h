/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The border between the lock's algorithm (lock.hpp, slow.cpp) and Linux
 * (main.c and its neighbours). Plain C, plain data.
 */
#ifndef XPV_PVLOCK_ABI_H
#define XPV_PVLOCK_ABI_H

#include "core/types.h"

XPV_BEGIN_DECLS

/*
 * A lock is one 64-bit word; zero is a free lock that nobody waits for.
 *
 *    0..15  owner: CPU number + 1 of the holder, 0 when free
 *   16..18  flags, see enum xpv_pvlock_flag
 *   32..47  head of the queue, a node's id, 0 when nobody queues
 *   48..63  tail of the queue
 *
 * A node's id is cpu * XPV_PVLOCK_LEVELS + level + 1.
 */
enum xpv_pvlock_flag {
	XPV_PVLOCK_OUTSIDER = 1 << 16, /* one waiter outside the queue spins */
	XPV_PVLOCK_HEAD_UP = 1 << 17,  /* the head is awake, or is being woken */
	XPV_PVLOCK_RESERVED = 1 << 18, /* only the head may take the lock */
};
#define XPV_PVLOCK_OWNER 0xffff
#define XPV_PVLOCK_HEAD_SHIFT 32
#define XPV_PVLOCK_TAIL_SHIFT 48

/* How deep waits nest on one CPU: task, softirq, interrupt, NMI. */
#define XPV_PVLOCK_LEVELS 4
/* 16 bits hold an owner and a node's id. */
#define XPV_PVLOCK_CPUS_MAX 16383
/* The kernel's word has 10 bits for it, see word32.hpp. */
#define XPV_PVLOCK_KERNEL_CPUS_MAX 255

/* The counts of the kernel's rwlocks, asm-generic/qrwlock.h. */
#define XPV_PVLOCK_RW_WAITING 0x100 /* a writer waits */
#define XPV_PVLOCK_RW_LOCKED 0xff   /* a writer holds it */
#define XPV_PVLOCK_RW_READER 0x200  /* each reader adds one */

/* The kernel's functions that are taken over. */
enum xpv_pvlock_function {
	XPV_PVLOCK_PV_LOCK,
	XPV_PVLOCK_PV_UNLOCK,
	XPV_PVLOCK_NATIVE_LOCK,
	XPV_PVLOCK_READ_LOCK,
	XPV_PVLOCK_WRITE_LOCK,
	XPV_PVLOCK_FUNCTIONS
};

/* How this kernel waits for its spinlocks, which its boot settled. */
enum xpv_pvlock_waits {
	XPV_PVLOCK_WAITS_PV,
	XPV_PVLOCK_WAITS_NATIVE, /* nopvspin, or a guest without the feature */
	XPV_PVLOCK_WAITS_OTHER,	 /* by a function that is not Linux's */
	XPV_PVLOCK_WAITS_FIXED,	 /* built so that no module can take it over */
};

struct xpv_pvlock_facts {
	bool xen;
	uint32_t cpus;	/* possible ones */
	uint32_t waits; /* enum xpv_pvlock_waits */
};

/* Why kernel=1 is refused before anything is tried. */
enum xpv_pvlock_refusal {
	XPV_PVLOCK_NO_XEN,
	XPV_PVLOCK_FIXED,
	XPV_PVLOCK_NOT_LINUX,
	XPV_PVLOCK_CPUS,
};

enum xpv_pvlock_state {
	XPV_PVLOCK_WAITING = 0, /* runs, and looks at its node or at the lock */
	XPV_PVLOCK_ASLEEP = 1,	/* sleeps in SCHEDOP_poll, or is about to */
	XPV_PVLOCK_CALLED = 2,	/* told to look at the lock: it may be the head */
};

/* A waiter's place in a queue. */
struct xpv_pvlock_node {
	uint32_t state; /* enum xpv_pvlock_state */
	uint16_t prev;	/* id of the one before; written before it is published */
	uint16_t next;	/* id of the one after, 0 not yet known; the head's alone */
};

#define XPV_PVLOCK_BUCKETS 17

struct xpv_pvlock_stats {
	uint64_t at_once;   /* took a free lock that others wait for; in this turn: more */
	uint64_t contended; /* all others that were not alone */
	uint64_t queued;    /* of these, how many went through the queue */
	uint64_t yields;    /* SCHEDOP_yield */
	uint64_t polls;	    /* SCHEDOP_poll */
	uint64_t kicks;	    /* EVTCHNOP_send to a sleeper */
	uint64_t repends;   /* events given back to an interrupted waiter */
	uint64_t spurious;  /* polls that ended without a reason to go on */
	uint64_t timeouts;  /* polls that ended by the safety timeout, nothing to do */
	uint64_t rescued;   /* ... though the lock was ours to take: a lost wakeup */
	uint64_t not_owner; /* unlocks by a CPU that did not hold the lock */
	uint64_t longest;   /* longest wait in a queue, ns */
	/* contended acquisitions by turns spun: bucket 0 none, n up to 2^n - 1 */
	uint64_t spins[XPV_PVLOCK_BUCKETS];
};

/* What each CPU has. Lives as long as the module, CPU on line or not. */
struct xpv_pvlock_cpu {
	struct xpv_pvlock_node nodes[XPV_PVLOCK_LEVELS];
	uint32_t level;	  /* waits in progress on this CPU */
	uint32_t granted; /* times it may take a lock at once before it looks at its turn */
	uint32_t number;  /* of the CPU; the kernel's locks alone ask */
	uint32_t reserved;
	int32_t *left;	     /* ... and how many of these are left, where pvlock.h finds it */
	uint64_t turn_start; /* when it left a queue, by xpv_pvlock_clock() */
	struct xpv_pvlock_stats stats;
} __attribute__((aligned(64)));

/* Changeable at any time; each reader takes what it finds. */
struct xpv_pvlock_knobs {
	uint32_t spin_limit;  /* turns of cpu_relax before giving up */
	uint32_t yield_limit; /* SCHEDOP_yield before sleeping */
	uint32_t turn_limit;  /* times that a CPU overtakes queues, then it queues, */
	uint32_t turn_us;     /* ... or after so many microseconds; 0: no such limit */
	uint32_t adaptive;    /* stop spinning for a vCPU that does not run */
};

extern struct xpv_pvlock_knobs xpv_pvlock_live_knobs;
/* One for each possible CPU, by CPU number. */
extern struct xpv_pvlock_cpu *xpv_pvlock_cpus;
/* The same for the kernel's locks; their waiters use the nodes of the above. */
extern struct xpv_pvlock_cpu *xpv_pvlock_kernel_cpus;

/* ---- Linux asks C++; preemption off ----------------------------------- */

/* Take the lock for cpu, this CPU. */
void xpv_pvlock_contended(uint64_t *word, uint32_t cpu);
/* Release it; a lock that cpu does not hold is reported and left alone. */
void xpv_pvlock_release(uint64_t *word, uint32_t cpu);
/* sizeof(struct xpv_spinlock) in C++, which sees no configuration. */
uint32_t xpv_pvlock_size_in_cpp(void);

/* The kernel's slow paths. pv: its unlock comes to us when the lock is slow. */
void xpv_pvlock_kernel_lock_pv(uint32_t *word, struct xpv_pvlock_cpu *self);
void xpv_pvlock_kernel_lock_native(uint32_t *word, struct xpv_pvlock_cpu *self);
void xpv_pvlock_kernel_unlock(uint32_t *word, uint32_t cpu);
/* An rwlock: its counts, and the spinlock in which waiters queue. */
void xpv_pvlock_kernel_read(uint32_t *counts, void *queue, bool interrupt, uint32_t cpu);
void xpv_pvlock_kernel_write(uint32_t *counts, void *queue, uint32_t cpu);

/* kernel=0 or 1: 0 or -errno. One caller at a time; may sleep. */
int xpv_pvlock_takeover(bool on);
/* Give all back for good; may wait until every task of the system has slept once. */
void xpv_pvlock_takeover_end(void);
bool xpv_pvlock_taken_over(void);
/* Functions of the kernel that lead through our trampolines, in charge or not. */
uint32_t xpv_pvlock_hooks(void);

/* ---- C++ asks Linux; any context, preemption off ----------------------- */

/* Whether the vCPU behind cpu wants to run and cannot. */
bool xpv_pvlock_preempted(uint32_t cpu);
/* SCHEDOP_yield. Without a hypervisor or in NMI a pause of the processor: false. */
bool xpv_pvlock_yield(void);
/* Whether this CPU has an event channel to sleep on, here and now. */
bool xpv_pvlock_can_sleep(uint32_t cpu);
/* Forget a kick that came. */
void xpv_pvlock_clear_event(uint32_t cpu);
/* SCHEDOP_poll: until a kick, an interrupt, or the safety timeout: true. */
bool xpv_pvlock_poll(uint32_t cpu);
/* EVTCHNOP_send: cpu's poll ends, or its next one does at once. False: it has no channel. */
bool xpv_pvlock_kick(uint32_t cpu);
/* Nanoseconds since some moment. */
uint64_t xpv_pvlock_clock(void);
/* An unlock by a CPU that does not hold the lock; owner is CPU + 1 or 0. */
void xpv_pvlock_not_owner(void *lock, uint32_t owner);
/* The spinlock in an rwlock. */
void xpv_pvlock_queue_lock(void *queue);
void xpv_pvlock_queue_unlock(void *queue);

/* ---- C++ asks Linux, for kernel=; may sleep ------------------------------ */

struct xpv_pvlock_facts xpv_pvlock_kernel_facts(void);
/* Say it; its -errno. */
int xpv_pvlock_refuse(enum xpv_pvlock_refusal why);
/* Nobody switches ftrace off from here to unguard; an error is said. */
int xpv_pvlock_guard(void);
void xpv_pvlock_unguard(void);
/* Lead a function through its trampoline; an error is said. */
int xpv_pvlock_hook(enum xpv_pvlock_function function);
void xpv_pvlock_unhook(enum xpv_pvlock_function function);
/* Return when no CPU is in a trampoline any more. */
void xpv_pvlock_settle(void);
/* The trampolines lead into our functions, or on into the kernel's: all at once. */
void xpv_pvlock_change_over(bool ours);

XPV_END_DECLS

#endif
