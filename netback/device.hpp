// SPDX-License-Identifier: GPL-2.0-only
// One vif as its backend sees it, over all of its connections, and its queues.
#pragma once

#include "core/end.hpp"
#include "netback/queue.hpp"

namespace xpv::netback {

class Device : public End<Device, Role::Back> {
public:
    Device(xpv_xenbus* bus, xpv_netback_os* os, const xpv_netback_settings& settings) noexcept
        : End{bus}, os_{os}, settings_{settings} {}

    // ---- for End ----------------------------------------------------------------
    Result<void> advertise() noexcept;
    Result<void> connect() noexcept;
    void disconnect() noexcept;
    void announce() noexcept { show_carrier(true); }
    void look_again() noexcept;

    // The driver leaves: nobody stands for the link any more.
    void forget_link() const noexcept { (void)store().remove("carrier"); }

private:
    Result<void> make_queue(uint32_t index, uint32_t count, const xpv_net_features& features,
                            bool map) noexcept;
    void read_rate() noexcept;
    void show_link() noexcept;
    void show_carrier(bool on) noexcept;

    xpv_netback_os* const os_;
    const xpv_netback_settings settings_;
    bool carrier_ = false; // in service, and the guest takes packets
    bool link_ = true;     // what the `carrier` node says
    bool rate_present_ = false;
    char rate_text_[48] = {}; // of the node as it was read last
    RateBucket rates_[2];     // guest-TX, guest-RX
    uint32_t queue_count_ = 0;
    bool attached_ = false; // the shim knows the queues
    xpv_netback_queue* queues_[XPV_NET_MAX_QUEUES] = {};
};

} // namespace xpv::netback

// The name that abi.h gives it.
struct xpv_netback : xpv::netback::Device {
    using Device::Device;
};
