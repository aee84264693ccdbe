/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The PV lock with Xen's event channels and SCHEDOP_poll, for spin 6.5.
 * scripts/pvlock-model runs it, with one of the worlds below and perhaps a fault.
 *
 *   WORLD=1  three vCPUs, one lock, ROUNDS times each, a spurious wake
 *   WORLD=2  vCPU 0 waits for lock 0 with interrupts on, and the interrupt's handler
 *            takes lock 1; vCPU 1 uses lock 0, vCPU 2 lock 1
 *   WORLD=3  two vCPUs, one lock, ROUNDS times each
 *
 * Each statement or atomic block is one access to shared memory. A compare-and-swap
 * of the lock word is an atomic block: it stands for the last load and the swap
 * that succeeded. How long anybody spins, and when its turn to pass the queue is over,
 * is left open, so that every limit is covered.
 * With KERNEL the word is the kernel's: its unlock looks at who waits only where the
 * lock is slow (_Q_SLOW_VAL), which who takes or leaves the lock sees to.
 *
 * Checked: one holder; the queue is first in, first out; a free lock that has a
 * queue has somebody up; and no end but with every process at its own, which is
 * what a lost wakeup or a deadlock would be. No timeout helps here.
 */
#ifndef WORLD
#define WORLD 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#define CPUS 3
#define LOCKS 2
#define NODES (CPUS * 2) /* levels 0 and 1 of each vCPU */

#define WAITING 0
#define ASLEEP 1
#define CALLED 2

/* The lock words. */
byte owner[LOCKS];
bit outsider[LOCKS], up[LOCKS], reserved[LOCKS];
byte length[LOCKS];
byte queue[LOCKS * CPUS]; /* node + 1, head first */

byte state[NODES];
/* Xen: the channel's pending bit, and that the vCPU blocks in SCHEDOP_poll. */
bit pending[CPUS], blocked[CPUS];
bit in_irq[CPUS];
/* Only to check. */
byte inside[LOCKS];
byte joined[LOCKS], left[LOCKS], ticket[NODES];

#define HEAD(l) (length[l] > 0 && queue[(l) * CPUS] == id + 1)
#define SOMEBODY_UP(l) (owner[l] != 0 || length[l] == 0 || outsider[l] || up[l])

#ifdef KERNEL
bit slow[LOCKS];
#define LOOKS(l) slow[l]
#else
#define LOOKS(l) true
#endif

/* A held lock whose unlock must look. */
inline mark(l)
{
#if defined(KERNEL) && !defined(LEAVES_FAST)
	if
	:: owner[l] != 0 && length[l] > 0 && !up[l] && (!outsider[l] || reserved[l]) -> slow[l] = 1
	:: else
	fi
#else
	skip
#endif
}

inline taken(l)
{
#ifdef KERNEL
	slow[l] = 0;
#endif
#ifndef TAKES_FAST
	mark(l)
#else
	skip
#endif
}

inline push(l)
{
	queue[(l) * CPUS + length[l]] = id + 1;
	length[l]++;
	ticket[id] = joined[l];
	joined[l]++
}

inline pop(l)
{
	assert(queue[(l) * CPUS] == id + 1);
	assert(ticket[id] == left[l]);
	left[l]++;
	length[l]--;
	queue[(l) * CPUS] = queue[(l) * CPUS + 1];
	queue[(l) * CPUS + 1] = queue[(l) * CPUS + 2];
	queue[(l) * CPUS + 2] = 0
}

/* EVTCHNOP_send: pending first, then whoever polls is woken. */
inline kick(c)
{
#ifndef NO_KICK
	pending[c] = 1;
	blocked[c] = 0;
#else
	skip;
#endif
}

/* do_poll: say that we block, then look, then sleep. It does not clear pending. */
inline poll(c)
{
	blocked[c] = 1;
	if
	:: pending[c] -> blocked[c] = 0
	:: else -> !blocked[c]
	fi
}

inline call(t)
{
	atomic { was = state[(t)]; state[(t)] = CALLED };
	if
	:: was != WAITING -> kick((t) / 2)
	:: else
	fi
}

inline clear(c)
{
	pending[c] = 0;
	cleared = 1
}

/* Sleep until an unlock has set `up` for us, the head. */
inline sleep_until_up(l)
{
	do
	:: true ->
#ifndef CHECK_BEFORE_CLEAR
		clear(cpu);
#endif
		state[id] = ASLEEP;
		if
		:: HEAD(l) && up[l] -> break
		:: else
		fi;
#ifdef CHECK_BEFORE_CLEAR
		clear(cpu);
#endif
		poll(cpu)
	od;
	state[id] = WAITING
}

/* Down and asleep, unless the lock came free. */
inline sleep_as_head(l)
{
	down = 0;
#ifndef CHECK_BEFORE_CLEAR
	clear(cpu);
#endif
#ifndef MISSING_BARRIER
	state[id] = ASLEEP;
#endif
	atomic {
		if
#ifndef LEAVE_BLINDLY
		:: owner[l] == 0
#endif
#ifdef LEAVE_BLINDLY
		:: true ->
#else
		:: else ->
#endif
			up[l] = 0;
			if
			:: reserved[l] = 0
			:: skip
			fi;
			mark(l);
			down = 1
		fi;
		assert(SOMEBODY_UP(l))
	};
#ifdef MISSING_BARRIER
	state[id] = ASLEEP; /* seen by the others only now */
#endif
#ifdef CHECK_BEFORE_CLEAR
	clear(cpu);
#endif
	if
	:: down -> poll(cpu); sleep_until_up(l)
	:: else -> state[id] = WAITING
	fi
}

inline lock(l)
{
	got = 0; mine = 0; first = 0; cleared = 0;
	/* Take it, or wait outside the queue. */
	atomic {
		if
		:: owner[l] == 0 && !reserved[l] -> owner[l] = cpu + 1; taken(l); got = 1
		:: length[l] > 0 || outsider[l] -> skip /* our turn is over */
		:: owner[l] != 0 || reserved[l] ->
			if
			:: !outsider[l] && !up[l] -> outsider[l] = 1; mine = 1
			:: else
			fi
		fi
	};
	if
	:: mine ->
		if
		:: atomic { owner[l] == 0 && !reserved[l] ->
				owner[l] = cpu + 1; outsider[l] = 0; taken(l); got = 1 }
		:: skip /* spun enough */
		fi
	:: else
	fi;
	if
	:: !got ->
		state[id] = WAITING;
		atomic {
			if
			:: mine -> outsider[l] = 0
			:: else
			fi;
			if
			:: owner[l] == 0 && !reserved[l] -> owner[l] = cpu + 1; taken(l); got = 1
			:: owner[l] != 0 || reserved[l] || length[l] > 0 || outsider[l] ->
				push(l);
				if
				:: length[l] == 1 -> up[l] = 1; first = 1
				:: else
				fi;
				/* Our turn is over, and we leave a free lock. */
#ifndef JOIN_SILENTLY
				if
				:: !SOMEBODY_UP(l) -> up[l] = 1; next = queue[(l) * CPUS]
				:: else
				fi;
#endif
				mark(l)
			fi;
			assert(SOMEBODY_UP(l))
		};
		if
		:: next != 0 -> call((next - 1)); next = 0
		:: else
		fi
	:: else
	fi;
	if
	:: !got && !first ->
		/* Behind another: look at our own node, or sleep. */
		if
		:: state[id] == CALLED ->
			state[id] = WAITING;
			if
			:: HEAD(l)
			:: else -> sleep_until_up(l)
			fi
		:: sleep_until_up(l)
		fi
	:: else
	fi;
	if
	:: !got ->
		do
		:: atomic { owner[l] == 0 ->
				pop(l);
				owner[l] = cpu + 1; up[l] = 0; reserved[l] = 0;
				taken(l);
				next = queue[(l) * CPUS] };
			break
		:: atomic { owner[l] != 0 && !up[l] -> up[l] = 1 }
		:: atomic { owner[l] != 0 && up[l] && !reserved[l] -> reserved[l] = 1 }
		:: owner[l] != 0 && up[l] -> sleep_as_head(l)
		od;
		if
		:: next != 0 ->
			atomic {
				if
				:: state[next - 1] == WAITING -> state[next - 1] = CALLED
				:: else
				fi
			}
		:: else
		fi
	:: else
	fi;
	/* We interrupted a waiter: give back the kick that we may have cleared. */
	if
	:: cleared && id % 2 == 1 ->
#ifndef NO_REPEND
		kick(cpu)
#else
		skip
#endif
	:: else
	fi
}

inline critical(l)
{
	inside[l]++;
	assert(inside[l] == 1);
	inside[l]--
}

inline unlock(l)
{
	wake = 0;
#ifdef RELEASE_IN_TWO
	/* The look and the release are two operations. */
	if
	:: length[l] > 0 && !up[l] && !outsider[l] -> wake = queue[(l) * CPUS]
	:: else
	fi;
	atomic {
		owner[l] = 0;
		if
		:: wake -> up[l] = 1
		:: else
		fi
	};
#else
#ifdef KICK_FIRST
	if
	:: length[l] > 0 && !up[l] -> wake = queue[(l) * CPUS]; call((wake - 1)); wake = 0
	:: else
	fi;
#endif
	atomic {
		assert(owner[l] == cpu + 1);
		if
		:: LOOKS(l) && length[l] > 0 && !up[l] && (!outsider[l] || reserved[l]) -> wake = 1
		:: else
		fi;
		if
		:: wake -> up[l] = 1; wake = queue[(l) * CPUS]
		:: else
		fi;
		owner[l] = 0;
#ifdef KERNEL
		slow[l] = 0;
#endif
		assert(SOMEBODY_UP(l))
	};
#ifdef KICK_FIRST
	wake = 0;
#endif
#endif
	if
	:: wake != 0 -> call((wake - 1))
	:: else
	fi;
	wake = 0; next = 0; was = 0; down = 0
}

proctype Task(byte cpu) provided (!in_irq[cpu])
{
	byte id = cpu * 2, wake, next, was, round;
	bit got, mine, first, cleared, down;

#if WORLD == 2
	if
	:: cpu == 2 -> lock(1); critical(1); unlock(1)
	:: else -> lock(0); critical(0); unlock(0)
	fi
#else
	for (round : 1 .. ROUNDS) {
		lock(0); critical(0); unlock(0)
	}
#endif
}

/* An interrupt comes at any moment, or never; it ends a poll. */
proctype Interrupt(byte cpu)
{
	byte id = cpu * 2 + 1, wake, next, was;
	bit got, mine, first, cleared, down;

	if
	:: atomic { in_irq[cpu] = 1; blocked[cpu] = 0 };
		lock(1); critical(1); unlock(1);
		in_irq[cpu] = 0
	:: skip
	fi
}

/* Once, a poll ends for no reason. */
proctype Spurious()
{
	if
	:: atomic { blocked[0] -> blocked[0] = 0 }
	:: atomic { blocked[1] -> blocked[1] = 0 }
	:: skip
	fi
}

init {
	atomic {
		run Task(0); run Task(1);
#if WORLD != 3
		run Task(2);
#endif
#if WORLD == 2
		run Interrupt(0);
#endif
#if WORLD == 1
		run Spurious()
#endif
	}
}
