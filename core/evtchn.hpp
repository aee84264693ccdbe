// SPDX-License-Identifier: GPL-2.0-only
// One event channel with late EOI: xen/event_channel.h. After an event the channel is
// silent until its EOI, which is what throttles a peer that floods it; core/gate.hpp pays
// it, once per event.
#pragma once

#include "core/id.hpp"
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
        uint32_t port = 0;
        XPV_TRY(check(xpv_evtchn_offer(bus, name, handler, context, &channel_, &port)));
        port_ = Port{port};
        return {};
    }

    // Backend: bind to the port that the peer offered. May sleep.
    Result<void> bind(xpv_xenbus* bus, Port peer_port, const char* name, xpv_evtchn_handler handler,
                      void* context) noexcept {
        unbind();
        port_ = peer_port;
        return check(xpv_evtchn_bind(bus, peer_port.number(), name, handler, context, &channel_));
    }

    // The handler does not run any more afterwards. May sleep.
    void unbind() noexcept {
        if (channel_ != nullptr)
            xpv_evtchn_unbind(channel_);
        channel_ = nullptr;
    }

    explicit operator bool() const noexcept { return channel_ != nullptr; }
    Port port() const noexcept { return port_; }

    void notify() const noexcept { xpv_evtchn_notify(channel_); }

    // Pay the EOI of the last event. spurious: it brought no work.
    void eoi(bool spurious) const noexcept { xpv_evtchn_eoi(channel_, spurious); }

private:
    xpv_evtchn* channel_ = nullptr;
    Port port_{};
};

} // namespace xpv
