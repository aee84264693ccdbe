// SPDX-License-Identifier: GPL-2.0-only
#include "netback/device.hpp"

using namespace xpv;

namespace xpv::netback {

const char* fault_text(Fault fault) noexcept {
    switch (fault) {
    case Fault::TxRing:
        return "guest-TX ring: impossible request index";
    case Fault::TxOpenChain:
        return "guest-TX packet ends in the middle of its slots";
    case Fault::TxLongChain:
        return "guest-TX packet of too many slots";
    case Fault::TxOpenExtras:
        return "guest-TX packet ends in the middle of its extra slots";
    case Fault::TxManyExtras:
        return "guest-TX packet with too many extra slots";
    case Fault::TxExtraType:
        return "guest-TX extra slot of unknown type";
    case Fault::TxGso:
        return "guest-TX segmentation type or size is wrong";
    case Fault::TxCrossesPage:
        return "guest-TX slot reaches over its page";
    case Fault::RxRing:
        return "guest-RX ring: impossible request index";
    case Fault::Connect:
        return "cannot connect to the frontend";
    }
    return "";
}

} // namespace xpv::netback

PeerState xpv_netback::read_peer() const noexcept {
    char text[4];
    if (xpv_xs_read(bus_, XPV_XS_PEER, "state", text, sizeof(text)) < 0)
        return PeerState::Unknown;
    const Result<uint32_t> number = parse_number(text);
    return number.ok() ? peer_state(number.value()) : PeerState::Unknown;
}

bool xpv_netback::hotplug_connected() const noexcept {
    static constexpr char connected[] = "connected";
    char text[sizeof(connected)];
    return xpv_xs_read(bus_, XPV_XS_OWN, "hotplug-status", text, sizeof(text)) ==
               static_cast<int>(sizeof(connected) - 1) &&
           __builtin_memcmp(text, connected, sizeof(connected)) == 0;
}

void xpv_netback::act(const Step& step) noexcept {
    phase_ = step.to;
    if (step.actions & action_disconnect)
        disconnect();
    if ((step.actions & action_advertise) && !advertise().ok())
        xpv_log(bus_, XPV_LOG_ERR, "cannot write the features to xenstore");
    if (step.actions & action_connect) {
        if (const Result<void> made = connect(); !made.ok()) {
            fault_.raise(netback::Fault::Connect, 0, static_cast<uint32_t>(made.error()));
            return; // what was written stays InitWait until BROKE is handled
        }
    }
    (void)xpv_xenbus_switch(bus_, wire_state(Role::Back, phase_));
    if (step.actions & action_announce)
        xpv_netback_vif_carrier(vif_, true);
}

bool xpv_netback::handle(xpv_netback_event what) noexcept {
    Event event = what == XPV_NETBACK_REMOVE  ? Event::Remove
                  : what == XPV_NETBACK_BROKE ? Event::Broken
                                              : Event::Changed;
    // A fault whose connection is gone by now is no news.
    if (event == Event::Broken && !fault_.raised())
        return false;
    // Far more steps than any path through the states has.
    for (uint32_t steps = 0; steps < 16; ++steps) {
        const PeerState peer = read_peer();
        // The toolstack writes 0 when it wants the device gone; not every one writes 1.
        const bool online = store_.flag(XPV_XS_OWN, "online", true);
        Step step = next(Role::Back, phase_, peer, event, online);
        if (step.empty && event == Event::Changed && !fault_.raised() && hotplug_connected())
            step = next(Role::Back, phase_, peer, Event::Ready, online);
        if (step.empty)
            break;
        act(step);
        if (step.actions & action_unregister)
            return true;
        if (event == Event::Broken)
            break; // the frontend's move
    }
    if (event == Event::Remove) {
        // Ours to remove, and only now: the next driver waits for its own script.
        (void)store_.remove("hotplug-status");
    }
    return false;
}

// ---- abi.h --------------------------------------------------------------------

xpv_netback* xpv_netback_create(xpv_xenbus* bus, xpv_vif* vif,
                                const xpv_netback_settings* settings) {
    void* memory = xpv_alloc(sizeof(xpv_netback));
    return memory == nullptr ? nullptr : new (memory) xpv_netback{bus, vif, *settings};
}

void xpv_netback_destroy(xpv_netback* device) {
    if (device == nullptr)
        return;
    device->~xpv_netback();
    xpv_free(device);
}

bool xpv_netback_handle(xpv_netback* device, xpv_netback_event event) {
    return device->handle(event);
}
