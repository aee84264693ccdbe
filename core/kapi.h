/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract with the operating system: everything C++ may ask of it that is
 * not particular to one driver. Implemented by shim/ in a kernel and by the
 * fakes of kunit/ in a test. Plain C, plain data; handles are opaque.
 *
 * Return values: 0 or a count on success, a negative errno on failure.
 * "Any context" includes hard interrupts; "may sleep" means process context.
 */
#ifndef XPV_CORE_KAPI_H
#define XPV_CORE_KAPI_H

#include "core/types.h"

XPV_BEGIN_DECLS

struct xpv_page;   /* one 4 KiB page of our own (Linux: struct page) */
struct xpv_xenbus; /* one xenbus device (Linux: struct xenbus_device) */
struct xpv_evtchn; /* one bound event channel, see shim/evtchn.c */

enum xpv_alloc_mode {
	XPV_ALLOC_SLEEP = 0,  /* may sleep */
	XPV_ALLOC_ATOMIC = 1, /* any context but hard interrupts */
};

/* ---- memory ---------------------------------------------------------- */

/* Zeroed memory of any size, or NULL. Free with xpv_free (NULL allowed).
 * May sleep. */
void *xpv_alloc(size_t bytes);
void xpv_free(void *memory);

/* One zeroed page, or NULL. */
struct xpv_page *xpv_page_alloc(enum xpv_alloc_mode mode);
void xpv_page_free(struct xpv_page *page);
/* Kernel address of a page's first byte; never fails. Any context. */
void *xpv_page_address(struct xpv_page *page);

/* count (1, 2, 4, 8 or 16) zeroed pages that lie one after the other, each freed on its
 * own: 0 or -ENOMEM. May sleep. */
int xpv_pages_alloc(uint32_t count, struct xpv_page **pages);
/* One more owner of a page that may be anybody's, who frees it by xpv_page_free() or
 * xpv_gnttab_defer(). Any context. */
void xpv_page_hold(struct xpv_page *page);

/* ---- locks ----------------------------------------------------------- */

/* A spinlock, or NULL. order 0 or 1: one of order 1 may be taken inside one of order 0.
 * May sleep. */
struct xpv_lock;
struct xpv_lock *xpv_lock_new(uint32_t order);
void xpv_lock_free(struct xpv_lock *lock);
/* Interrupts are off until it is dropped, with what take said. Any context. */
unsigned long xpv_lock_take(struct xpv_lock *lock);
void xpv_lock_drop(struct xpv_lock *lock, unsigned long flags);

/* ---- grants that we give: xen/grant_table.h -------------------------- */

/*
 * Take count unused grant references from the kernel into refs[]: all or
 * -ENOSPC. They are ours, granting nothing, until xpv_gnttab_unreserve().
 * Any context.
 */
int xpv_gnttab_reserve(uint32_t count, uint32_t *refs);
/* Give back references that grant nothing. Any context. */
void xpv_gnttab_unreserve(uint32_t count, const uint32_t *refs);

/* Let domid access pages[i] through refs[i] (GTF_permit_access). Any context. */
void xpv_gnttab_grant(uint16_t domid, uint32_t count, const uint32_t *refs,
		      struct xpv_page *const *pages, bool readonly);

/*
 * Try to end access through each refs[i]; ended[i] tells whether the peer had
 * let go, and the log has a line if not. References stay reserved. Returns how
 * many ended. Any context.
 */
uint32_t xpv_gnttab_end(uint32_t count, const uint32_t *refs, bool *ended);

/*
 * The same for good, and without a word in the log: refs[i] that ended are the
 * kernel's again. The others are for xpv_gnttab_defer(). Any context.
 */
uint32_t xpv_gnttab_give_up(uint32_t count, const uint32_t *refs, bool *ended);

/*
 * The peer still holds ref: hand the reference and page (may be NULL) to the
 * deferred list, which polls until the peer lets go, then frees both. The list
 * belongs to the kernel, so it outlives this module. Any context.
 */
void xpv_gnttab_defer(uint32_t ref, struct xpv_page *page);

/* ---- grants that others give us -------------------------------------- */

/*
 * GNTTABOP_copy over an array of the public header's gnttab_copy_t, passed as
 * it is; the caller checks each op's status. count 1..XPV_COPY_BATCH.
 * Any context.
 */
struct gnttab_copy;
void xpv_gnttab_copy(struct gnttab_copy *ops, uint32_t count);

/* Frame that holds a kernel address, as a copy op's `u.gmfn` wants it. Any
 * context. */
uint64_t xpv_gfn_of(const void *address);

/* Pages without memory of their own, to map grants into. May sleep. */
int xpv_gnttab_map_pages_alloc(uint32_t count, struct xpv_page **pages);
void xpv_gnttab_map_pages_free(uint32_t count, struct xpv_page **pages);

struct xpv_map_op {
	struct xpv_page *page; /* in: from xpv_gnttab_map_pages_alloc */
	uint32_t ref;	       /* in: map; ignored: unmap */
	uint32_t handle;       /* out: map; in: unmap */
	uint16_t domid;	       /* in */
	int16_t status;	       /* out: GNTST_*; check every one */
	bool readonly;	       /* in */
};
#define XPV_MAP_BATCH 64
#define XPV_COPY_BATCH 64

/* What one batch of map operations takes in Xen's form; one per context that maps.
 * May sleep. */
struct xpv_map_scratch;
struct xpv_map_scratch *xpv_map_scratch_alloc(void);
void xpv_map_scratch_free(struct xpv_map_scratch *scratch);

/* GNTTABOP_map_grant_ref and its reverse; count 1..XPV_MAP_BATCH. Softirq or
 * process context. */
void xpv_gnttab_map(struct xpv_map_scratch *scratch, struct xpv_map_op *ops,
		    uint32_t count);
void xpv_gnttab_unmap(struct xpv_map_scratch *scratch, struct xpv_map_op *ops,
		      uint32_t count);

/* Map a shared ring of count pages (1..16) contiguously; *address is its first
 * byte. May sleep. xen/io/ring.h. */
int xpv_ring_map(struct xpv_xenbus *bus, const uint32_t *refs, uint32_t count,
		 void **address);
void xpv_ring_unmap(struct xpv_xenbus *bus, void *address);

/* One ring as both ends see it, for people. */
struct xpv_ring_view {
	uint32_t size; /* slots */
	uint32_t req;  /* our own index: requests put, or taken */
	uint32_t rsp;  /* and of responses */
	uint32_t shared_req_prod, shared_req_event;
	uint32_t shared_rsp_prod, shared_rsp_event;
	uint32_t pages, ref; /* of a frontend's: how many, the first one's reference */
	uint32_t port;	     /* of its event channel */
	bool owes_eoi;
};

/* ---- event channels: xen/event_channel.h ----------------------------- */

/*
 * Called in hard interrupt context, once per event. Exactly one
 * xpv_evtchn_eoi() must follow, now or later: until then the channel stays
 * silent.
 */
typedef void (*xpv_evtchn_handler)(void *context);

/* Frontend: a new channel that the peer may bind. *port is for xenstore.
 * Backend: bind to a port that the peer offered. Both may sleep. */
int xpv_evtchn_offer(struct xpv_xenbus *bus, const char *name,
		     xpv_evtchn_handler handler, void *context,
		     struct xpv_evtchn **channel, uint32_t *port);
int xpv_evtchn_bind(struct xpv_xenbus *bus, uint32_t peer_port,
		    const char *name, xpv_evtchn_handler handler, void *context,
		    struct xpv_evtchn **channel);
/* No handler runs any more when this returns. May sleep. */
void xpv_evtchn_unbind(struct xpv_evtchn *channel);
/* EVTCHNOP_send. Any context. */
void xpv_evtchn_notify(struct xpv_evtchn *channel);
/* spurious: the event brought no work; the kernel then delays the next ones. */
void xpv_evtchn_eoi(struct xpv_evtchn *channel, bool spurious);

/* ---- xenstore: xen/io/xenbus.h; all of it may sleep ------------------- */

enum xpv_xs_dir {
	XPV_XS_OWN = 0,	 /* our end's folder */
	XPV_XS_PEER = 1, /* the other end's folder: hostile */
};

/* Text of a node, NUL terminated, into buffer: its length, -ENOENT, -EACCES, or
 * -E2BIG if it does not fit. */
int xpv_xs_read(struct xpv_xenbus *bus, enum xpv_xs_dir dir, const char *key,
		char *buffer, uint32_t size);
/* One transaction at a time per device; writes go to our own folder.
 * xpv_xs_end returns -EAGAIN when the whole transaction must be redone. */
int xpv_xs_begin(struct xpv_xenbus *bus);
int xpv_xs_write(struct xpv_xenbus *bus, const char *key, const char *text);
int xpv_xs_remove(struct xpv_xenbus *bus, const char *key);
int xpv_xs_end(struct xpv_xenbus *bus, bool abort);

/* Set our end's state node (enum xenbus_state). */
int xpv_xenbus_switch(struct xpv_xenbus *bus, uint32_t state);
/* Domain id of the other end. Any context. */
uint16_t xpv_xenbus_peer(const struct xpv_xenbus *bus);

/* ---- one end of a device: core/end.hpp ---------------------------------- */

enum xpv_event {
	XPV_PROBED,  /* first look */
	XPV_CHANGED, /* the other end's state, or a node that ours depends on */
	XPV_BROKE,   /* the other end broke the protocol on the data path */
	XPV_RENEW,   /* settings changed: leave, and connect again */
	XPV_SUSPEND, /* the domain may be suspended next, or not */
	XPV_RESUMED, /* it was, and this is another life */
	XPV_REMOVE,  /* the driver leaves the device */
};

/* Have event handled in delay_ms milliseconds, once: one that is due already stays as it is,
 * unless it is wanted at once (0). Not before the domain runs again if it is being suspended.
 * Any context. */
void xpv_end_poke(struct xpv_xenbus *bus, enum xpv_event event,
		  uint32_t delay_ms);

/* Wait until the other end's state is in mask (1 << state), at most timeout_ms
 * milliseconds; returns whether it is. May sleep. */
bool xpv_end_wait(struct xpv_xenbus *bus, uint16_t mask, uint32_t timeout_ms);

/* Why there is no connection, for people: one line in the log and the device's `error`
 * node for the toolstack, which stays until xpv_xenbus_well(). error is a negative errno.
 * Rate limited. May sleep. */
__attribute__((format(printf, 3, 4))) void
xpv_end_report(struct xpv_xenbus *bus, int error, const char *format, ...);
/* The device is in service: what was reported is over. May sleep. */
void xpv_xenbus_well(struct xpv_xenbus *bus);

/* ---- time -------------------------------------------------------------- */

/* Milliseconds since some point in the past; never goes back, stands still while the
 * domain is suspended. A few milliseconds coarse. Any context. */
uint64_t xpv_now_ms(void);
/* The same in nanoseconds, as fine as the hardware has it. */
uint64_t xpv_now_ns(void);
/* May sleep; a little longer, too. */
void xpv_sleep_ms(uint32_t ms);

/* ---- messages --------------------------------------------------------- */

enum xpv_log_level { XPV_LOG_ERR,
		     XPV_LOG_WARN,
		     XPV_LOG_INFO };

/* One line to the kernel log, prefixed with the device; rate limited per device. Any
 * context. */
__attribute__((format(printf, 3, 4))) void
xpv_log(const struct xpv_xenbus *bus, enum xpv_log_level level,
	const char *format, ...);

XPV_END_DECLS

#endif
