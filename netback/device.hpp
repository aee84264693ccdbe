// SPDX-License-Identifier: GPL-2.0-only
// One vif device: the handshake with its frontend, and its queues while connected.
#pragma once

#include "core/xenbus_state.hpp"
#include "netback/queue.hpp"

// The name that abi.h gives it.
struct xpv_netback : xpv::NoCopy {
public:
    xpv_netback(xpv_xenbus* bus, xpv_vif* vif, const xpv_netback_settings& settings) noexcept
        : bus_{bus}, vif_{vif}, store_{bus}, settings_{settings}, fault_{vif} {}
    ~xpv_netback() { disconnect(); }

    bool handle(xpv_netback_event event) noexcept;

private:
    // device.cpp
    void act(const xpv::Step& step) noexcept;
    xpv::PeerState read_peer() const noexcept;
    bool hotplug_connected() const noexcept;

    // connect.cpp
    xpv::Result<void> advertise() const noexcept;
    xpv::Result<xpv_netback_features> negotiate() const noexcept;
    xpv::Result<void> connect() noexcept;
    xpv::Result<void> make_queue(uint32_t index, uint32_t count) noexcept;
    void disconnect() noexcept;

    xpv_xenbus* bus_;
    xpv_vif* vif_;
    xpv::Xenstore store_;
    xpv_netback_settings settings_;
    xpv::netback::FaultLine fault_;
    xpv::Phase phase_ = xpv::Phase::Initialising;
    uint32_t queue_count_ = 0;
    bool attached_ = false; // the shim knows the queues
    xpv_netback_queue* queues_[XPV_NET_MAX_QUEUES] = {};
};
