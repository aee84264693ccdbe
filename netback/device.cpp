// SPDX-License-Identifier: GPL-2.0-only
#include "netback/device.hpp"

using namespace xpv;

namespace {

// After a shortage, whose end nothing announces.
constexpr uint32_t retry_ms = 5000;
// What a connection that cannot be made costs besides its own token.
constexpr uint32_t fault_tokens = 3;

} // namespace

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

// A connection that could not be made although the frontend did nothing wrong, and
// features that could not be written, are tried again.
xpv_netback::Done xpv_netback::try_connect() noexcept {
    const uint64_t now = xpv_now_ms();
    if (const uint32_t wait_ms = connects_.take(now); wait_ms != 0) {
        xpv_netback_vif_poke(vif_, wait_ms);
        return Done::Later;
    }
    const Result<void> made = connect();
    if (made.ok())
        return Done::Yes;
    if (is_shortage(made.error())) {
        xpv_log(bus_, XPV_LOG_ERR, "no connection to the frontend, will try again: error %d",
                to_errno(made));
        disconnect();
        xpv_netback_vif_poke(vif_, retry_ms);
        return Done::Later;
    }
    // It also costs lines in the log, some of them the bus's.
    connects_.charge(now, fault_tokens);
    fault_.raise(netback::Fault::Connect, 0, static_cast<uint32_t>(made.error()));
    return Done::Refused;
}

xpv_netback::Done xpv_netback::act(const Step& step) noexcept {
    if (step.actions & action_disconnect)
        disconnect();
    if ((step.actions & action_advertise) && !advertise().ok()) {
        xpv_log(bus_, XPV_LOG_ERR, "cannot write the features to xenstore, will try again");
        xpv_netback_vif_poke(vif_, retry_ms);
        return Done::Later;
    }
    if (step.actions & action_connect)
        if (const Done done = try_connect(); done != Done::Yes)
            return done;
    if (step.actions & action_announce) {
        carrier_ = true;
        xpv_netback_vif_carrier(vif_, true);
        xpv_xenbus_well(bus_);
    }
    return Done::Yes;
}

void xpv_netback::settle() noexcept {
    // Far more steps than any path through the states has.
    for (uint32_t steps = 0; steps < 16; ++steps) {
        const PeerState peer = read_peer();
        // The toolstack writes 0 when it wants the device gone; not every one writes 1.
        const bool online = store_.flag(XPV_XS_OWN, "online", true);
        const auto what_next = [&](Event event) {
            return next(Role::Back, phase_, peer, event, online);
        };
        Step step = what_next(removed_          ? Event::Remove
                              : fault_.raised() ? Event::Broken
                                                : Event::Changed);
        if (step.empty && !removed_ && hotplug_connected())
            step = what_next(Event::Ready);
        // Closed for good. The bus unregisters the device once the toolstack has removed
        // its folder; we never do: who unregisters a device holds its lock, which the bus
        // takes in the thread that we would have to wait for.
        if (step.empty || (step.actions & action_unregister) != 0)
            return;
        if (phase_ == Phase::Initialising && step.to == Phase::Closing && !removed_)
            xpv_end_report(bus_, to_errno(Error::Protocol),
                           "the frontend is connected to a backend that is gone: it has "
                           "to reconnect by itself, or its guest to be created anew");
        Done done = act(step);
        if (done == Done::Refused) {
            step = next(Role::Back, step.to, peer, Event::Broken, online);
            done = act(step);
        }
        if (done != Done::Yes)
            return;
        (void)xpv_xenbus_switch(bus_, wire_state(Role::Back, step.to));
        phase_ = step.to;
    }
}

// A guest that takes no packets is offline: the stack then keeps none for it.
void xpv_netback::show_carrier() noexcept {
    if (phase_ != Phase::Connected)
        return;
    bool on = true;
    for (uint32_t i = 0; i < queue_count_; ++i)
        on = on && !queues_[i]->rx.stalled();
    if (on == carrier_)
        return;
    xpv_log(bus_, on ? XPV_LOG_INFO : XPV_LOG_WARN, "%s",
            on ? "the guest takes packets again"
               : "the guest takes no packets: its carrier is off until it does");
    carrier_ = on;
    xpv_netback_vif_carrier(vif_, on);
}

void xpv_netback::handle(xpv_netback_event event) noexcept {
    if (removed_)
        return; // a late poke
    removed_ = event == XPV_NETBACK_REMOVE;
    settle();
    if (removed_) {
        // Ours to remove, and only now: the next driver waits for its own script.
        (void)store_.remove("hotplug-status");
        return;
    }
    show_carrier();
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

void xpv_netback_handle(xpv_netback* device, xpv_netback_event event) { device->handle(event); }
