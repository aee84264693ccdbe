// SPDX-License-Identifier: GPL-2.0-only
// How the drivers use core/xenbus_state.hpp, how Linux's drivers behave on the same
// states, and what the toolstack does, as moves of kunit/model/xenbus_model.hpp.
#include "kunit/model/xenbus_model.hpp"

namespace xpv::model {
namespace {

constexpr uint8_t running(Event event) noexcept {
    return static_cast<uint8_t>(static_cast<uint32_t>(event) + 1);
}
constexpr Event event_of(const End& end) noexcept { return static_cast<Event>(end.running - 1); }
constexpr Phase phase_of(const End& end) noexcept { return static_cast<Phase>(end.phase); }

bool holds_rings(const End& end) noexcept {
    return phase_of(end) == Phase::Attached || phase_of(end) == Phase::Connected;
}

} // namespace

// ---- our frontend ------------------------------------------------------------------

void our_front(const Node& node, Moves& moves) noexcept {
    if (node.destroyed)
        return;
    const End& front = node.front;
    if (!front.loaded) {
        Node after = node;
        after.front = End{};
        after.front.loaded = after.front.pending = true;
        show_front(after, XenbusStateInitialising);
        moves.add(Move::Protocol, after);
        return;
    }
    if (front.running == 0) {
        Node after = node;
        if (front.pending) {
            after.front.pending = false;
            after.front.running = running(Event::Changed);
            moves.add(Move::Protocol, after);
        }
        after = node;
        after.front.running = running(Event::Remove);
        moves.add(Move::Fault, after);
        if (holds_rings(front)) {
            after.front.running = running(Event::Broken);
            moves.add(Move::Fault, after);
            after.front.running = running(Event::Renew);
            moves.add(Move::Fault, after);
        }
        return;
    }
    const Event event = event_of(front);
    const Step step =
        next(Role::Front, phase_of(front), peer_state(node.back.wire), event, node.online);
    // A wait ends when what it waits for is there, or, since it is bounded, when
    // nothing moves at the other end.
    if (step.wait_for != 0 && !(step.wait_for & peer_bit(peer_state(node.back.wire))) &&
        node.back.loaded && (node.back.pending || node.back.running != 0))
        return;
    Node after = node;
    if (step.empty) {
        after.front.running = 0;
        if (event == Event::Remove)
            after.front.loaded = after.front.pending = false;
        moves.add(Move::Protocol, after);
        return;
    }
    if (step.actions & (action_disconnect | action_connect))
        after.match = false; // other rings, or none
    after.front.phase = static_cast<uint8_t>(step.to);
    if (event == Event::Broken || (event == Event::Renew && step.to == Phase::Closed))
        after.front.running = running(Event::Changed);
    const uint32_t shown = wire_state(Role::Front, step.to);
    if (shown != wire_state(Role::Front, phase_of(front)))
        show_front(after, shown);
    moves.add(Move::Protocol, after);
}

// ---- our backend -------------------------------------------------------------------

namespace {

void back_step(const Node& node, const Step& step, Moves& moves) noexcept {
    Node after = node;
    const Phase before = phase_of(node.back);
    after.back.phase = static_cast<uint8_t>(step.to);
    if (event_of(node.back) == Event::Broken)
        after.back.running = 0; // the frontend's move
    if (step.actions & action_disconnect)
        after.match = after.fault = false;
    const auto show = [&](Node& to) {
        if (wire_state(Role::Back, step.to) != wire_state(Role::Back, before))
            show_back(to, wire_state(Role::Back, step.to));
    };
    if (step.actions & action_unregister) {
        after.unregistered = true;
        after.back.loaded = after.back.pending = false;
        after.back.running = 0;
        moves.add(Move::Protocol, after);
        return;
    }
    if (step.actions & action_connect) {
        const bool rings = node.front.wire == XenbusStateConnected;
        after.match = rings;
        Node broken = node; // no map, a channel that is gone, or values out of range
        broken.back.phase = static_cast<uint8_t>(step.to);
        broken.match = false;
        broken.fault = true;
        moves.add(rings ? Move::Fault : Move::Protocol, broken);
    }
    show(after);
    moves.add(Move::Protocol, after);
}

} // namespace

void our_back(const Node& node, Moves& moves) noexcept {
    if (node.unregistered)
        return;
    const End& back = node.back;
    Node after = node;
    if (!back.loaded) {
        after.back.phase = static_cast<uint8_t>(Phase::Initialising);
        after.back.running = 0;
        after.back.loaded = after.back.pending = true;
        moves.add(Move::Protocol, after);
        return;
    }
    if (!node.hotplug) {
        after.hotplug = true;
        after.back.pending = true;
        moves.add(Move::Protocol, after);
    }
    if (back.running == 0) {
        after = node;
        if (back.pending) {
            after.back.pending = false;
            after.back.running = running(Event::Changed);
            moves.add(Move::Protocol, after);
        }
        after = node;
        after.back.running = running(Event::Remove);
        moves.add(Move::Fault, after);
        if (holds_rings(back)) {
            after = node;
            after.fault = true;
            moves.add(Move::Fault, after);
        }
        if (node.fault) {
            after = node;
            after.back.running = running(Event::Broken);
            moves.add(Move::Protocol, after);
        }
        return;
    }
    const Event event = event_of(back);
    const PeerState peer = peer_state(node.front.wire);
    Step step = next(Role::Back, phase_of(back), peer, event, node.online);
    if (step.empty && event == Event::Changed && !node.fault && node.hotplug)
        step = next(Role::Back, phase_of(back), peer, Event::Ready, node.online);
    if (!step.empty) {
        back_step(node, step, moves);
        return;
    }
    after = node;
    after.back.running = 0;
    if (event == Event::Remove) {
        after.back.loaded = after.back.pending = false;
        after.hotplug = after.fault = false;
    }
    moves.add(Move::Protocol, after);
}

// ---- the toolstack -----------------------------------------------------------------

// Detaching clears online, which our backend watches, and writes Closing into the
// *backend's* state node, whatever the backend is about to write there.
void toolstack(const Node& node, Moves& moves) noexcept {
    if (node.unregistered)
        return;
    Node after = node;
    if (node.online) {
        after.online = false;
        after.back.pending = node.back.loaded;
        show_back(after, XenbusStateClosing);
        moves.add(Move::Fault, after);
    }
    if (!node.destroyed) {
        after = node;
        after.destroyed = true;
        after.online = false;
        after.match = false;
        after.front = End{};
        show_front(after, XenbusStateUnknown);
        moves.add(Move::Fault, after);
    }
}

// ---- Linux's frontend ----------------------------------------------------------------
//
// phase: dev->state, which is what it wrote last. running: 1 netback_changed(), 2 the
// first and 3 the second loop of xennet_bus_close(), 4 waits in probe for a backend. It
// never starts again by itself: unloading and loading it is what an administrator does
// (a protocol move here) once it is Closed.

void linux_front(const Node& node, Moves& moves) noexcept {
    if (node.destroyed)
        return;
    const End& front = node.front;
    const uint8_t peer = node.back.wire;
    Node after = node;
    const auto show = [&](uint32_t state) {
        after.front.phase = static_cast<uint8_t>(state);
        show_front(after, state);
    };
    if (!front.loaded) {
        after.front.loaded = true;
        after.front.running = 4;
        show(XenbusStateInitialising);
        moves.add(Move::Protocol, after);
        return;
    }
    const bool closed = peer == XenbusStateClosed;
    const bool unknown = peer == XenbusStateUnknown;
    switch (front.running) {
    case 0:
        if (front.pending) {
            after.front.pending = false;
            after.front.running = 1;
            after.front.target = peer; // read once
            moves.add(Move::Protocol, after);
        }
        after = node;
        after.front.running = closed ? 5 : 2;
        if (!closed)
            show(XenbusStateClosing);
        moves.add(front.phase == XenbusStateClosed ? Move::Protocol : Move::Fault, after);
        return;
    case 1:
        after.front.running = 0;
        if (front.target == XenbusStateInitWait && front.phase == XenbusStateInitialising) {
            after.match = false;
            show(XenbusStateConnected);
        } else if (front.target == XenbusStateClosing ||
                   (front.target == XenbusStateClosed && front.phase != XenbusStateClosed)) {
            if (front.phase != XenbusStateClosed)
                show(XenbusStateClosed); // the rings stay until it connects again
        }
        after.front.target = 0;
        moves.add(Move::Protocol, after);
        return;
    case 2:
        if (closed) {
            after.front.running = 5;
        } else if (peer == XenbusStateClosing || unknown) {
            after.front.running = 3;
            show(XenbusStateClosed);
        } else {
            return; // for ever
        }
        moves.add(Move::Protocol, after);
        return;
    case 3:
        if (!closed && !unknown)
            return;
        after.front.running = 5;
        moves.add(Move::Protocol, after);
        return;
    case 4:
        if (closed || unknown)
            return;
        after.front.running = 0;
        after.front.pending = true; // the watch is registered now
        moves.add(Move::Protocol, after);
        return;
    default: // takes the rings back; the bus then says Closed
        after.match = false;
        after.front.loaded = after.front.pending = false;
        after.front.running = 0;
        if (front.phase != XenbusStateClosed)
            show(XenbusStateClosed);
        moves.add(Move::Protocol, after);
        return;
    }
}

// ---- Linux's backend -----------------------------------------------------------------
//
// phase: be->state. deferred: have_hotplug_status_watch. Its handler is one move here:
// it acts to its end on the state that it read first, and races with itself otherwise.

namespace {

void linux_back_step(Node& after) noexcept {
    const uint8_t from = after.back.phase;
    const uint8_t target = after.back.target;
    uint8_t to = target;
    switch (from) {
    case XenbusStateInitialising:
        to = target == XenbusStateClosed ? XenbusStateClosed : XenbusStateInitWait;
        break;
    case XenbusStateClosed:
        to = target == XenbusStateClosing ? XenbusStateClosing : XenbusStateInitWait;
        break;
    case XenbusStateInitWait:
        to = target == XenbusStateConnected ? XenbusStateConnected : XenbusStateClosing;
        break;
    case XenbusStateConnected:
        to = XenbusStateClosing;
        break;
    case XenbusStateClosing:
        to = XenbusStateClosed;
        break;
    default:
        break;
    }
    if (from == XenbusStateInitWait && to == XenbusStateConnected) {
        after.match = after.front.wire == XenbusStateConnected;
        after.deferred = true; // the watch looks at the node when it is registered
    }
    if (from == XenbusStateConnected)
        after.match = false;
    after.back.phase = to;
    if (!after.deferred)
        show_back(after, to);
}

} // namespace

void linux_back(const Node& node, Moves& moves) noexcept {
    if (node.unregistered)
        return;
    Node after = node;
    const End& back = node.back;
    if (!back.loaded) {
        after.back.loaded = after.back.pending = true;
        after.back.phase = XenbusStateInitWait; // features are written in probe
        show_back(after, XenbusStateInitWait);
        moves.add(Move::Protocol, after);
        return;
    }
    if (!node.hotplug) {
        after.hotplug = true;
        moves.add(Move::Protocol, after);
    } else if (node.deferred) {
        after.deferred = false;
        if (back.wire != back.phase)
            show_back(after, back.phase);
        moves.add(Move::Protocol, after);
    }
    // What xenbus_dev_remove and netback_remove do.
    const auto walk = [](Node& to, uint8_t target) {
        to.back.target = target;
        while (to.back.phase != target)
            linux_back_step(to);
        to.back.target = 0;
    };
    after = node;
    after.deferred = false;
    walk(after, XenbusStateClosed);
    after.back.loaded = after.back.pending = after.hotplug = false;
    moves.add(Move::Fault, after);
    if (!back.pending)
        return;
    after = node;
    after.back.pending = false;
    switch (node.front.wire) {
    case XenbusStateInitialising:
        walk(after, XenbusStateInitWait);
        break;
    case XenbusStateConnected:
        walk(after, XenbusStateConnected);
        break;
    case XenbusStateClosing:
        walk(after, XenbusStateClosing);
        break;
    case XenbusStateClosed:
    case XenbusStateUnknown:
        walk(after, XenbusStateClosed);
        if (node.online && node.front.wire == XenbusStateClosed)
            break;
        after.unregistered = true;
        after.back.loaded = after.back.pending = false;
        break;
    default:
        break;
    }
    moves.add(Move::Protocol, after);
}

} // namespace xpv::model
