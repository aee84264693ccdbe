// SPDX-License-Identifier: GPL-2.0-only
// Event channels: the test raises events and sees notifications and EOIs. A second
// EOI for one event, or one that nobody owes, fails the test.
#pragma once

#include "core/kapi.h"
#include "kunit/fake/account.hpp"

struct xpv_evtchn {
    xpv_evtchn_handler handler;
    void* context;
    char name[32];
    uint32_t port;
    bool ours;    // offered by the code under test
    bool bound;   // the code under test has it
    bool offered; // by the peer, not bound yet
    bool silent;  // handler ran, EOI to come
    bool pending; // an event came meanwhile
    // What happened, from the start:
    uint32_t raised;   // events sent to us
    uint32_t handled;  // handler runs
    uint32_t notified; // events that we sent
    uint32_t eois;
    uint32_t spurious; // of them
};

namespace xpv::fake {

class Events : NoCopy {
public:
    explicit Events(Account& account) noexcept;
    ~Events();

    // A port that the peer offers, for a backend to bind.
    uint32_t offer_by_peer() noexcept;

    // The channel of a port (ours or the peer's, each port is unique), or nullptr
    // before it is bound and after it was unbound.
    xpv_evtchn* at(uint32_t port) noexcept;
    // Of a port, even when it is not bound any more.
    xpv_evtchn* any(uint32_t port) noexcept;
    // Ports offered by the code under test so far, in order; 0 beyond.
    uint32_t nth_port(uint32_t n) const noexcept;

    // The peer sends an event. True: the handler ran, in Context::Hardirq. Otherwise
    // the channel is silent (it stays pending) or not bound.
    bool raise(uint32_t port) noexcept;
    // Run the handler of every channel that is pending and silent no more: how many.
    uint32_t deliver() noexcept;
    // Sent to the peer, over all channels.
    uint32_t notified() const noexcept;
    // EOIs owed now, over all channels.
    uint32_t owed() const noexcept;

    // Called in xpv_evtchn_notify(), for a peer that answers at once.
    using OnNotify = void (*)(void* context, uint32_t port);
    void on_notify(OnNotify function, void* context) noexcept {
        on_notify_ = function;
        on_notify_context_ = context;
    }

    // ---- upcalls ------------------------------------------------------------

    int offer(const char* name, xpv_evtchn_handler handler, void* context, xpv_evtchn** channel,
              uint32_t* port) noexcept;
    int bind(uint32_t port, const char* name, xpv_evtchn_handler handler, void* context,
             xpv_evtchn** channel) noexcept;
    void unbind(xpv_evtchn* channel) noexcept;
    void notify(xpv_evtchn* channel) noexcept;
    void eoi(xpv_evtchn* channel, bool spurious) noexcept;

private:
    static constexpr uint32_t max_ports = 512; // handed out once each, from 1

    void run(xpv_evtchn& channel) noexcept;
    xpv_evtchn* take(const char* name, xpv_evtchn_handler handler, void* context,
                     uint32_t port) noexcept;

    Account& account_;
    xpv_evtchn* table_;
    uint32_t next_ = 1;
    OnNotify on_notify_ = nullptr;
    void* on_notify_context_ = nullptr;
};

} // namespace xpv::fake
