// SPDX-License-Identifier: GPL-2.0-only
// The handshake: core/xenbus_state.hpp says what to do, here it is done.
#include "netfront/device.hpp"

namespace xpv::netfront {
namespace {

// For the backend to let go of the rings, or to settle after we left.
constexpr uint32_t wait_ms = 5000;
// After a shortage, which no event of the backend's will tell the end of.
constexpr uint32_t retry_ms = 5000;
// No chain of steps is longer; a backend cannot keep us here.
constexpr uint32_t max_steps = 16;

Event event_of(xpv_netfront_event event) noexcept {
    switch (event) {
    case XPV_NETFRONT_BROKE:
        return Event::Broken;
    case XPV_NETFRONT_RECONNECT:
        return Event::Renew;
    case XPV_NETFRONT_REMOVE:
        return Event::Remove;
    case XPV_NETFRONT_PROBED:
    case XPV_NETFRONT_CHANGED:
    case XPV_NETFRONT_RESUMED:
        break;
    }
    return Event::Changed;
}

// Memory, references, channels and xenstore's quota come back; a backend that offers
// what we cannot use has to change first.
bool passes(int code) noexcept {
    return code == to_errno(Error::NoMemory) || code == to_errno(Error::NoSpace) ||
           code == to_errno(Error::TryAgain) || code == to_errno(Error::Busy);
}

} // namespace

PeerState Device::peer_state() const noexcept {
    const Result<uint32_t> state =
        Xenstore{bus_}.optional(XPV_XS_PEER, "state", 0, ~uint32_t{0}, 0);
    return xpv::peer_state(state.value_or(XenbusStateUnknown));
}

int Device::handle(xpv_netfront_event what) noexcept {
    // What broke may be over and done with since the work was asked for.
    if (leaving_ || (what == XPV_NETFRONT_BROKE && !broken()))
        return 0;
    if (what == XPV_NETFRONT_RESUMED) {
        start_over();
        return 0;
    }
    const int code = settle(what);
    if (code < 0 && !leaving_ && passes(code))
        xpv_netfront_os_retry(os_, retry_ms);
    return code;
}

int Device::settle(xpv_netfront_event what) noexcept {
    if (what == XPV_NETFRONT_PROBED)
        (void)xpv_xenbus_switch(bus_, wire_state(Role::Front, phase_));
    leaving_ = what == XPV_NETFRONT_REMOVE;

    Event event = event_of(what);
    for (uint32_t i = 0; i < max_steps; ++i) {
        const bool online = Xenstore{bus_}.flag(XPV_XS_PEER, "online");
        const Step step = next(Role::Front, phase_, peer_state(), event, online);
        if (step.wait_for != 0)
            (void)xpv_netfront_os_wait_peer(os_, step.wait_for, wait_ms);
        if (step.empty)
            break;
        if (Result<void> done = carry_out(step); !done.ok())
            return to_errno(done);
        const uint32_t shown = wire_state(Role::Front, phase_);
        const uint32_t to_show = wire_state(Role::Front, step.to);
        const int code = shown != to_show ? xpv_xenbus_switch(bus_, to_show) : 0;
        if (code < 0 && (step.actions & action_connect)) {
            disconnect(); // the backend will never know of these rings
            return code;
        }
        phase_ = step.to;
        if (event == Event::Broken || (event == Event::Renew && phase_ == Phase::Closed))
            event = Event::Changed;
    }
    if (leaving_)
        disconnect(); // whatever the backend did, nothing of ours stays
    return 0;
}

// Rings, grants and channels are nobody's any more, and the other end, a new one, waits
// for us as for a new device: no state is shown that it could mistake.
void Device::start_over() noexcept {
    disconnect();
    phase_ = Phase::Initialising;
}

Result<void> Device::carry_out(const Step& step) noexcept {
    if (step.actions & action_quiesce)
        xpv_netfront_os_stop(os_);
    if (step.actions & action_disconnect)
        disconnect();
    if (step.actions & action_connect) {
        if (Result<void> done = connect(); !done.ok()) {
            disconnect();
            xpv_log(bus_, XPV_LOG_ERR, "no connection to the backend: error %d", to_errno(done));
            return done;
        }
    }
    if (step.actions & action_announce)
        xpv_netfront_os_announce(os_);
    return {};
}

Result<void> Device::connect() noexcept {
    const Xenstore store{bus_};
    Offer offer;
    {
        const Result<Offer> read = read_offer(store, settings_.net, atomic_load(&wanted_queues_));
        if (!read.ok()) {
            if (read.error() == Error::Unsupported)
                xpv_log(bus_, XPV_LOG_ERR, "the backend lacks feature-rx-copy, which is needed");
            return read.error();
        }
        offer = read.value();
    }
    features_ = offer.features;
    __atomic_store_n(&broken_, false, __ATOMIC_RELAXED);
    XPV_TRY(make_queues(offer.queues));

    xpv_netfront_queue* handles[XPV_NET_MAX_QUEUES];
    net::QueuePlace at[XPV_NET_MAX_QUEUES];
    for (uint32_t i = 0; i < queue_count_; ++i) {
        Queue& queue = *queues_[i];
        handles[i] = static_cast<xpv_netfront_queue*>(&queue);
        at[i] = {queue.tx.ref(), queue.rx.ref(), queue.tx_gate().port(), queue.rx_gate().port()};
    }
    const uint32_t mtu = new_mtu();
    XPV_TRY(check(xpv_netfront_os_start(os_, queue_count_, handles, &features_, mtu)));
    mtu_applied(mtu);
    return write_answer(store, settings_.net, offer, Span<const net::QueuePlace>{at, queue_count_});
}

// As many of count queues as there are references and channels for, one at least.
Result<void> Device::make_queues(uint32_t count) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        void* const memory = xpv_alloc(sizeof(xpv_netfront_queue));
        Result<void> made = Error::NoMemory;
        Queue* queue = nullptr;
        if (memory != nullptr) {
            queue = new (memory) xpv_netfront_queue{*this, i};
            made = queue->open(features_.split);
        }
        if (made.ok()) {
            queues_[queue_count_++] = queue;
            continue;
        }
        if (queue != nullptr) {
            queue->close();
            queue->~Queue();
            xpv_free(memory);
        }
        if (i == 0)
            return made;
        xpv_log(bus_, XPV_LOG_WARN, "%u of %u queues: no more could be made (error %d)", i, count,
                to_errno(made));
        break;
    }
    return {};
}

void Device::disconnect() noexcept {
    xpv_netfront_os_stop(os_);
    while (queue_count_ > 0) {
        Queue* const queue = queues_[--queue_count_];
        queues_[queue_count_] = nullptr;
        queue->close();
        queue->~Queue();
        xpv_free(static_cast<xpv_netfront_queue*>(queue));
    }
    xpv_netfront_os_release(os_);
}

} // namespace xpv::netfront
