/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the network frontend's C++ and its C shim: xen/io/netif.h, the guest's
 * end. Transmit is what the guest sends.
 *
 * C owns the net device, packets and time; C++ owns the rings, the grants, the
 * handshake and every decision that the backend can influence.
 */
#ifndef XPV_NETFRONT_ABI_H
#define XPV_NETFRONT_ABI_H

#include "core/kapi.h"
#include "net/packet.h"
#include "net/settings.h"

XPV_BEGIN_DECLS

struct xpv_netfront;	   /* C++: one device, all of its life */
struct xpv_netfront_queue; /* C++: one queue pair, as long as it is connected */
struct xpv_netfront_os;	   /* C: the net device and what belongs to it */

#define XPV_NETFRONT_BATCH 64	   /* received packets that one call handles */
#define XPV_NETFRONT_RING 256	   /* slots of a ring, either direction */
#define XPV_NETFRONT_MIN_MTU 68	   /* of IPv4 */
#define XPV_NETFRONT_SLOT_MTU 1500 /* where a packet is one slot (no sg) */
/* The Ethernet header, and the tag of a VLAN on top. */
#define XPV_NETFRONT_MAX_MTU (XPV_NET_MAX_PACKET - 18)
#define XPV_NETFRONT_MAX_COPYBREAK 4096

/* What this end may use; module parameters. */
struct xpv_netfront_settings {
	struct xpv_net_settings net;
	uint32_t rx_copybreak; /* bytes, 0..XPV_NETFRONT_MAX_COPYBREAK */
	uint32_t handle;       /* of the vif; for interrupt names */
};

/*
 * A queue's counters, over all connections: the names that ethtool -S shows. The
 * transmitter writes the first list, the poller the second (drops of the shim included),
 * anybody reads.
 */
#define XPV_NETFRONT_TX_COUNTERS(X)                                              \
	X(tx_packets)                                                            \
	X(tx_bytes)                                                              \
	X(tx_slots)                                                              \
	X(tx_notifies)                                                           \
	X(tx_events)                                                             \
	X(tx_spurious)                                                           \
	X(tx_stops)    /* times that the ring was full */                        \
	X(tx_timeouts) /* a stopped queue stood still for 5 s */                 \
	X(tx_limits)   /* packets that brought somebody to a limit */            \
	X(tx_overdue)  /* packets handed back though not answered in a second */ \
	X(tx_drops)    /* no buffer, or no packet for this backend */            \
	X(tx_errors)   /* slots that the backend answered with an error */       \
	X(tx_buffers)  /* granted so far; they are kept while connected */
#define XPV_NETFRONT_RX_COUNTERS(X)                                          \
	X(rx_packets)                                                        \
	X(rx_bytes)                                                          \
	X(rx_slots)                                                          \
	X(rx_notifies)                                                       \
	X(rx_events)                                                         \
	X(rx_spurious)                                                       \
	X(rx_copied)   /* packets copied; their pages stay granted */        \
	X(rx_pages_up) /* pages that went up with a packet */                \
	X(rx_errors)   /* packets malformed, or broken off by the backend */ \
	X(rx_drops)    /* packets lost for want of memory */                 \
	X(rx_refill_fails)                                                   \
	X(rx_gso_fixups) /* GSO packets without csum_blank */                \
	X(grants_made)                                                       \
	X(grants_ended)                                                      \
	X(grants_deferred)

struct xpv_netfront_counters {
#define X(name) uint64_t name;
	XPV_NETFRONT_TX_COUNTERS(X)
	/* On cache lines of their own. */
	struct {
		XPV_NETFRONT_RX_COUNTERS(X)
	} __attribute__((aligned(64)));
#undef X
};

/* ---- downcalls: device; process context, serialised by the caller ------- */

/* NULL without memory. bus and os outlive the device. */
struct xpv_netfront *
xpv_netfront_create(struct xpv_xenbus *bus, struct xpv_netfront_os *os,
		    const struct xpv_netfront_settings *settings);
/* After XPV_REMOVE. */
void xpv_netfront_destroy(struct xpv_netfront *device);

/* The `mac` and `mtu` nodes of our own folder: 0, or -errno with a message when
 * there is no valid MAC. An mtu that is absent or invalid reads as 0; any other is
 * taken as applied. */
int xpv_netfront_identity(struct xpv_netfront *device, uint8_t mac[6],
			  uint32_t *mtu);

/* core/end.hpp: 0, or the -errno for which no connection could be made. */
int xpv_netfront_handle(struct xpv_netfront *device, enum xpv_event event);

/* Queues to ask for from the next connection on; 1..settings.net.max_queues. Whether
 * that is another number than before. Any context. */
bool xpv_netfront_want_queues(struct xpv_netfront *device, uint32_t queues);
/* Received packets of up to so many bytes are copied; any context. */
uint32_t xpv_netfront_copybreak(const struct xpv_netfront *device);
void xpv_netfront_set_copybreak(struct xpv_netfront *device, uint32_t bytes);

/* Never NULL for index < settings.net.max_queues; lives as long as the device. */
struct xpv_netfront_counters *
xpv_netfront_queue_counters(struct xpv_netfront *device, uint32_t index);

struct xpv_netfront_ring_view {
	struct xpv_ring_view ring;
	/* tx: ids in flight, buffers granted, the queue is stopped
	 * rx: buffers posted, copied ones to post again, ones without page */
	uint32_t in_flight, buffers, bare;
	bool stopped;
};

struct xpv_netfront_rings {
	struct xpv_netfront_ring_view tx, rx;
	bool split;
};

/* False while queue index is not connected. Its numbers may be a moment old. */
bool xpv_netfront_view(struct xpv_netfront *device, uint32_t index,
		       struct xpv_netfront_rings *rings);

/* ---- downcalls: transmit, under the transmit queue's lock --------------- */

enum xpv_netfront_tx_result {
	XPV_NETFRONT_TX_SENT = 0,
	XPV_NETFRONT_TX_DROPPED = 1 << 0, /* counted in tx_drops */
	XPV_NETFRONT_TX_STOP = 1 << 1,	  /* stop the queue: a wake-up is on its way */
};

/* What a packet is besides its bytes. */
struct xpv_netfront_send {
	void *packet;  /* its owner counts it until it is gone: it goes to
			* xpv_netfront_os_tx_done(), unless dropped; NULL: nobody does */
	bool at_limit; /* somebody may send no more until packets are answered */
	bool ipv6;     /* what has no checksum yet: TCP or UDP over IPv6, not IPv4 */
	bool more;     /* another packet follows at once */
};

/*
 * Send one packet of total bytes, the sum of the runs; the bytes are copied.
 * Returns bits of enum xpv_netfront_tx_result. Softirq or process context, or
 * hard interrupts when it is netpoll's.
 */
uint32_t xpv_netfront_tx(struct xpv_netfront_queue *queue,
			 const struct xpv_bytes *runs, uint32_t count,
			 uint32_t total, struct xpv_offload offload,
			 struct xpv_netfront_send send);

/* Is there anything for xpv_netfront_tx_poll() to do? Without the lock. */
bool xpv_netfront_tx_due(const struct xpv_netfront_queue *queue);
/* Take back what the backend has sent. late: the time of xpv_netfront_tx_wait_ms() is
 * over. True: wake the queue. */
bool xpv_netfront_tx_poll(struct xpv_netfront_queue *queue, bool late);
/* Owners wait for packets, though no event may come: in how many milliseconds to look
 * again; 0: nobody waits. Without the lock. */
uint32_t xpv_netfront_tx_wait_ms(const struct xpv_netfront_queue *queue);
/* The queue has been stopped for still_ms milliseconds: it is said and counted, and the
 * backend notified, in case that an event was lost; nothing is reset. */
void xpv_netfront_tx_timeout(struct xpv_netfront_queue *queue, uint32_t still_ms);
/* Hand all owned packets back, answered or not: their bytes were copied. Also in
 * process context, when nothing else transmits or polls. */
void xpv_netfront_tx_release(struct xpv_netfront_queue *queue);

/* ---- downcalls: receive, from the queue's one poller (NAPI) ------------- */

/* A part of a packet, inside one page. */
struct xpv_netfront_piece {
	struct xpv_page *page;
	uint16_t offset;
	uint16_t length; /* 1.. */
};

struct xpv_netfront_packet {
	const struct xpv_netfront_piece *piece;
	uint16_t pieces; /* 1..19; the first holds the Ethernet header */
	bool copy;	 /* copy the bytes, the pages stay with C++; otherwise they
			  * are the caller's, from here on (page_pool pages) */
	uint32_t length; /* sum of the pieces, 14..65557 */
	struct xpv_offload offload;
};

/*
 * Up to max (1..XPV_NETFRONT_BATCH) packets in *packets, valid until
 * xpv_netfront_rx_refill(), which must follow.
 */
uint32_t xpv_netfront_rx_poll(struct xpv_netfront_queue *queue, uint32_t max,
			      const struct xpv_netfront_packet **packets);
/* Post buffers. False: memory was short, try again after a while. */
bool xpv_netfront_rx_refill(struct xpv_netfront_queue *queue);

/*
 * The poller runs dry: ask for an event, while nobody else can poll. False: there is
 * work, poll again. Otherwise, and only if the poller then is not scheduled any more,
 * xpv_netfront_done() pays the EOIs of the events that came before this poll began; *_begin()
 * is the first that a poll does.
 */
struct xpv_netfront_events {
	uint32_t rx, tx;
};
struct xpv_netfront_events
xpv_netfront_begin(const struct xpv_netfront_queue *queue);
bool xpv_netfront_idle(struct xpv_netfront_queue *queue);
void xpv_netfront_done(struct xpv_netfront_queue *queue,
		       struct xpv_netfront_events events);

/* ---- upcalls: C++ asks the shim ----------------------------------------- */

/* Poll queue index soon. Any context. */
void xpv_netfront_os_schedule(struct xpv_netfront_os *os, uint32_t index);
/*
 * The backend has answered packets of so many bytes, or nothing for so long that they are
 * to be forgotten; 0 if xpv_netfront_tx_release() calls. count (0..XPV_NETFRONT_BATCH)
 * owned packets are their owners' again. Under the transmit queue's lock, or as
 * xpv_netfront_tx_release() was called.
 */
void xpv_netfront_os_tx_done(struct xpv_netfront_os *os, uint32_t index,
			     uint32_t count, void *const *packets, uint32_t bytes);

/* Before a connection's rings are announced: make pollers and page pools for
 * count queues. They poll when the net device is open. mtu: the node's, when it is
 * another than before; otherwise 0. 0 or -errno. */
int xpv_netfront_os_start(struct xpv_netfront_os *os, uint32_t count,
			  struct xpv_netfront_queue *const *queues,
			  const struct xpv_net_features *features,
			  uint32_t mtu);
/* In full service: wake the queues. */
void xpv_netfront_os_announce(struct xpv_netfront_os *os);
/* In service; the backend's link is up: carrier on, and tell the neighbours. Or down. */
void xpv_netfront_os_link(struct xpv_netfront_os *os, bool up);
/* Carrier off; when it returns no data path downcall runs or will run, and every owner
 * has its packets. Again: no effect. */
void xpv_netfront_os_stop(struct xpv_netfront_os *os);
/* Undo start, after stop; every page is back. Again: no effect. */
void xpv_netfront_os_release(struct xpv_netfront_os *os);

/*
 * Pages for received packets. Fresh ones are zeroed; recycled ones hold what
 * this same backend sent. get: how many there were, 0..count; poller.
 * put: back to the pool; poller or, after stop, process context.
 */
uint32_t xpv_netfront_os_pages_get(struct xpv_netfront_os *os, uint32_t index,
				   uint32_t count, struct xpv_page **pages);
void xpv_netfront_os_pages_put(struct xpv_netfront_os *os, uint32_t index,
			       uint32_t count, struct xpv_page *const *pages);
/* The pool forgets the page, which then is one of xpv_page_alloc()'s. */
void xpv_netfront_os_page_detach(struct xpv_netfront_os *os, uint32_t index,
				 struct xpv_page *page);

XPV_END_DECLS

#endif
