// SPDX-License-Identifier: GPL-2.0-only
// A vif in service, and its life as abi.h has it; core/end.hpp is the handshake.
#include "netback/device.hpp"

namespace xpv::netback {

void Device::show_carrier(bool on) noexcept {
    carrier_ = on;
    xpv_netback_os_carrier(os_, on);
}

// What the administrator made of the link (`ip link set ... carrier`), for the guest: io/netif.h,
// "Link state". If it cannot be written, the next look tries again.
void Device::show_link() noexcept {
    const bool up = xpv_netback_os_link(os_);
    if (up != link_ && store().write("carrier", up).ok())
        link_ = up;
}

// Nodes of the toolstack's, the link, and a guest that takes no packets: it is
// offline, so that the stack keeps none for it.
void Device::look_again() noexcept {
    read_rate();
    show_link();
    bool on = true;
    for (uint32_t i = 0; i < queue_count_; ++i)
        on = on && !queues_[i]->rx.stalled();
    if (on == carrier_)
        return;
    xpv_log(bus(), on ? XPV_LOG_INFO : XPV_LOG_WARN, "%s",
            on ? "the guest takes packets again"
               : "the guest takes no packets: its carrier is off until it does");
    show_carrier(on);
}

} // namespace xpv::netback

xpv_netback* xpv_netback_create(xpv_xenbus* bus, xpv_netback_os* os,
                                const xpv_netback_settings* settings) {
    void* const memory = xpv_alloc(sizeof(xpv_netback));
    return memory == nullptr ? nullptr : new (memory) xpv_netback{bus, os, *settings};
}

void xpv_netback_destroy(xpv_netback* device) {
    if (device != nullptr)
        device->~xpv_netback();
    xpv_free(device);
}

int xpv_netback_handle(xpv_netback* device, xpv_event event) {
    const int code = device->handle(event);
    if (event == XPV_REMOVE)
        device->forget_link();
    return code;
}
