// SPDX-License-Identifier: GPL-2.0-only
/*
 * Torture and measure a lock: ours, the kernel's spinlock_t and rwlock_t, a test-and-set.
 *
 *	echo "lock=xpv threads=8 ms=2000 hold=20 pause=20" > /sys/kernel/debug/xpv-pvlock-test/run
 *	cat /sys/kernel/debug/xpv-pvlock-test/run
 *
 * The write returns when the run is over. Threads count under the lock, in a way
 * that goes wrong if two of them are in; the sum must be exact. The read tells
 * figures as `name: value`.
 */
#define pr_fmt(fmt) "xpv-pvlock-test: " fmt

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "pvlock/pvlock.h"
#include "pvlock/test/nmi.h"
#include "pvlock/test/rival.h"

#define THREADS_MAX 64

enum kind { KIND_XPV,
	    KIND_KERNEL,
	    KIND_RWLOCK,
	    KIND_TAS };
static const char *const kinds[] = { "xpv", "kernel", "rwlock", "tas" };

enum {
	OPTION_THREADS,
	OPTION_MS,
	OPTION_HOLD,
	OPTION_PAUSE,
	OPTION_BIND,
	OPTION_IRQS,
	OPTION_TIMER,
	OPTION_FREE,
	OPTION_NMI,
	OPTION_PAIRS,
	OPTION_MISUSE,
	OPTIONS
};

static const struct {
	const char *name;
	u32 min, max, initial;
} options[OPTIONS] = {
	[OPTION_THREADS] = { "threads", 1, THREADS_MAX, 2 },
	[OPTION_MS] = { "ms", 1, 600000, 1000 },
	[OPTION_HOLD] = { "hold", 0, 1000000, 20 },   /* loop turns inside */
	[OPTION_PAUSE] = { "pause", 0, 1000000, 20 }, /* and outside */
	[OPTION_BIND] = { "bind", 0, 1, 1 },	      /* thread i to CPU i */
	[OPTION_IRQS] = { "irqs", 0, 1, 0 },	      /* every other time irqsave */
	[OPTION_TIMER] = { "timer", 0, 1, 0 },	      /* interrupts take locks too */
	[OPTION_FREE] = { "free", 0, 1, 0 },	      /* locks freed by the last user */
	[OPTION_NMI] = { "nmi", 0, 1000000, 0 },      /* locks between NMIs; bound threads */
	[OPTION_PAIRS] = { "pairs", 0, 10000000, 0 }, /* not threads: so many pairs */
	[OPTION_MISUSE] = { "misuse", 0, 1, 0 },      /* not threads: bad unlocks */
};

static u32 option[OPTIONS];
static enum kind kind;

/* What is locked. The locks are apart from what they protect. */
static struct {
	struct xpv_spinlock xpv ____cacheline_aligned;
	spinlock_t kernel ____cacheline_aligned;
	rwlock_t rwlock ____cacheline_aligned;
	u32 tas ____cacheline_aligned;
	struct xpv_spinlock irq_xpv ____cacheline_aligned;
	raw_spinlock_t irq_kernel ____cacheline_aligned;
	u64 count ____cacheline_aligned;
	int inside;
	u64 irq_count;
} shared;

struct worker {
	struct task_struct *task;
	u64 count;
	u64 irq_count;
	u64 nmi_count; /* of the CPU, not the thread */
	u64 faults;    /* found somebody else inside */
} ____cacheline_aligned;

static struct worker workers[THREADS_MAX];
static struct {
	struct hrtimer timer;
	u64 count;
} timers[THREADS_MAX];
static cpumask_t nmi_targets;
static struct completion go;
static bool stop;
static DEFINE_MUTEX(run_mutex);
static char *result;
static struct dentry *folder;

static __always_inline void take(unsigned long *flags, bool irqs)
{
	switch (kind) {
	case KIND_XPV:
		if (irqs)
			xpv_spin_lock_irqsave(&shared.xpv, *flags);
		else
			xpv_spin_lock(&shared.xpv);
		break;
	case KIND_KERNEL:
		if (irqs)
			spin_lock_irqsave(&shared.kernel, *flags);
		else
			spin_lock(&shared.kernel);
		break;
	case KIND_RWLOCK:
		if (irqs)
			write_lock_irqsave(&shared.rwlock, *flags);
		else
			write_lock(&shared.rwlock);
		break;
	case KIND_TAS:
		if (irqs)
			local_irq_save(*flags);
		preempt_disable();
		while (xchg_acquire(&shared.tas, 1))
			cpu_relax();
		break;
	}
}

static __always_inline void release(unsigned long flags, bool irqs)
{
	switch (kind) {
	case KIND_XPV:
		if (irqs)
			xpv_spin_unlock_irqrestore(&shared.xpv, flags);
		else
			xpv_spin_unlock(&shared.xpv);
		break;
	case KIND_KERNEL:
		if (irqs)
			spin_unlock_irqrestore(&shared.kernel, flags);
		else
			spin_unlock(&shared.kernel);
		break;
	case KIND_RWLOCK:
		if (irqs)
			write_unlock_irqrestore(&shared.rwlock, flags);
		else
			write_unlock(&shared.rwlock);
		break;
	case KIND_TAS:
		/* What was done under the lock comes before its end. */
		smp_store_release(&shared.tas, 0);
		if (irqs)
			local_irq_restore(flags);
		preempt_enable();
		break;
	}
}

static __always_inline void turns(u32 count)
{
	while (count--)
		barrier();
}

/* An object with its own lock; the last of its users frees both. */
struct object {
	struct xpv_spinlock lock;
	int users;
};

static struct object *current_object;
static DEFINE_RAW_SPINLOCK(current_mutex);

static void use_object(void)
{
	struct object *object, *fresh = kmalloc(sizeof(*fresh), GFP_KERNEL);
	unsigned long flags;
	bool last;

	if (!fresh)
		return;
	xpv_spin_lock_init(&fresh->lock);
	fresh->users = 0;
	raw_spin_lock_irqsave(&current_mutex, flags);
	object = current_object;
	if (!object) {
		current_object = object = fresh;
		fresh = NULL;
	}
	object->users++;
	raw_spin_unlock_irqrestore(&current_mutex, flags);
	kfree(fresh);

	xpv_spin_lock(&object->lock);
	raw_spin_lock_irqsave(&current_mutex, flags);
	last = --object->users == 0;
	if (last)
		current_object = NULL;
	raw_spin_unlock_irqrestore(&current_mutex, flags);
	turns(10);
	xpv_spin_unlock(&object->lock);
	if (last)
		kfree(object);
}

static void irq_section(u64 *count)
{
	unsigned long flags;

	if (kind == KIND_XPV)
		xpv_spin_lock_irqsave(&shared.irq_xpv, flags);
	else
		raw_spin_lock_irqsave(&shared.irq_kernel, flags);
	shared.irq_count++;
	turns(option[OPTION_HOLD]);
	(*count)++;
	if (kind == KIND_XPV)
		xpv_spin_unlock_irqrestore(&shared.irq_xpv, flags);
	else
		raw_spin_unlock_irqrestore(&shared.irq_kernel, flags);
}

static enum hrtimer_restart timer_fired(struct hrtimer *timer)
{
	irq_section(&timers[smp_processor_id() % THREADS_MAX].count);
	hrtimer_forward_now(timer, ns_to_ktime(700 * NSEC_PER_USEC));
	return READ_ONCE(stop) ? HRTIMER_NORESTART : HRTIMER_RESTART;
}

/* The threads' lock, if it can be had: its unlock may have to wake a waiter. */
static void nmi_section(unsigned int cpu)
{
	struct worker *worker = &workers[cpu % THREADS_MAX];

	if (kind == KIND_XPV ? !xpv_spin_trylock(&shared.xpv) :
			       kind != KIND_KERNEL || !raw_spin_trylock(&shared.kernel.rlock))
		return;
	if (shared.inside)
		worker->faults++;
	shared.count++;
	worker->nmi_count++;
	if (kind == KIND_XPV)
		xpv_spin_unlock(&shared.xpv);
	else
		raw_spin_unlock(&shared.kernel.rlock);
}

/* Readers do not meet a writer. */
static void read_section(struct worker *worker)
{
	read_lock(&shared.rwlock);
	if (shared.inside)
		worker->faults++;
	turns(option[OPTION_HOLD]);
	if (shared.inside)
		worker->faults++;
	read_unlock(&shared.rwlock);
	turns(option[OPTION_PAUSE]);
}

static int work(void *data)
{
	struct worker *worker = data;
	unsigned int i = worker - workers;
	u32 round = 0;

	wait_for_completion(&go);
	if (option[OPTION_TIMER])
		hrtimer_start(&timers[i].timer, ns_to_ktime((500 + 50 * i) * NSEC_PER_USEC),
			      HRTIMER_MODE_REL_PINNED_HARD);
	while (!READ_ONCE(stop)) {
		bool irqs = option[OPTION_IRQS] && (round & 1);
		unsigned long flags = 0;

		/* Mixed with writers, whose locks alone are counted. */
		if (kind == KIND_RWLOCK && (round & 1))
			read_section(worker);
		take(&flags, irqs);
		if (shared.inside)
			worker->faults++;
		shared.inside = 1;
		shared.count++;
		turns(option[OPTION_HOLD]);
		shared.inside = 0;
		release(flags, irqs);
		worker->count++;
		turns(option[OPTION_PAUSE]);
		if (option[OPTION_TIMER] && !(round & 15))
			irq_section(&worker->irq_count);
		if (option[OPTION_FREE] && !(round & 3))
			use_object();
		/* What is not measured stays out of most rounds. */
		if (!(++round & 63)) {
			if (option[OPTION_NMI] && round % option[OPTION_NMI] < 64)
				nmi_send(&nmi_targets);
			cond_resched();
		}
		/* While the guest suspends no tick asks for it. */
		if (!(round & 1023))
			schedule();
	}
	hrtimer_cancel(&timers[i].timer);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static int report(u64 ns, const struct nmi_counts *nmis)
{
	u64 sum = 0, irqs = 0, tried = 0, low = U64_MAX, high = 0, faults = 0;
	u32 i, at = 0;

	for (i = 0; i < option[OPTION_THREADS]; i++) {
		sum += workers[i].count;
		irqs += workers[i].irq_count;
		faults += workers[i].faults;
		low = min(low, workers[i].count);
		high = max(high, workers[i].count);
	}
	for (i = 0; i < THREADS_MAX; i++) {
		irqs += timers[i].count;
		tried += workers[i].nmi_count;
	}
	at += scnprintf(result + at, PAGE_SIZE - at,
			"lock: %s\nthreads: %u\nns: %llu\ncount: %llu\nfewest: %llu\nmost: %llu\n"
			"exact: %d\nfaults: %llu\nirq_count: %llu\n"
			"nmis: %llu\nnmi_waited: %llu\nnmi_slept: %llu\nnmi_longest_ns: %llu\n"
			"nmi_trylocks: %llu\neach:",
			kinds[kind], option[OPTION_THREADS], ns, sum, low, high,
			sum + tried == shared.count && irqs == shared.irq_count && !faults, faults,
			irqs, nmis->taken, nmis->waited, nmis->slept, nmis->longest, tried);
	for (i = 0; i < option[OPTION_THREADS]; i++)
		at += scnprintf(result + at, PAGE_SIZE - at, " %llu", workers[i].count);
	scnprintf(result + at, PAGE_SIZE - at, "\n");
	return 0;
}

/* what: a kind of lock, or -1 for the loop alone. */
static __always_inline u64 ticks(u32 count, int what)
{
	u64 start = get_cycles();
	u32 i;

	for (i = 0; i < count; i++) {
		if (what == KIND_XPV) {
			xpv_spin_lock(&shared.xpv);
			xpv_spin_unlock(&shared.xpv);
		} else if (what == KIND_RWLOCK) {
			write_lock(&shared.rwlock);
			write_unlock(&shared.rwlock);
		} else if (what == KIND_KERNEL) {
			spin_lock(&shared.kernel);
			spin_unlock(&shared.kernel);
		} else {
			barrier();
		}
	}
	return get_cycles() - start;
}

/*
 * lock and unlock, nobody else about: time stamp ticks, less the loop's own. The fewest
 * of several tries of each: what else the machine does counts, too.
 */
static int pairs(void)
{
	u32 count = option[OPTION_PAIRS], i;
	u64 empty = U64_MAX, full = U64_MAX;

	if (kind == KIND_TAS) {
		pr_err("lock=tas is not measured uncontended\n");
		return -EINVAL;
	}
	for (i = 0; i < 10; i++) {
		unsigned long flags;

		local_irq_save(flags);
		empty = min(empty, ticks(count, -1));
		if (kind == KIND_XPV)
			full = min(full, ticks(count, KIND_XPV));
		else if (kind == KIND_RWLOCK)
			full = min(full, ticks(count, KIND_RWLOCK));
		else
			full = min(full, ticks(count, KIND_KERNEL));
		local_irq_restore(flags);
		cond_resched();
	}
	scnprintf(result, PAGE_SIZE, "lock: %s\npairs: %u\nticks: %llu\n", kinds[kind], count,
		  full - min(empty, full));
	return 0;
}

/* Unlocks of locks that this CPU does not hold; lockdep is not asked. */
static int misuse(void)
{
	struct xpv_spinlock lock;
	bool good = true;
	u64 held;
	int i;

	xpv_spin_lock_init(&lock);
	preempt_disable();
	for (i = 0; i < 3; i++) {
		xpv_pvlock_raw_unlock(&lock);
		good = good && lock.word == 0;
	}
	held = raw_smp_processor_id() + 2;
	lock.word = held;
	xpv_pvlock_raw_unlock(&lock);
	good = good && lock.word == held;
	lock.word = 0;
	good = good && xpv_pvlock_raw_trylock(&lock) && !xpv_pvlock_raw_trylock(&lock);
	xpv_pvlock_raw_unlock(&lock);
	good = good && lock.word == 0;
	preempt_enable();
	scnprintf(result, PAGE_SIZE, "unlocks: 4\nunharmed: %d\n", good);
	return 0;
}

/*
 * Sleep; a suspend of the guest goes on meanwhile. Unsafe for who waits for our locks:
 * other tests and their results, which a suspend may hold up.
 */
static void wait_ms(u32 ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(ms);

	while (time_before(jiffies, end) && !fatal_signal_pending(current)) {
		set_current_state(TASK_KILLABLE | TASK_FREEZABLE_UNSAFE);
		schedule_timeout(min(end - jiffies, HZ / 20ul + 1));
	}
}

static int run(void)
{
	unsigned int cpus = num_online_cpus(), cpu = cpumask_first(cpu_online_mask);
	struct nmi_counts nmis = {};
	u32 i, started;
	int err = 0;
	u64 begin;

	memset(workers, 0, sizeof(workers));
	shared.count = shared.irq_count = 0;
	stop = false;
	init_completion(&go);
	cpumask_clear(&nmi_targets);
	if (option[OPTION_NMI]) {
		err = nmi_start(kind == KIND_XPV, option[OPTION_HOLD], nmi_section);
		if (err)
			return err;
	}
	for (i = 0; i < THREADS_MAX; i++) {
		timers[i].count = 0;
		hrtimer_init(&timers[i].timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
		timers[i].timer.function = timer_fired;
	}
	for (started = 0; started < option[OPTION_THREADS]; started++) {
		struct task_struct *task = kthread_create(work, &workers[started],
							  "pvlock-test/%u", started);

		if (IS_ERR(task)) {
			err = PTR_ERR(task);
			break;
		}
		if (option[OPTION_BIND] && cpus) {
			kthread_bind(task, cpu);
			cpumask_set_cpu(cpu, &nmi_targets);
			cpu = cpumask_next(cpu, cpu_online_mask);
			if (cpu >= nr_cpu_ids)
				cpu = cpumask_first(cpu_online_mask);
		}
		workers[started].task = task;
		wake_up_process(task);
	}
	msleep(50);
	begin = ktime_get_ns();
	complete_all(&go);
	if (!err)
		wait_ms(option[OPTION_MS]);
	WRITE_ONCE(stop, true);
	begin = ktime_get_ns() - begin;
	for (i = 0; i < started; i++)
		kthread_stop(workers[i].task);
	if (option[OPTION_NMI]) {
		int lost = nmi_stop(&nmis);

		err = err ?: lost;
	}
	return err ?: report(begin, &nmis);
}

static int parse(char *text)
{
	char *word;
	u32 i;

	for (i = 0; i < OPTIONS; i++)
		option[i] = options[i].initial;
	kind = KIND_XPV;
	while ((word = strsep(&text, "\n "))) {
		char *value = strchr(word, '=');

		if (!*word)
			continue;
		if (!value)
			goto bad;
		*value++ = 0;
		if (!strcmp(word, "lock")) {
			int found = match_string(kinds, ARRAY_SIZE(kinds), value);

			if (found < 0)
				goto bad;
			kind = found;
			continue;
		}
		for (i = 0; i < OPTIONS && strcmp(word, options[i].name); i++)
			;
		if (i == OPTIONS || kstrtou32(value, 0, &option[i]) ||
		    option[i] < options[i].min || option[i] > options[i].max)
			goto bad;
	}
	return 0;
bad:
	pr_err("no such option, or its value is out of range: %s\n", word);
	return -EINVAL;
}

static ssize_t run_write(struct file *file, const char __user *text, size_t size, loff_t *at)
{
	char *copy = memdup_user_nul(text, min_t(size_t, size, 256));
	int err;

	if (IS_ERR(copy))
		return PTR_ERR(copy);
	mutex_lock(&run_mutex);
	err = parse(copy);
	if (!err)
		err = option[OPTION_PAIRS]  ? pairs() :
		      option[OPTION_MISUSE] ? misuse() :
					      run();
	mutex_unlock(&run_mutex);
	kfree(copy);
	return err ?: size;
}

static ssize_t run_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	ssize_t done;

	mutex_lock(&run_mutex);
	done = simple_read_from_buffer(to, size, at, result, strlen(result));
	mutex_unlock(&run_mutex);
	return done;
}

static const struct file_operations run_ops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = run_read,
	.write = run_write,
};

static int __init test_init(void)
{
	result = (char *)get_zeroed_page(GFP_KERNEL);
	if (!result)
		return -ENOMEM;
	xpv_spin_lock_init(&shared.xpv);
	xpv_spin_lock_init(&shared.irq_xpv);
	spin_lock_init(&shared.kernel);
	rwlock_init(&shared.rwlock);
	raw_spin_lock_init(&shared.irq_kernel);
	folder = debugfs_create_dir("xpv-pvlock-test", NULL);
	debugfs_create_file("run", 0600, folder, NULL, &run_ops);
	rival_init(folder);
	return 0;
}
module_init(test_init);

static void __exit test_exit(void)
{
	debugfs_remove_recursive(folder);
	rival_exit();
	free_page((unsigned long)result);
}
module_exit(test_exit);

MODULE_DESCRIPTION("Torture test and benchmark of xpv-pvlock");
MODULE_AUTHOR("The xpv project");
MODULE_LICENSE("GPL");
MODULE_VERSION(XPV_VERSION);
