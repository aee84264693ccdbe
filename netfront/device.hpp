// SPDX-License-Identifier: GPL-2.0-only
// One vif as the guest sees it, over all of its connections, and its queues.
#pragma once

#include "core/end.hpp"
#include "core/gate.hpp"
#include "net/place.hpp"
#include "netfront/abi.h"
#include "netfront/rx.hpp"
#include "netfront/tx.hpp"

namespace xpv::netfront {

class Device;

// A connected queue pair. Its parts are made by Device::connect and end with it.
class Queue : NoCopy {
public:
    Queue(Device& device, QueueIndex index) noexcept;

    // Rings, references, event channels. May sleep.
    Result<void> open(bool split) noexcept;
    // Take everything back; what the backend still holds is deferred. After
    // xpv_netfront_os_stop(). May sleep.
    void close() noexcept;

    Device& device() const noexcept { return device_; }
    QueueIndex index() const noexcept { return index_; }
    net::QueuePlace place() const noexcept {
        return {tx.ref(), rx.ref(), tx_gate().port(), rx_gate().port()};
    }
    QueueFault fault() const noexcept; // any context
    bool split() const noexcept { return split_; }
    const EventGate<Queue>& rx_gate() const noexcept { return gate_; }
    const EventGate<Queue>& tx_gate() const noexcept { return split_ ? tx_gate_ : gate_; }

    // What xpv_netfront_begin(), xpv_netfront_idle() and xpv_netfront_done() say.
    xpv_netfront_events begin() const noexcept { return {gate_.look(), tx_gate_.look()}; }
    bool idle() noexcept;
    void done(xpv_netfront_events events) noexcept;
    void schedule(uint32_t pollers) noexcept; // of the gates

    Transmit tx;
    Receive rx;

private:
    // There is one poller, both gates'.
    static constexpr uint32_t poller = 1;

    Device& device_;
    const QueueIndex index_;
    bool split_ = false;
    EventGate<Queue> gate_;    // receive, or both
    EventGate<Queue> tx_gate_; // when split
};

class Device : public End<Device, Role::Front> {
public:
    Device(xpv_xenbus* bus, xpv_netfront_os* os, const xpv_netfront_settings& settings) noexcept
        : End{bus}, os_{os}, settings_{settings}, wanted_queues_{settings.net.max_queues},
          copybreak_{settings.rx_copybreak} {}

    // ---- for End ----------------------------------------------------------------
    Result<void> connect() noexcept;
    void quiesce() noexcept { xpv_netfront_os_stop(os_); }
    void disconnect() noexcept;
    void announce() noexcept;
    void look_again() noexcept;

    xpv_netfront_os* os() const noexcept { return os_; }
    const xpv_netfront_settings& settings() const noexcept { return settings_; }
    const xpv_net_features& features() const noexcept { return features_; }
    xpv_netfront_counters& counters(QueueIndex index) noexcept { return counters_[index.number()]; }
    Queue* queue(uint32_t index) const noexcept {
        return index < queue_count_ ? queues_[index] : nullptr;
    }

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
    // io/netif.h, "Link state".
    bool read_link() const noexcept { return store().flag(XPV_XS_PEER, "carrier", true); }
    Result<void> make_queues(uint32_t count) noexcept;
    Result<void> write_answer(bool multi_queue) const noexcept;

    xpv_netfront_os* const os_;
    const xpv_netfront_settings settings_;
    xpv_net_features features_{};
    uint32_t wanted_queues_;
    uint32_t copybreak_;
    uint32_t mtu_ = 0; // applied last, of the node
    bool link_ = true; // the backend's, as it was read last
    uint32_t queue_count_ = 0;
    Queue* queues_[XPV_NET_MAX_QUEUES] = {};
    xpv_netfront_counters counters_[XPV_NET_MAX_QUEUES] = {};
};

inline QueueFault Queue::fault() const noexcept { return {device_.faults(), index_}; }

} // namespace xpv::netfront

// The opaque handles of abi.h.
struct xpv_netfront : xpv::netfront::Device {
    using Device::Device;
};
struct xpv_netfront_queue : xpv::netfront::Queue {
    using Queue::Queue;
};
