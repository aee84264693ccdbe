// SPDX-License-Identifier: GPL-2.0-only
#include "core/xenbus_state.hpp"

namespace xpv {
namespace {

constexpr Step stay(Phase phase) noexcept { return Step{action_none, phase, 0, true}; }

constexpr Step go(Phase to, unsigned actions = action_none, unsigned wait_for = 0) noexcept {
    return Step{static_cast<uint8_t>(actions), to, static_cast<uint16_t>(wait_for), false};
}

constexpr bool holds_rings(Phase phase) noexcept {
    return phase == Phase::Attached || phase == Phase::Connected;
}

// The backend is gone, leaving, or restarted behind our back. Closing may be the
// toolstack's word, written over the state of a backend that still has our rings:
// they stay until it is Closed.
Step front_leave(PeerState peer) noexcept {
    return go(Phase::Closing, peer == PeerState::Closing ? action_quiesce : action_disconnect);
}

Step front_changed(Phase phase, PeerState peer, bool online) noexcept {
    switch (phase) {
    case Phase::Initialising:
        if (peer == PeerState::InitWait)
            return go(Phase::Attached, action_connect);
        // Agree to a detach before the first connection.
        if (peer == PeerState::Closing)
            return go(Phase::Closed);
        return stay(phase);
    case Phase::Attached:
        if (peer == PeerState::Connected)
            return go(Phase::Connected, action_announce);
        if (peer == PeerState::InitWait || peer == PeerState::Initialised)
            return stay(phase);
        return front_leave(peer);
    case Phase::Connected:
        if (peer == PeerState::Connected || peer == PeerState::Reconfiguring ||
            peer == PeerState::Reconfigured)
            return stay(phase);
        return front_leave(peer);
    case Phase::Closing:
        // Only a backend that has let go of these rings may see us start again: it
        // could take a later Connected for the one that it knows.
        if (peer == PeerState::InitWait || peer == PeerState::Initialised ||
            peer == PeerState::Connected || peer == PeerState::Reconfiguring ||
            peer == PeerState::Reconfigured)
            return stay(phase);
        return go(Phase::Closed, peer == PeerState::Closing ? action_none : action_disconnect);
    case Phase::Closed:
        // A backend that waits, or that is closed but still wanted, means a new one.
        // Either has let go of the rings that we may still have.
        if (peer == PeerState::InitWait ||
            (online && (peer == PeerState::Closed || peer == PeerState::Initialising)))
            return go(Phase::Initialising, action_disconnect);
        return stay(phase);
    case Phase::Waiting: // a backend's phase
        break;
    }
    return stay(phase);
}

Step back_changed(Phase phase, PeerState peer, bool online) noexcept {
    const bool gone = peer == PeerState::Unknown;
    switch (phase) {
    case Phase::Initialising:
        // Connected to our predecessor: over rings that it may be giving up right now.
        if (peer == PeerState::Connected)
            return go(Phase::Closing);
        return go(Phase::Waiting, action_advertise);
    case Phase::Waiting:
        // The toolstack asks for the device's end by `online` and by writing Closing
        // over our state; the latter is lost if we write ours just then. A frontend
        // that is Closed may be waiting for the same of us before it starts again.
        if (gone || peer == PeerState::Closing || peer == PeerState::Closed || !online)
            return go(Phase::Closing);
        if (peer == PeerState::Connected)
            return go(Phase::Attached, action_connect);
        return stay(phase);
    case Phase::Attached:
    case Phase::Connected:
        if (online && (peer == PeerState::Connected || peer == PeerState::Reconfiguring ||
                       peer == PeerState::Reconfigured))
            return stay(phase);
        return go(Phase::Closing, action_disconnect);
    case Phase::Closing:
        // A frontend that starts again has left its rings too.
        if (gone || peer == PeerState::Closed || peer == PeerState::Initialising)
            return go(Phase::Closed);
        return stay(phase);
    case Phase::Closed:
        if (gone || (!online && (peer == PeerState::Closed || peer == PeerState::Initialising)))
            return Step{action_unregister, Phase::Closed, 0, false};
        if (peer == PeerState::Initialising)
            return go(Phase::Waiting, action_advertise);
        return stay(phase);
    }
    return stay(phase);
}

// The other end has let go of the rings.
constexpr unsigned let_go =
    peer_bit(PeerState::Closing) | peer_bit(PeerState::Closed) | peer_bit(PeerState::Unknown);

// Leaving: the other end lets go of the rings before we take them back, so that
// no page has to be deferred. Every wait is bounded by the caller.
Step front_remove(Phase phase) noexcept {
    constexpr unsigned settled =
        peer_bit(PeerState::Closed) | peer_bit(PeerState::InitWait) | peer_bit(PeerState::Unknown);
    switch (phase) {
    case Phase::Attached:
    case Phase::Connected:
        return go(Phase::Closing, action_quiesce);
    case Phase::Closing:
        return go(Phase::Closed, action_disconnect, let_go);
    case Phase::Initialising:
    case Phase::Waiting:
        return go(Phase::Closed);
    case Phase::Closed:
        return Step{action_none, Phase::Closed, static_cast<uint16_t>(settled), true};
    }
    return stay(phase);
}

// The way out of Remove, as far as Closed; without rings there is nothing to renew.
Step front_renew(Phase phase) noexcept {
    if (holds_rings(phase))
        return go(Phase::Closing, action_quiesce);
    if (phase == Phase::Closing)
        return go(Phase::Closed, action_disconnect, let_go);
    return stay(phase);
}

Step back_remove(Phase phase) noexcept {
    if (phase == Phase::Closed)
        return stay(phase);
    if (phase == Phase::Closing)
        return go(Phase::Closed);
    return go(Phase::Closing, action_disconnect);
}

} // namespace

Step next(Role role, Phase phase, PeerState peer, Event event, bool online) noexcept {
    switch (event) {
    case Event::Changed:
        return role == Role::Front ? front_changed(phase, peer, online)
                                   : back_changed(phase, peer, online);
    case Event::Ready:
        if (role == Role::Back && phase == Phase::Attached && peer == PeerState::Connected &&
            online)
            return go(Phase::Connected, action_announce);
        return stay(phase);
    case Event::Broken:
        return holds_rings(phase) ? go(Phase::Closing, action_disconnect) : stay(phase);
    case Event::Remove:
        return role == Role::Front ? front_remove(phase) : back_remove(phase);
    case Event::Renew:
        return role == Role::Front ? front_renew(phase) : stay(phase);
    }
    return stay(phase);
}

} // namespace xpv
