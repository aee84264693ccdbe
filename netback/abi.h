/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the network backend's C++ and its C shim. Guest-TX is what the guest
 * sends (dom0 receives), guest-RX is what dom0 sends to the guest.
 *
 * C owns the net device, packets and time; C++ owns the rings, the handshake
 * and every decision that the frontend can influence.
 */
#ifndef XPV_NETBACK_ABI_H
#define XPV_NETBACK_ABI_H

#include "core/kapi.h"
#include "net/packet.h"
#include "net/settings.h"

XPV_BEGIN_DECLS

struct xpv_netback;	  /* C++: one device, all of its life */
struct xpv_netback_queue; /* C++: one connected queue pair */
struct xpv_netback_os;	  /* C: the net device and what belongs to it */
struct netback_queue;	  /* C: the pollers of one queue */

/* Packets that one call handles, either direction. */
#define XPV_NETBACK_BATCH 64
/* Pages that carry what of a guest-TX packet is not in the head. */
#define XPV_NETBACK_TX_PAGES 17
/* Pieces that one guest-RX packet may consist of. */
#define XPV_NETBACK_RX_PIECES 64

/* What this end may offer; module parameters. */
struct xpv_netback_settings {
	struct xpv_net_settings net;
	bool map; /* connections can map guest-TX packets */
};

/*
 * A queue's counters; written by its pollers, read at any time. ethtool -S shows them as
 * guest_<name>.
 */
#define XPV_NETBACK_COUNTERS(X)                                                       \
	X(tx_packets)                                                                 \
	X(tx_bytes)                                                                   \
	X(tx_slots)                                                                   \
	X(tx_extras)                                                                  \
	X(tx_copy_ops)                                                                \
	X(tx_copy_calls)                                                              \
	X(tx_map_ops)                                                                 \
	X(tx_map_calls)                                                               \
	X(tx_unmap_ops)                                                               \
	X(tx_unmap_calls)                                                             \
	X(tx_errors) /* answered with an error: malformed or not readable */          \
	X(tx_drops)  /* good, but there was no memory for them */                     \
	X(tx_notifies)                                                                \
	X(tx_events)                                                                  \
	X(tx_spurious)                                                                \
	X(tx_holds) /* waits for the vif's rate */                                    \
	X(rx_packets)                                                                 \
	X(rx_bytes)                                                                   \
	X(rx_slots)                                                                   \
	X(rx_copy_ops)                                                                \
	X(rx_copy_calls)                                                              \
	X(rx_errors)   /* Xen refused to write to a buffer */                         \
	X(rx_starved)  /* waits for buffers */                                        \
	X(rx_drains)   /* times that packets waited too long, and all were dropped */ \
	X(rx_stalls)   /* times that the carrier went off for it */                   \
	X(rx_holds)    /* waits for the vif's rate */                                 \
	X(rx_timeouts) /* a stopped queue stood still for 5 s */                      \
	X(rx_notifies)                                                                \
	X(rx_events)                                                                  \
	X(rx_spurious)

struct xpv_netback_counters {
#define X(name) uint64_t name;
	XPV_NETBACK_COUNTERS(X)
#undef X
};

/* ---- device ----------------------------------------------------------- */

/* NULL without memory. bus and os outlive the device. May sleep. */
struct xpv_netback *
xpv_netback_create(struct xpv_xenbus *bus, struct xpv_netback_os *os,
		   const struct xpv_netback_settings *settings);
/* After XPV_REMOVE. May sleep. */
void xpv_netback_destroy(struct xpv_netback *device);

/* core/end.hpp. The caller serialises calls per device. May sleep. */
int xpv_netback_handle(struct xpv_netback *device, enum xpv_event event);

/* ---- queue: events ----------------------------------------------------- */

enum xpv_netback_poller {
	XPV_NETBACK_TX = 1,
	XPV_NETBACK_RX = 2,
};

/*
 * The guest-TX poller saw no more packets and is about to stop: ask for an event.
 * True: there is new work, go on. *event is for xpv_netback_idle(). The poller.
 */
bool xpv_netback_tx_stop(struct xpv_netback_queue *queue, uint32_t *event);

/*
 * The same when xpv_netback_tx_gather() said how long to stay away: no event is asked for,
 * the caller polls again when that time is over. The poller.
 */
void xpv_netback_tx_hold(struct xpv_netback_queue *queue, uint32_t *event);

struct xpv_netback_rest {
	bool again;	  /* there are buffers, go on */
	bool draining;	  /* what comes is to be dropped: xpv_netback_rx_starved() */
	uint32_t look_ms; /* poll again that much later if no event does it; 0: never */
	uint32_t event;	  /* for xpv_netback_idle() */
};

/*
 * The guest-RX poller is about to stop. waiting: packets wait for buffers, ask for an
 * event when enough are there. The poller.
 */
void xpv_netback_rx_stop(struct xpv_netback_queue *queue, bool waiting,
			 struct xpv_netback_rest *rest);

/*
 * The poller that stopped is not scheduled any more, so that events may come again.
 * Not for a poller that is to be polled anyway. Softirq.
 */
void xpv_netback_idle(struct xpv_netback_queue *queue,
		      enum xpv_netback_poller poller, uint32_t event);

/* ---- queue: guest-TX ---------------------------------------------------- */

/* A stretch of our memory inside one 4 KiB page. */
struct xpv_netback_target {
	uint64_t gfn;
	uint16_t offset;
	uint16_t length;
};

/* A part of a packet that lies in a page of the guest's. */
struct xpv_netback_tx_fragment {
	struct xpv_page *page;
	uint16_t offset;
	uint16_t length;
};
#define XPV_NETBACK_TX_COPIED 0xffffffff

/* The head of a packet may lie across one page boundary. */
#define XPV_NETBACK_TX_HEAD_MAX 2048
#define XPV_NETBACK_TX_TARGETS (XPV_NETBACK_TX_PAGES + 2)

struct xpv_netback_tx_packet {
	/* From gather: */
	uint32_t total;				   /* bytes, 14..65535 */
	uint16_t head;				   /* bytes for linear memory, 14.. */
	uint16_t pages;				   /* entries of page_bytes */
	uint16_t page_bytes[XPV_NETBACK_TX_PAGES]; /* 1..4096 each */
	struct xpv_offload offload;
	/* Copied, or the number under which the rest is mapped (pages is 0): from
	 * execute on `fragments` of them, until xpv_netback_tx_done(number). */
	uint32_t mapped;
	uint16_t fragments;
	struct xpv_netback_tx_fragment fragment[XPV_NETBACK_TX_PAGES];
	/* To execute: targets for head, then one for each page; none: no memory. */
	uint16_t targets;
	struct xpv_netback_target target[XPV_NETBACK_TX_TARGETS];
	/* From execute: the packet is complete. */
	bool good;
};

/*
 * Take up to max (1..XPV_NETBACK_BATCH) packets from the ring and say what
 * memory each needs. Malformed packets are answered and left out. What is taken
 * must be handed to execute before the next gather. Packets of more than
 * map_above bytes are mapped instead of copied, if the queue can. None, and *hold_ns
 * is not 0: the vif's rate lets none pass, poll again in so many nanoseconds,
 * 1..1000000000. Softirq.
 */
uint32_t xpv_netback_tx_gather(struct xpv_netback_queue *queue,
			       struct xpv_netback_tx_packet *packets,
			       uint32_t max, uint32_t map_above,
			       uint64_t *hold_ns);

/* Fetch the packets that gather took, answer all of their slots, notify the
 * frontend if it wants to know. Softirq. */
void xpv_netback_tx_execute(struct xpv_netback_queue *queue,
			    struct xpv_netback_tx_packet *packets,
			    uint32_t count);

/*
 * Mapped packets. They may outlive their queue, so they are the affair of an
 * object of their own, which says when all of them are back.
 */
struct xpv_netback_map;
/* The stack no longer uses a packet's fragments; the guest-TX poller (or
 * xpv_netback_map_reap) then unmaps them. Any context. */
void xpv_netback_tx_done(struct xpv_netback_map *map, uint32_t mapped);
/* Once the queue is gone: unmap what came back, and how many are still out; at
 * 0 the object is no more. Process context. */
uint32_t xpv_netback_map_reap(struct xpv_netback_map *map);

/* ---- queue: guest-RX ---------------------------------------------------- */

/* Part of a packet, inside one 4 KiB page: ours, or of a domain that granted
 * it. */
struct xpv_netback_piece {
	union {
		uint64_t gfn;
		uint32_t ref;
	};
	uint16_t offset;
	uint16_t length; /* 1.. */
	uint16_t domid;	 /* whose ref; unused for a gfn */
	bool foreign;	 /* ref, not gfn */
};

struct xpv_netback_rx_packet {
	const struct xpv_netback_piece *piece;
	uint32_t pieces; /* 1..XPV_NETBACK_RX_PIECES */
	uint32_t total;	 /* bytes, 1..65535: the sum of the pieces */
	struct xpv_offload offload;
};

/*
 * Send the packets in order as far as the frontend's buffers and the vif's rate reach:
 * how many were sent (or lost to the frontend's own fault). None, and *hold_ns is not 0:
 * it is the rate, poll again in so many nanoseconds, 1..1000000000. Softirq.
 */
uint32_t xpv_netback_rx_send(struct xpv_netback_queue *queue,
			     const struct xpv_netback_rx_packet *packets,
			     uint32_t count, uint64_t *hold_ns);

/* How long packets wait for a frontend that posts no buffers; module parameters. */
struct xpv_netback_rx_limits {
	uint32_t drain_ms; /* until they are dropped, 1.. */
	uint32_t stall_ms; /* until the carrier goes off; 0: never */
};

/*
 * Nothing could be sent; the first packet waits since waited_ms. True: drop it, and
 * whatever comes, until xpv_netback_rx_stop() says otherwise. Call it again with what
 * was dropped. The poller.
 */
bool xpv_netback_rx_starved(struct xpv_netback_queue *queue, uint32_t waited_ms,
			    const struct xpv_netback_rx_limits *limits);

/*
 * The transmit queue has been stopped for still_ms milliseconds, with so many bytes of
 * packets waiting: it is said and counted; nothing else happens. Softirq.
 */
void xpv_netback_rx_timeout(struct xpv_netback_queue *queue, uint32_t still_ms,
			    uint32_t waiting);

/* ---- queue: looking at it ------------------------------------------------ */

const struct xpv_netback_counters *
xpv_netback_queue_counters(const struct xpv_netback_queue *queue);

/* A glance at both rings, for people. Process context, the queue connected. */
void xpv_netback_view(const struct xpv_netback_queue *queue,
		      struct xpv_ring_view *tx,
		      struct xpv_ring_view *rx);

/* ---- upcalls -------------------------------------------------------------- */

/*
 * A connection is being made: get pollers ready for each queue, not yet
 * running; *shim[i] is handed to xpv_netback_os_schedule(). maps[i] is NULL for
 * a queue that only copies; on success they are the shim's. May sleep, as all up
 * to xpv_netback_os_carrier().
 */
int xpv_netback_os_attach(struct xpv_netback_os *os,
			  const struct xpv_net_features *features,
			  uint32_t count,
			  struct xpv_netback_queue *const *queues,
			  struct xpv_netback_map *const *maps,
			  struct netback_queue **shim);
/* Rings and channels are there: run while the net device is up. */
void xpv_netback_os_start(struct xpv_netback_os *os);
/* No poller runs and no packet is taken when this returns. Idempotent. */
void xpv_netback_os_stop(struct xpv_netback_os *os);
/* Channels are gone too: nothing calls into the queues any more, and maps are
 * the shim's to reap. Idempotent. */
void xpv_netback_os_detach(struct xpv_netback_os *os);
/* The other end is in service, or not. */
void xpv_netback_os_carrier(struct xpv_netback_os *os, bool on);
/* The administrator wants the link up, which it is at first. */
bool xpv_netback_os_link(const struct xpv_netback_os *os);
/* Maps of this guest's former connections that are not reaped yet. May sleep. */
uint32_t xpv_netback_os_retired(struct xpv_netback_os *os);

/* Run these pollers (a mask). Any context. */
void xpv_netback_os_schedule(struct netback_queue *queue, uint32_t pollers);

XPV_END_DECLS

#endif
