// SPDX-License-Identifier: GPL-2.0-only
// One vif device: the handshake with its frontend, and its queues while connected.
#pragma once

#include "core/token_bucket.hpp"
#include "core/xenbus_state.hpp"
#include "netback/queue.hpp"

// The name that abi.h gives it.
struct xpv_netback : xpv::NoCopy {
public:
    xpv_netback(xpv_xenbus* bus, xpv_vif* vif, const xpv_netback_settings& settings) noexcept
        : bus_{bus}, vif_{vif}, store_{bus}, settings_{settings}, fault_{bus, vif} {}
    ~xpv_netback() { disconnect(); }

    void handle(xpv_netback_event event) noexcept;

private:
    // device.cpp: what became of a step
    enum class Done : uint8_t {
        Yes,
        Later,   // nothing was done; a poke is on its way
        Refused, // the frontend's fault
    };
    void settle() noexcept;
    Done act(const xpv::Step& step) noexcept;
    Done try_connect() noexcept;
    xpv::PeerState read_peer() const noexcept;
    bool hotplug_connected() const noexcept;
    void show_carrier() noexcept;

    // connect.cpp
    xpv::Result<void> advertise() const noexcept;
    xpv::Result<void> connect() noexcept;
    xpv::Result<void> make_queue(uint32_t index, uint32_t count, const xpv_net_features& features,
                                 bool map) noexcept;
    void warn_of_rate() const noexcept;
    void disconnect() noexcept;

    xpv_xenbus* bus_;
    xpv_vif* vif_;
    xpv::Xenstore store_;
    xpv_netback_settings settings_;
    xpv::netback::FaultLine fault_;
    xpv::Phase phase_ = xpv::Phase::Initialising;
    bool removed_ = false;
    bool carrier_ = false;
    // A connection costs an rtnl lock, grace periods and hypercalls, and it is the
    // frontend that says how often: at first so many, then four per second.
    xpv::TokenBucket connects_{16, 250};
    uint32_t queue_count_ = 0;
    bool attached_ = false; // the shim knows the queues
    xpv_netback_queue* queues_[XPV_NET_MAX_QUEUES] = {};
};
