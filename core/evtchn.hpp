// SPDX-License-Identifier: GPL-2.0-only
// One event channel with late EOI: xen/event_channel.h. Each interrupt is
// acknowledged exactly once, when its work is done; until then the channel is
// silent, which is what throttles a peer that floods it.
#pragma once

#include "core/kapi.h"
#include "core/result.hpp"
#include "core/xen.hpp"

namespace xpv {

// No domain has a port beyond this one, in either ABI.
inline constexpr uint32_t last_port = EVTCHN_FIFO_NR_CHANNELS - 1;

class EventChannel : NoCopy {
public:
    EventChannel() noexcept = default;
    ~EventChannel() { unbind(); }

    // Frontend: offer a new channel to the peer. May sleep.
    Result<void> offer(xpv_xenbus* bus, const char* name, xpv_evtchn_handler handler,
                       void* context) noexcept {
        unbind();
        return check(xpv_evtchn_offer(bus, name, handler, context, &channel_, &port_));
    }

    // Backend: bind to the port that the peer offered. May sleep.
    Result<void> bind(xpv_xenbus* bus, uint32_t peer_port, const char* name,
                      xpv_evtchn_handler handler, void* context) noexcept {
        unbind();
        port_ = peer_port;
        return check(xpv_evtchn_bind(bus, peer_port, name, handler, context, &channel_));
    }

    // The handler does not run any more afterwards, and no EOI is owed. May sleep.
    void unbind() noexcept {
        if (channel_ != nullptr)
            xpv_evtchn_unbind(channel_);
        channel_ = nullptr;
        owed_ = false;
    }

    explicit operator bool() const noexcept { return channel_ != nullptr; }
    uint32_t port() const noexcept { return port_; }

    void notify() const noexcept { xpv_evtchn_notify(channel_); }

    // Pay the EOI of the last event. spurious: it brought no work.
    void eoi(bool spurious) const noexcept { xpv_evtchn_eoi(channel_, spurious); }

    // First thing in the handler: from now on one EOI is owed.
    void arrived() noexcept { __atomic_store_n(&owed_, true, __ATOMIC_RELEASE); }

    // The work is done and the ring is armed: pay the EOI if one is owed.
    // found_work false marks the event spurious.
    void done(bool found_work) noexcept {
        if (__atomic_load_n(&owed_, __ATOMIC_RELAXED) &&
            __atomic_exchange_n(&owed_, false, __ATOMIC_ACQ_REL))
            xpv_evtchn_eoi(channel_, !found_work);
    }

    bool owes_eoi() const noexcept { return __atomic_load_n(&owed_, __ATOMIC_RELAXED); }

private:
    xpv_evtchn* channel_ = nullptr;
    uint32_t port_ = 0;
    bool owed_ = false;
};

} // namespace xpv
