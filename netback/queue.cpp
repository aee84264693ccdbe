// SPDX-License-Identifier: GPL-2.0-only
#include "netback/queue.hpp"

namespace xpv::netback {

Queue::Queue(xpv_xenbus* bus_in, FaultLine& line, QueueIndex index_in,
             const net::QueuePlace& place_in, bool gso, bool rx_notify,
             RateBucket (&rates)[2]) noexcept
    : bus{bus_in}, index{index_in}, place{place_in}, fault{line, index_in},
      tx{xpv_xenbus_peer(bus_in), gso, counters, fault, gates[0], rates[0]},
      rx{xpv_xenbus_peer(bus_in), rx_notify, counters, fault, rx_gate(), rates[1]} {}

Result<void> Queue::open(bool map_packets) noexcept {
    XPV_TRY(tx_ring.map(bus, Span<const GrantRef>{&place.tx_ref, 1}));
    XPV_TRY(rx_ring.map(bus, Span<const GrantRef>{&place.rx_ref, 1}));
    if (map_packets) {
        map = TxMap::create(xpv_xenbus_peer(bus), &counters);
        if (map == nullptr)
            return Error::NoMemory;
    }
    XPV_TRY(tx.attach(tx_ring.address(), map));
    return rx.attach(rx_ring.address());
}

Result<void> Queue::bind(netback_queue* shim_in) noexcept {
    constexpr const char* name = "xpv-netback";
    const uint32_t first = place.split() ? XPV_NETBACK_TX : XPV_NETBACK_TX | XPV_NETBACK_RX;
    shim = shim_in;
    XPV_TRY(gates[0].bind(bus, place.tx_port, name, this, first, counters.tx_events,
                          counters.tx_spurious));
    if (!place.split())
        return {};
    return gates[1].bind(bus, place.rx_port, name, this, XPV_NETBACK_RX, counters.rx_events,
                         counters.rx_spurious);
}

void Queue::unbind() noexcept {
    gates[0].close();
    gates[1].close();
}

} // namespace xpv::netback

using xpv::netback::TxMap;

// ---- abi.h --------------------------------------------------------------------

uint32_t xpv_netback_tx_gather(xpv_netback_queue* queue, xpv_netback_tx_packet* packets,
                               uint32_t max, uint32_t map_above, uint64_t* hold_ns) {
    return queue->tx.gather(packets, max, map_above, *hold_ns);
}

void xpv_netback_tx_execute(xpv_netback_queue* queue, xpv_netback_tx_packet* packets,
                            uint32_t count) {
    queue->tx.execute(packets, count);
}

void xpv_netback_tx_done(xpv_netback_map* map, uint32_t mapped) {
    reinterpret_cast<TxMap*>(map)->done(TxMap::PacketId{mapped});
}

uint32_t xpv_netback_map_reap(xpv_netback_map* handle) {
    auto* const map = reinterpret_cast<TxMap*>(handle);
    map->forget_counters();
    // The ring is gone: nobody is answered any more.
    map->reap([](const uint16_t*, uint32_t, uint32_t) {});
    const uint32_t left = map->outstanding();
    if (left == 0)
        TxMap::destroy(map);
    return left;
}

bool xpv_netback_tx_stop(xpv_netback_queue* queue, uint32_t* event) {
    *event = 0;
    if (queue->broken())
        return false;
    *event = queue->tx_gate().look();
    if (queue->tx.arm())
        return true;
    if (queue->tx.take_worked())
        queue->tx_gate().found();
    return false;
}

// The ring is not armed, since nothing that comes is taken before the hold is over.
void xpv_netback_tx_hold(xpv_netback_queue* queue, uint32_t* event) {
    *event = queue->tx_gate().look();
    if (!queue->broken() && queue->tx.take_worked())
        queue->tx_gate().found();
}

void xpv_netback_idle(xpv_netback_queue* queue, xpv_netback_poller poller, uint32_t event) {
    // A broken frontend's events stay shut: its EOI is never paid.
    if (queue->broken())
        return;
    auto& gate = poller == XPV_NETBACK_TX ? queue->tx_gate() : queue->rx_gate();
    gate.done(poller, event);
}

uint32_t xpv_netback_rx_send(xpv_netback_queue* queue, const xpv_netback_rx_packet* packets,
                             uint32_t count, uint64_t* hold_ns) {
    return queue->rx.send(packets, count, *hold_ns);
}

bool xpv_netback_rx_starved(xpv_netback_queue* queue, uint32_t waited_ms,
                            const xpv_netback_rx_limits* limits) {
    const bool before = queue->rx.stalled();
    const bool drop = queue->rx.starved(waited_ms, *limits);
    if (queue->rx.stalled() != before)
        xpv_end_poke(queue->bus, XPV_CHANGED, 0);
    return drop;
}

void xpv_netback_rx_stop(xpv_netback_queue* queue, bool waiting, xpv_netback_rest* rest) {
    const bool before = queue->rx.stalled();
    const uint32_t event = queue->rx_gate().look();
    queue->rx.stop(waiting, *rest);
    if (queue->rx.stalled() != before)
        xpv_end_poke(queue->bus, XPV_CHANGED, 0);
    rest->event = event;
    if (!rest->again && !queue->broken() && queue->rx.take_worked())
        queue->rx_gate().found();
}

void xpv_netback_rx_timeout(xpv_netback_queue* queue, uint32_t still_ms, uint32_t waiting) {
    xpv_ring_view now{};
    queue->rx.ring().view(now);
    ++queue->counters.rx_timeouts;
    xpv_log(queue->bus, XPV_LOG_WARN,
            "queue %u: the guest took nothing for %u ms, %u bytes wait: it has posted %u buffers "
            "(request %u, answer %u), %u are needed",
            queue->index.number(), still_ms, waiting, now.shared_req_prod - now.req, now.req,
            now.rsp, queue->rx.needed());
}

const xpv_netback_counters* xpv_netback_queue_counters(const xpv_netback_queue* queue) {
    return &queue->counters;
}

namespace {

template <class Ring, class Owner>
void view(const Ring& ring, const xpv::EventGate<Owner>& gate, xpv_ring_view& out) noexcept {
    out = {};
    ring.view(out);
    out.port = gate.port().number();
    out.owes_eoi = gate.owes_eoi();
}

} // namespace

void xpv_netback_view(const xpv_netback_queue* queue, xpv_ring_view* tx, xpv_ring_view* rx) {
    view(queue->tx.ring(), queue->gates[0], *tx);
    view(queue->rx.ring(), queue->rx_gate(), *rx);
}
