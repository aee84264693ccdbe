// SPDX-License-Identifier: GPL-2.0-only
// One vif as the guest sees it, over all of its connections, and its queues.
#pragma once

#include "core/gate.hpp"
#include "core/xenbus_state.hpp"
#include "core/xenstore.hpp"
#include "netfront/abi.h"
#include "netfront/features.hpp"
#include "netfront/rx.hpp"
#include "netfront/tx.hpp"

namespace xpv::netfront {

class Device;

// A connected queue pair. Its parts are made by Device::connect and end with it.
class Queue : NoCopy {
public:
    Queue(Device& device, uint32_t index) noexcept;

    // Rings, references, event channels. May sleep.
    Result<void> open(bool split) noexcept;
    // Take everything back; what the backend still holds is deferred. After
    // xpv_netfront_os_stop(). May sleep.
    void close() noexcept;

    Device& device() const noexcept { return device_; }
    uint32_t index() const noexcept { return index_; }
    bool split() const noexcept { return split_; }
    const EventGate<Queue>& rx_gate() const noexcept { return gate_; }
    const EventGate<Queue>& tx_gate() const noexcept { return split_ ? tx_gate_ : gate_; }

    // What xpv_netfront_begin(), xpv_netfront_idle() and xpv_netfront_done() say.
    xpv_netfront_events begin() const noexcept { return {gate_.look(), tx_gate_.look()}; }
    bool idle() noexcept;
    void done(xpv_netfront_events events) noexcept;
    void schedule(uint32_t pollers) noexcept; // of the gates

    Tx tx;
    Rx rx;

private:
    // There is one poller, both gates'.
    static constexpr uint32_t poller = 1;

    Device& device_;
    const uint32_t index_;
    bool split_ = false;
    EventGate<Queue> gate_;    // receive, or both
    EventGate<Queue> tx_gate_; // when split
};

class Device : NoCopy {
public:
    Device(xpv_xenbus* bus, xpv_netfront_os* os, const xpv_netfront_settings& settings) noexcept
        : bus_{bus}, os_{os}, settings_{settings}, wanted_queues_{settings.net.max_queues},
          copybreak_{settings.rx_copybreak} {}

    int handle(xpv_netfront_event event) noexcept;

    // The backend broke the protocol: say so once, stop the data path, have the
    // shim call back. Any context.
    void fail(uint32_t queue, const char* what, uint32_t value) noexcept;
    bool broken() const noexcept { return __atomic_load_n(&broken_, __ATOMIC_RELAXED); }

    xpv_xenbus* bus() const noexcept { return bus_; }
    xpv_netfront_os* os() const noexcept { return os_; }
    uint16_t peer() const noexcept { return xpv_xenbus_peer(bus_); }
    const xpv_netfront_settings& settings() const noexcept { return settings_; }
    const xpv_net_features& features() const noexcept { return features_; }
    xpv_netfront_counters& counters(uint32_t index) noexcept { return counters_[index]; }
    Queue* queue(uint32_t index) const noexcept {
        return index < queue_count_ ? queues_[index] : nullptr;
    }
    Phase phase() const noexcept { return phase_; }

    bool want_queues(uint32_t count) noexcept {
        return atomic_exchange(&wanted_queues_, count) != count;
    }
    // The `mtu` node when it is another than at the last call of mtu_applied(), or 0.
    uint32_t new_mtu() const noexcept;
    void mtu_applied(uint32_t mtu) noexcept {
        if (mtu != 0)
            mtu_ = mtu;
    }
    uint32_t copybreak() const noexcept { return load_once(&copybreak_); }
    void set_copybreak(uint32_t bytes) noexcept { store_once(&copybreak_, bytes); }

private:
    PeerState peer_state() const noexcept;
    // Steps, until there is none to take. 0 or -errno, as handle().
    int settle(xpv_netfront_event event) noexcept;
    void start_over() noexcept;
    Result<void> carry_out(const Step& step) noexcept;
    Result<void> connect() noexcept;
    Result<void> make_queues(uint32_t count) noexcept;
    void disconnect() noexcept;

    xpv_xenbus* const bus_;
    xpv_netfront_os* const os_;
    const xpv_netfront_settings settings_;
    xpv_net_features features_{};
    uint32_t wanted_queues_;
    uint32_t copybreak_;
    uint32_t mtu_ = 0; // applied last, of the node
    Phase phase_ = Phase::Initialising;
    bool leaving_ = false;
    bool broken_ = false;
    uint32_t queue_count_ = 0;
    Queue* queues_[XPV_NET_MAX_QUEUES] = {};
    xpv_netfront_counters counters_[XPV_NET_MAX_QUEUES] = {};
};

} // namespace xpv::netfront

// The opaque handles of abi.h.
struct xpv_netfront : xpv::netfront::Device {
    using Device::Device;
};
struct xpv_netfront_queue : xpv::netfront::Queue {
    using Queue::Queue;
};
