/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the frontend's C files and its C++. One call per batch of
 * requests goes down, one per batch of completions comes up.
 */
#ifndef XPV_BLKFRONT_ABI_H
#define XPV_BLKFRONT_ABI_H

#include "core/kapi.h"

XPV_BEGIN_DECLS

#define XPV_BLKFRONT_MAX_RINGS 8
#define XPV_BLKFRONT_MAX_ORDER 4
/* Of one request, in units of 512 bytes. */
#define XPV_BLKFRONT_MAX_SECTORS 2048
/* Pages that a disk may have granted at once; blkback evicts beyond 1056 per ring. */
#define XPV_BLKFRONT_MIN_PAGES 768
#define XPV_BLKFRONT_MAX_PAGES 1024

struct xpv_blkfront;	/* C++: one disk, core/end.hpp */
struct xpv_blkfront_os; /* the shim's side of it */

enum xpv_blkfront_op {
	XPV_BLKFRONT_READ,
	XPV_BLKFRONT_WRITE,
	XPV_BLKFRONT_FLUSH,
	XPV_BLKFRONT_DISCARD,
	XPV_BLKFRONT_ERASE, /* secure */
};

enum xpv_blkfront_status {
	XPV_BLKFRONT_OK,
	XPV_BLKFRONT_IO_ERROR,
	XPV_BLKFRONT_UNSUPPORTED,
};

/* Private data of a request of the block layer. The shim fills in the first part before
 * xpv_blkfront_submit(), the rest is C++'s until the request comes back. */
struct xpv_blkfront_request {
	struct xpv_blkfront_request *next; /* of whichever list it is in */
	uint64_t sector;		   /* in units of 512 bytes, as all sectors here */
	uint8_t *memory;		   /* of a read or write, if it is all in one piece */
	uint32_t sectors;
	uint8_t op;	/* enum xpv_blkfront_op */
	uint8_t status; /* out: enum xpv_blkfront_status */
	uint16_t queue; /* the hardware queue that it came by */
	bool polled;	/* somebody calls xpv_blkfront_poll() until it is over */

	uint32_t done;	   /* sectors in ring requests that were put */
	uint16_t first;	   /* grants of its data, a chain of pool entries */
	uint16_t at;	   /* the next of them to be issued */
	uint16_t indirect; /* pages for indirect segments, the same */
	uint16_t spare;	   /* the next of them to be used */
	uint16_t grants;   /* of its data */
	uint16_t issued;   /* of them, in ring requests that were put */
	uint16_t slots;	   /* ring requests not answered yet */
	uint8_t flags;
	uint8_t late; /* timeouts that it has seen */
};

/* One piece of a request's memory, inside one page. */
struct xpv_blkfront_segment {
	struct xpv_page *page;
	uint8_t *address; /* of the first byte */
	uint32_t bytes;
};

/* Where a walk over them is; zeroed at the beginning. */
struct xpv_blkfront_cursor {
	uint64_t opaque[5];
};

enum xpv_blkfront_persistent {
	XPV_BLKFRONT_AUTO,
	XPV_BLKFRONT_ON,
	XPV_BLKFRONT_OFF,
};

struct xpv_blkfront_settings {
	uint32_t max_rings;    /* 1..XPV_BLKFRONT_MAX_RINGS */
	uint32_t max_order;    /* of a ring's pages, 0..XPV_BLKFRONT_MAX_ORDER */
	uint32_t max_segments; /* indirect, 0: none .. 256 */
	uint32_t pages;	       /* of the pool, XPV_BLKFRONT_{MIN,MAX}_PAGES */
	uint32_t event_batch;  /* answers that one event may stand for, 1: each has its own */
	uint32_t fail_after_s; /* without a backend requests fail after so long; 0: never */
	uint8_t persistent;    /* enum xpv_blkfront_persistent */
	bool insist;	       /* detach even if the disk is in use */
};

/* What the disk is called, from virtual-device. */
struct xpv_blkfront_name {
	char text[16];
	uint32_t minor;	 /* of major 202 */
	uint32_t minors; /* 1: a partition that is a disk */
	bool foreign;	 /* named after another bus' major */
};

/* What the backend says of the disk; validated. */
struct xpv_blkfront_disk {
	uint64_t sectors;
	uint32_t sector_size;	 /* logical block, 512..4096 */
	uint32_t physical_size;	 /* >= sector_size */
	uint32_t discard_bytes;	 /* granularity */
	uint32_t discard_offset; /* alignment, bytes */
	bool flush;		 /* it has a cache, which can be flushed */
	bool barrier;		 /* by barriers only */
	bool discard;
	bool erase; /* secure discard */
	bool readonly;
	bool removable;
	bool cdrom;
};

/* Requests with data by their segments: 1, 2, to 4, to 8 and so on, of at most a page each,
 * as they lie in ring requests. */
#define XPV_BLKFRONT_LENGTHS 9

/* Per ring, over all connections. */
#define XPV_BLKFRONT_COUNTERS(X)                                                  \
	X(requests)	/* of the block layer, answered */                        \
	X(polled)	/* of them, without asking for an event */                \
	X(slots)	/* ring requests */                                       \
	X(indirect)	/* of them, indirect */                                   \
	X(splits)	/* requests of more than one slot */                      \
	X(bytes_copied) /* into or out of pool pages */                           \
	X(grants)	/* direct ones, given and ended */                        \
	X(bounced)	/* requests copied for want of alignment or references */ \
	X(notifies)	/* sent */                                                \
	X(events)	/* received */                                            \
	X(spurious)	/* of them without an answer */                           \
	X(ring_full)	/* times that requests waited for slots */                \
	X(pool_empty)	/* requests that waited for pages */                      \
	X(errors)	/* answers that were no success */                        \
	X(timeouts)	/* requests without an answer for long */                 \
	X(replayed)	/* requests sent again to another connection */

struct xpv_blkfront_counters {
#define X(name) uint64_t name;
	XPV_BLKFRONT_COUNTERS(X)
#undef X
	uint64_t lengths[XPV_BLKFRONT_LENGTHS];
};

/* Of a ring, for debugfs. */
struct xpv_blkfront_view {
	bool connected;
	struct xpv_ring_view ring;
	uint32_t ready, waiting; /* requests queued for slots, for pages */
};
struct xpv_blkfront_summary {
	uint32_t rings, segments, parked;
	uint32_t pool_kept, pool_free, pool_stuck, pool_capacity;
	bool persistent, connected, failing, dirty;
	struct xpv_blkfront_disk disk;
};

/* ---- downcalls ------------------------------------------------------------ */

/* All but the ones that say otherwise may sleep. handle, set, tick, fail_all, summary and
 * view exclude each other, by the shim. */
struct xpv_blkfront *
xpv_blkfront_create(struct xpv_xenbus *bus, struct xpv_blkfront_os *os,
		    const struct xpv_blkfront_settings *settings);
/* After XPV_REMOVE and xpv_blkfront_fail_all(). NULL allowed. */
void xpv_blkfront_destroy(struct xpv_blkfront *device);
/* 0, or what is wrong with virtual-device. */
int xpv_blkfront_identity(struct xpv_blkfront *device,
			  struct xpv_blkfront_name *name);
int xpv_blkfront_handle(struct xpv_blkfront *device, enum xpv_event event);
/* Other settings: pages, event_batch, fail_after_s and insist hold from now on, the others
 * from the next connection on. */
void xpv_blkfront_set(struct xpv_blkfront *device,
		      const struct xpv_blkfront_settings *settings);
/* What time brings: idle pages, a deadline, grants of the last life. As asked for by
 * xpv_blkfront_os_tick(). */
void xpv_blkfront_tick(struct xpv_blkfront *device);
/* From now on all requests fail, also those that wait for a backend. */
void xpv_blkfront_fail_all(struct xpv_blkfront *device);

/* A chain of requests of one hardware queue, whose owner holds on to them until
 * xpv_blkfront_os_done(). more: a call follows, at least xpv_blkfront_commit(). Softirq or
 * process context; not between xpv_blkfront_os_stop() and _start(). */
void xpv_blkfront_submit(struct xpv_blkfront *device, uint32_t queue,
			 struct xpv_blkfront_request *first, bool more);
void xpv_blkfront_commit(struct xpv_blkfront *device, uint32_t queue);
/* Look for answers, though there was no event. Any context. */
bool xpv_blkfront_look(struct xpv_blkfront *device, uint32_t ring);
/* The same for the ring that a hardware queue's requests went to, for those who poll: in
 * vain, and the processor was somebody else's meanwhile. */
bool xpv_blkfront_poll(struct xpv_blkfront *device, uint32_t queue);
/* A request has no answer for long. Any context; it may have come back when this
 * returns. */
void xpv_blkfront_timeout(struct xpv_blkfront *device,
			  struct xpv_blkfront_request *request);

const struct xpv_blkfront_counters *
xpv_blkfront_ring_counters(const struct xpv_blkfront *device, uint32_t ring);
void xpv_blkfront_view_ring(struct xpv_blkfront *device, uint32_t ring,
			    struct xpv_blkfront_view *view);
void xpv_blkfront_summarise(struct xpv_blkfront *device,
			    struct xpv_blkfront_summary *summary);

/* ---- upcalls -------------------------------------------------------------- */

/* The next pieces of a read's or write's memory, at most max: how many. Fewer than max:
 * there are no more. Any context. */
uint32_t
xpv_blkfront_os_segments(struct xpv_blkfront_request *request,
			 struct xpv_blkfront_cursor *cursor,
			 struct xpv_blkfront_segment *segments, uint32_t max);
/* A chain of requests that are over, status filled in. Any context. */
void xpv_blkfront_os_done(struct xpv_blkfront_os *os,
			  struct xpv_blkfront_request *first);
/* The disk as it is now; the first time it comes into being. 0 or -errno. May sleep, but
 * waits for no request. */
int xpv_blkfront_os_disk(struct xpv_blkfront_os *os,
			 const struct xpv_blkfront_disk *disk);
/* No request is submitted any more when stop() returns, until start(). Idempotent. May
 * sleep, but wait for no request. */
void xpv_blkfront_os_stop(struct xpv_blkfront_os *os);
void xpv_blkfront_os_start(struct xpv_blkfront_os *os);
/* Whether somebody has the disk open. */
bool xpv_blkfront_os_in_use(struct xpv_blkfront_os *os);
/* Have xpv_blkfront_tick() called in ms milliseconds, once. Any context. */
void xpv_blkfront_os_tick(struct xpv_blkfront_os *os, uint32_t ms);
/* Let other vCPUs have this one's processor for a moment. Any context. */
void xpv_blkfront_os_yield(struct xpv_blkfront_os *os);
/* Have xpv_blkfront_look() called in us microseconds, once. Any context. */
void xpv_blkfront_os_look(struct xpv_blkfront_os *os, uint32_t ring,
			  uint32_t us);

XPV_END_DECLS

#endif
