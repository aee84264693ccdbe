// SPDX-License-Identifier: GPL-2.0-only
// One end of a device, all of its life: from the first look at the other end over every
// connection, fault, shortage, suspend and restart to the driver's leave. Written once for
// both roles; a driver supplies what its steps do:
//
//     class Disk : public End<Disk, Role::Front> {
//         Result<void> connect();   make rings and channels and write where they are
//                                   (backend: read that, map and bind); undoes nothing, as
//                                   disconnect() follows a failure
//         void quiesce();           frontend: stop traffic; rings, grants and channels stay
//         void disconnect();        stop traffic, and give up all that connect() made; idempotent
//         void announce();          both ends are in service
//         Result<void> advertise(); backend: all that a frontend reads before it connects
//         bool in_use();            frontend: go on although the backend shall close
//         bool released();          frontend: all that the last connection granted is ours
//                                   again; no other before that
//         void look_again();        in service, and the handshake has nothing to do: does
//                                   anything else?
//     };
//
// All of them may sleep and run one at a time: whoever calls handle() serialises. Names are
// resolved at compile time; nothing here is virtual.
#pragma once

#include "core/fault_line.hpp"
#include "core/token_bucket.hpp"
#include "core/xenbus_state.hpp"
#include "core/xenstore.hpp"

namespace xpv {

template <class Driver, Role role, uint32_t attached_state = XenbusStateConnected>
class End : NoCopy {
public:
    explicit End(xpv_xenbus* bus) noexcept : bus_{bus}, fault_{bus} {}

    // Carry the handshake as far as it goes. Returns 0, or the -errno for which there is no
    // connection; a shortage is tried again by itself. Every wait is bounded. May sleep.
    int handle(xpv_event what) noexcept {
        if (leaving_)
            return 0;
        if (what == XPV_SUSPEND)
            return 0; // it may be called off: nothing changes before RESUMED
        if (what == XPV_RESUMED)
            return resume();
        if (what == XPV_BROKE && !broken())
            return 0; // its connection is over
        leaving_ = what == XPV_REMOVE;
        const Result<void> settled = settle(what);
        if (leaving_) {
            leave();                // whatever the other end did, nothing of ours stays
            if (role == Role::Back) // ours to remove: the next driver waits for its own script
                (void)store().remove("hotplug-status");
        }
        if (!settled.ok() && !leaving_ && is_shortage(settled.error()))
            xpv_end_poke(bus_, XPV_CHANGED, retry_ms);
        return to_errno(settled);
    }

    bool broken() const noexcept { return fault_.raised(); }
    // Where the other end's breaches of the protocol are raised. Any context.
    FaultLine& faults() noexcept { return fault_; }

    xpv_xenbus* bus() const noexcept { return bus_; }
    uint16_t peer() const noexcept { return xpv_xenbus_peer(bus_); }
    Xenstore store() const noexcept { return Xenstore{bus_}; }
    Phase phase() const noexcept { return phase_; }

    // What a frontend does not need.
    Result<void> advertise() noexcept { return {}; }
    // And what not every one does.
    bool in_use() noexcept { return false; }
    bool released() noexcept { return true; }
    void look_again() noexcept {}

private:
    // For the other end to let go of the rings, or to settle after we left.
    static constexpr uint32_t wait_ms = 5000;
    // After a shortage: nothing will announce its end.
    static constexpr uint32_t retry_ms = 5000;
    // Between two looks whether the other end has let go of what it was granted.
    static constexpr uint32_t release_ms = 100;
    // Block backends take over the rings of a frontend that is in service, as it is; a
    // network's wait for one that starts.
    static constexpr bool adopts = role == Role::Front && attached_state != XenbusStateConnected;
    // No chain of steps is longer; the other end cannot keep us here.
    static constexpr uint32_t most_steps = 16;
    // What a connection that the other end made impossible costs besides its own token.
    static constexpr uint32_t fault_tokens = 3;

    Driver& self() noexcept { return *static_cast<Driver*>(this); }

    static Event event_of(xpv_event what) noexcept {
        switch (what) {
        case XPV_BROKE:
            return Event::Broken;
        case XPV_RENEW:
            return Event::Renew;
        case XPV_REMOVE:
            return Event::Remove;
        case XPV_PROBED:
        case XPV_CHANGED:
        case XPV_SUSPEND:
        case XPV_RESUMED:
            break;
        }
        return Event::Changed;
    }

    // No node means that the other end is gone, and so does rubbish. That xenstore did not
    // answer means nothing: ask again.
    Result<PeerState> read_peer() const noexcept {
        const Result<uint32_t> state =
            store().optional(XPV_XS_PEER, "state", 0, ~uint32_t{0}, XenbusStateUnknown);
        if (!state.ok() && state.error() != Error::Range)
            return Error::TryAgain;
        return peer_state(state.value_or(XenbusStateUnknown));
    }

    // The toolstack writes 0 when it wants the device gone; not every one writes 1, which
    // only a frontend minds: it would wait for a backend that does not come.
    bool read_online() const noexcept {
        return role == Role::Front ? store().flag(XPV_XS_PEER, "online")
                                   : store().flag(XPV_XS_OWN, "online", true);
    }

    // The toolstack's script has run.
    bool ready() const noexcept {
        static constexpr char connected[] = "connected";
        char text[sizeof(connected)];
        return xpv_xs_read(bus_, XPV_XS_OWN, "hotplug-status", text, sizeof(text)) ==
                   static_cast<int>(sizeof(connected) - 1) &&
               __builtin_memcmp(text, connected, sizeof(connected)) == 0;
    }

    Result<Step> next_step(Event event) noexcept {
        PeerState peer{};
        XPV_TRY_SET(peer, read_peer());
        const bool online = read_online();
        if (role == Role::Front && phase_ == Phase::Connected && event == Event::Changed &&
            peer == PeerState::Closing && self().in_use())
            peer = PeerState::Connected; // it serves on until we close
        // A backend that was bound anew finds us in service and may be taking over our rings
        // just now: they stay until it has seen us leave.
        if (adopts && phase_ == Phase::Connected && event == Event::Changed &&
            peer == PeerState::InitWait) {
            xpv_end_poke(bus_, XPV_RENEW, 0);
            return Step{action_none, phase_, 0, true};
        }
        const Step step = next(role, phase_, peer, event, online);
        if (role == Role::Front && peer == PeerState::Unknown && event == Event::Changed &&
            (phase_ == Phase::Attached || phase_ == Phase::Connected))
            xpv_log(bus_, XPV_LOG_WARN,
                    "domain %u has no backend for this device any more: no service until the "
                    "toolstack attaches it anew",
                    this->peer());
        if (role == Role::Front && phase_ == Phase::Closed && !step.empty && !leaving_ &&
            !self().released()) {
            xpv_end_poke(bus_, XPV_CHANGED, release_ms);
            return Step{action_none, phase_, 0, true};
        }
        if (role == Role::Back && step.empty && event == Event::Changed && !broken() &&
            phase_ == Phase::Attached && ready())
            return next(role, phase_, peer, Event::Ready, online);
        return step;
    }

    Result<void> settle(xpv_event what) noexcept {
        if (what == XPV_PROBED && role == Role::Front)
            (void)xpv_xenbus_switch(bus_, shown(phase_));
        Event event = event_of(what);
        for (uint32_t i = 0; i < most_steps; ++i) {
            Step step;
            XPV_TRY_SET(step, next_step(event));
            if (step.wait_for != 0)
                (void)xpv_end_wait(bus_, step.wait_for, wait_ms);
            if (step.empty && i == 0 && what == XPV_CHANGED && phase_ == Phase::Connected)
                self().look_again();
            // Closed for good. The bus unregisters the device once the toolstack has removed
            // its folder; we never do: who unregisters a device holds its lock, which the bus
            // takes in a thread that we would have to wait for.
            if (step.empty || (step.actions & action_unregister))
                break;
            if (role == Role::Back && phase_ == Phase::Initialising && step.to == Phase::Closing &&
                !leaving_)
                xpv_end_report(bus_, to_errno(Error::Protocol),
                               "the frontend is connected to a backend that is gone: it has to "
                               "reconnect by itself, or its guest to be created anew");
            XPV_TRY(take(step));
            if (event == Event::Broken || (event == Event::Renew && phase_ == Phase::Closed))
                event = Event::Changed;
        }
        return {};
    }

    // Act, show, then set the phase: nobody hears of what is not there.
    Result<void> take(const Step& step) noexcept {
        if constexpr (role == Role::Front) {
            if (step.actions & action_quiesce)
                self().quiesce();
        }
        if (step.actions & action_disconnect)
            leave();
        if (step.actions & action_advertise) {
            if (const Result<void> made = self().advertise(); !made.ok()) {
                xpv_log(bus_, XPV_LOG_ERR,
                        "cannot write what is offered to xenstore, will try again: error %d",
                        to_errno(made));
                xpv_end_poke(bus_, XPV_CHANGED, retry_ms);
                return made;
            }
        }
        if (step.actions & action_connect) {
            if (const uint32_t in_ms = connects_.take(xpv_now_ms()); in_ms != 0) {
                xpv_end_poke(bus_, XPV_CHANGED, in_ms);
                return Error::TryAgain;
            }
            if (const Result<void> made = connect(); !made.ok())
                return refuse(made, step.to);
        }
        // A backend serves before it says so, which a frontend may count on.
        if (role == Role::Back && (step.actions & action_announce))
            self().announce();
        const uint32_t before = shown(phase_);
        if (before != shown(step.to)) {
            const Result<void> told = check(xpv_xenbus_switch(bus_, shown(step.to)));
            if (!told.ok() && (step.actions & action_connect)) {
                leave(); // the other end will never know of these rings
                return told;
            }
            if (!told.ok() && (step.actions & action_announce)) {
                xpv_end_poke(bus_, XPV_CHANGED, retry_ms); // not in service yet
                return told;
            }
        }
        phase_ = step.to;
        if (step.actions & action_announce) {
            xpv_xenbus_well(bus_);
            if (role == Role::Front)
                self().announce();
        }
        return {};
    }

    Result<void> connect() noexcept {
        fault_.clear();
        return self().connect();
    }

    // No connection. What passes is tried again from here. A backend leaves a frontend whose
    // rings it cannot use, so that it may try others; a frontend waits for another offer.
    Result<void> refuse(const Result<void>& why, Phase to) noexcept {
        leave();
        const char* const other = role == Role::Front ? "backend" : "frontend";
        if (is_shortage(why.error())) {
            xpv_log(bus_, XPV_LOG_ERR, "no connection to the %s, will try again: error %d", other,
                    to_errno(why));
            return why;
        }
        xpv_end_report(bus_, to_errno(why), "cannot connect to the %s", other);
        if (role == Role::Front)
            return why;
        connects_.charge(xpv_now_ms(), fault_tokens);
        phase_ = to;
        return take(next(role, phase_, PeerState::Connected, Event::Broken, true));
    }

    // Nobody is on the data path afterwards: what it found wrong can be told.
    void leave() noexcept {
        self().disconnect();
        fault_.report();
    }

    // Another life: references and channels of the old one are no more, which ending them
    // finds out by itself; the other end is another one and knows nothing of us.
    int resume() noexcept {
        self().disconnect();
        fault_.clear();
        phase_ = Phase::Initialising;
        return 0; // the bus watches the other end anew, and says CHANGED
    }

    static constexpr uint32_t shown(Phase phase) noexcept {
        return wire_state(role, phase, attached_state);
    }

    xpv_xenbus* const bus_;
    Phase phase_ = Phase::Initialising;
    bool leaving_ = false;
    FaultLine fault_;
    // A connection costs locks of the whole system, grace periods, hypercalls and lines in
    // the log, and the other end says how often: at first so many, then four per second.
    TokenBucket connects_{16, 250};
};

} // namespace xpv
