// SPDX-License-Identifier: GPL-2.0-only
// The handshake of two ends as a pure function: xen/io/xenbus.h, and the state
// diagrams of io/netif.h and io/blkif.h. A driver calls next() with what it knows,
// carries out the step, and calls again until the step is empty.
#pragma once

#include "core/std.hpp"
#include "core/xen.hpp"

namespace xpv {

// What the other end's state node says; enum xenbus_state by value.
enum class PeerState : uint8_t {
    Unknown = XenbusStateUnknown, // no node: the other end is gone
    Initialising = XenbusStateInitialising,
    InitWait = XenbusStateInitWait,
    Initialised = XenbusStateInitialised,
    Connected = XenbusStateConnected,
    Closing = XenbusStateClosing,
    Closed = XenbusStateClosed,
    Reconfiguring = XenbusStateReconfiguring,
    Reconfigured = XenbusStateReconfigured,
};
inline constexpr uint32_t peer_state_count = 9;

// A state node's number; rubbish counts as Unknown.
constexpr PeerState peer_state(uint32_t number) noexcept {
    return number < peer_state_count ? static_cast<PeerState>(number) : PeerState::Unknown;
}

// Where our end is. Attached is the time between having the rings and being in
// full service: a frontend waits there for the backend to connect, a backend for
// the toolstack's hotplug script.
enum class Phase : uint8_t { Initialising, Waiting, Attached, Connected, Closing, Closed };
inline constexpr uint32_t phase_count = 6;

enum class Role : uint8_t { Front, Back };

enum class Event : uint8_t {
    Changed, // the other end's state may have changed, or it is our first look
    Ready,   // backend: hotplug-status says connected
    Broken,  // the other end broke the protocol on the data path
    Remove,  // our driver is leaving the device
    Renew,   // frontend: leave of our own will, Changed once that is done (Closed)
};
inline constexpr uint32_t event_count = 5;

// Work of a step, done in the order of the bits, before the phase changes.
enum Action : uint8_t {
    action_none = 0,
    action_quiesce = 1 << 0,    // stop traffic, keep rings and grants
    action_disconnect = 1 << 1, // give up rings, grants, channels; idempotent
    action_advertise = 1 << 2,  // backend: write the features
    action_connect = 1 << 3,    // front: make and write rings; back: map them
    action_announce = 1 << 4,   // carrier on, gratuitous ARP, kick the queues
    action_unregister = 1 << 5, // backend: the toolstack is done with the device
};

constexpr uint16_t peer_bit(PeerState state) noexcept {
    return static_cast<uint16_t>(1U << static_cast<unsigned>(state));
}

struct Step {
    uint8_t actions = action_none;
    Phase to{};
    // Before anything else wait, bounded, until the other end is in one of these
    // states; 0: do not wait. When time runs out go on.
    uint16_t wait_for = 0;
    bool empty = false; // nothing to do; `to` is the present phase
};

// `online` is the backend folder's node of that name: the toolstack clears it when
// it wants the device to go away for good.
Step next(Role role, Phase phase, PeerState peer, Event event, bool online) noexcept;

// What a phase looks like in our state node. attached is the protocol's word for a
// frontend that wrote its rings: Connected for net, Initialised for block.
constexpr uint32_t wire_state(Role role, Phase phase,
                              uint32_t attached = XenbusStateConnected) noexcept {
    switch (phase) {
    case Phase::Initialising:
        return XenbusStateInitialising;
    case Phase::Waiting:
        return XenbusStateInitWait;
    case Phase::Attached:
        // libxl waits to see exactly InitWait before it runs the hotplug script.
        return role == Role::Front ? attached : uint32_t{XenbusStateInitWait};
    case Phase::Connected:
        return XenbusStateConnected;
    case Phase::Closing:
        return XenbusStateClosing;
    case Phase::Closed:
        return XenbusStateClosed;
    }
    return XenbusStateUnknown;
}

} // namespace xpv
