/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the balloon's C and its C++. Upcalls are made with the balloon's
 * mutex held, one at a time; implemented in balloon's C files and in
 * balloon/test/fake.cpp. Frames are those of the guest (PFN); an extent of order n is
 * 2^n of them, named by its first.
 */
#ifndef XPV_BALLOON_ABI_H
#define XPV_BALLOON_ABI_H

#include "core/kapi.h"

XPV_BEGIN_DECLS

struct xpv_balloon;    /* C++: balloon/balloon.hpp */
struct xpv_balloon_os; /* C: balloon/balloon.h */

/* Pages per call, at most: one extent of order 9. */
#define XPV_BALLOON_BATCH 512

enum xpv_balloon_mode {
	XPV_BALLOON_TAKE_OVER, /* Linux's driver stands still, we serve the target */
	XPV_BALLOON_TARGET,    /* there is no driver of Linux's */
	XPV_BALLOON_STEER,     /* Linux's driver moves pages, we say how many */
};

/* ---- upcalls: pages and Xen; none of them fails unless it says so ------- */

/* Up to count extents of zeroed pages that nobody uses: how many, into pfns[]. rung as in
 * balloon/controller.hpp says how hard to try; above 0 for order 0 only. May sleep. */
uint32_t xpv_balloon_os_alloc(struct xpv_balloon_os *os, uint32_t order,
			      uint32_t rung, uint32_t count, uint64_t *pfns);
/* Give them to the kernel's allocator. Any process context, no allocation; so are all
 * that follow but mark. */
void xpv_balloon_os_free(struct xpv_balloon_os *os, uint32_t order,
			 uint32_t count, const uint64_t *pfns);
/* From here on an extent of this order is 2^order of order 0, allocated singly. */
void xpv_balloon_os_split(struct xpv_balloon_os *os, uint32_t order,
			  uint64_t pfn);
/* Nobody may look into these pages, and they are not of the kernel's memory; and back.
 * Mark may sleep. */
void xpv_balloon_os_mark(struct xpv_balloon_os *os, uint32_t order,
			 uint32_t count, const uint64_t *pfns);
void xpv_balloon_os_unmark(struct xpv_balloon_os *os, uint32_t order,
			   uint32_t count, const uint64_t *pfns);
/* A word that is ours as long as the pages are marked. */
uint64_t *xpv_balloon_os_word(struct xpv_balloon_os *os, uint64_t pfn);

/* Take away the kernel's mapping and what it knows of the machine's frames, which are kept
 * for this batch: extents done. The next one, if any, is as before. (PV; else all.) */
uint32_t xpv_balloon_os_detach(struct xpv_balloon_os *os, uint32_t order,
			       uint32_t count, const uint64_t *pfns);
/* Undo it for [from, count) of the same batch: extents done, from the first of those. */
uint32_t xpv_balloon_os_reattach(struct xpv_balloon_os *os, uint32_t order,
				 uint32_t from, uint32_t count,
				 const uint64_t *pfns);
/* XENMEM_decrease_reservation of a batch that is detached: extents that are wholly Xen's
 * now, from the first; -errno if it did not begin. */
int xpv_balloon_os_decrease(struct xpv_balloon_os *os, uint32_t order,
			    uint32_t count, const uint64_t *pfns);
/* XENMEM_populate_physmap: extents that have memory now, or -errno. */
int xpv_balloon_os_populate(struct xpv_balloon_os *os, uint32_t order,
			    uint32_t count, const uint64_t *pfns);
/* Map what was populated last: extents done. */
uint32_t xpv_balloon_os_attach(struct xpv_balloon_os *os, uint32_t order,
			       uint32_t count, const uint64_t *pfns);

/* ---- upcalls: what the guest looks like --------------------------------- */

/* Pages of 4 KiB; counters grow for ever. As struct Sample of balloon/controller.hpp. */
struct xpv_balloon_sample {
	uint64_t free, available, cache, anonymous, unevictable, slab_fixed,
		kernel, watermarks;
	uint64_t refaults, direct_reclaims;
	bool swap;
};
void xpv_balloon_os_sample(struct xpv_balloon_os *os,
			   struct xpv_balloon_sample *sample);

/* Linux's own driver, or what there would be without: pages that the guest has but for
 * ours, the driver's target, and all pages that it ever had. */
struct xpv_balloon_stock {
	uint64_t current_pages, target, total;
	bool present;
};
void xpv_balloon_os_stock(struct xpv_balloon_os *os,
			  struct xpv_balloon_stock *stock);
/* Only if it is present. still: whatever it is asked, it moves nothing until told
 * otherwise. */
void xpv_balloon_os_set_stock(struct xpv_balloon_os *os, uint64_t target,
			      bool still);

/* Nanoseconds since some point in the past. */
uint64_t xpv_balloon_os_now_ns(struct xpv_balloon_os *os);

/* A node below this domain's own folder: its length, -ENOENT, or -E2BIG. May sleep. */
int xpv_balloon_os_read(struct xpv_balloon_os *os, const char *key,
			char *buffer, uint32_t size);
int xpv_balloon_os_write(struct xpv_balloon_os *os, const char *key,
			 const char *text);

/* Pages are out that need us to come back, or no longer. */
void xpv_balloon_os_hold(struct xpv_balloon_os *os, bool out);

__attribute__((format(printf, 3, 4))) void
xpv_balloon_os_log(struct xpv_balloon_os *os, enum xpv_log_level level,
		   const char *format, ...);

/* ---- downcalls ----------------------------------------------------------- */

struct xpv_balloon_settings {
	enum xpv_balloon_mode mode;
	uint64_t floor_pages, wish_pages;
	uint32_t slew_percent; /* 1..100 */
	uint32_t cpu_percent;  /* of one processor, 1..100 */
	uint32_t tick_ms;      /* 100..60000 */
	bool released;	       /* give all pages back and stand aside */
};

/* NULL without memory. May sleep, as all but _oom. */
struct xpv_balloon *
xpv_balloon_create(struct xpv_balloon_os *os,
		   const struct xpv_balloon_settings *settings);
/* Linux's driver carries on; pages that are still out are nobody's. */
void xpv_balloon_destroy(struct xpv_balloon *balloon);
/* For the next turn. A mode is changed only while no pages are out: -EBUSY. */
int xpv_balloon_set(struct xpv_balloon *balloon,
		    const struct xpv_balloon_settings *settings);

enum xpv_balloon_event {
	XPV_BALLOON_TARGET_NODE = 1 << 0, /* memory/target or static-max changed */
	XPV_BALLOON_GAUGE_NODE = 1 << 1,  /* memory/xpv-gauge changed */
	XPV_BALLOON_SETTINGS = 1 << 2,
	XPV_BALLOON_OOM = 1 << 3, /* pages went back, or could not */
};
#define XPV_BALLOON_ALL_EVENTS 15

/* One step of work, at most one batch: milliseconds until the next, or never unless there
 * is an event. */
#define XPV_BALLOON_NEVER 0xffffffffu
uint32_t xpv_balloon_turn(struct xpv_balloon *balloon, uint32_t events);

/* The kernel is about to kill somebody: pages that it has now and had not before. No
 * allocation. */
uint32_t xpv_balloon_oom(struct xpv_balloon *balloon);

/* A target of this guest's own, until the toolstack has another: -ERANGE with a line in
 * the log. */
int xpv_balloon_ask(struct xpv_balloon *balloon, const char *text);

/* X(name): counters of pages, extents and events since the module was loaded. */
#define XPV_BALLOON_COUNTERS(X)                                      \
	X(inflated_2m)	/* pages given to Xen in extents of 2 MiB */ \
	X(inflated_64k) /* of 64 KiB */                              \
	X(inflated_4k)	/* singly */                                 \
	X(deflated_2m)	/* pages taken back, the same */             \
	X(deflated_64k)                                              \
	X(deflated_4k)                                               \
	X(decrease_short) /* calls that Xen did not do wholly */     \
	X(populate_short)                                            \
	X(split)    /* extents broken up to come back in pieces */   \
	X(lost)	    /* pages kept for good, half given */            \
	X(no_pages) /* the guest had none to give */                 \
	X(waits)    /* back-offs */                                  \
	X(oom_calls)                                                 \
	X(oom_pages)                                                 \
	X(ticks)     /* decisions */                                 \
	X(bad_nodes) /* rubbish in xenstore */

struct xpv_balloon_counters {
#define X(name) uint64_t name;
	XPV_BALLOON_COUNTERS(X)
#undef X
};
const struct xpv_balloon_counters *
xpv_balloon_count(const struct xpv_balloon *balloon);

/* For people. Pages. */
struct xpv_balloon_state {
	enum xpv_balloon_mode mode;
	uint64_t held, wanted, goal, floor, limit; /* limit: static-max */
	uint64_t out[3];			   /* extents of 2 MiB, 64 KiB, 4 KiB */
	uint64_t lost;
	uint32_t rung, level, backoff_ms;
	bool gauge, hungry, at_rest, released;
};
void xpv_balloon_show(const struct xpv_balloon *balloon,
		      struct xpv_balloon_state *state);

XPV_END_DECLS

#endif
