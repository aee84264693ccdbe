// SPDX-License-Identifier: GPL-2.0-only
// core/xenbus_state.hpp, exhaustively over role, phase, peer's state, event, online.
#include "core/xenbus_state.hpp"
#include "kunit/check.hpp"

using namespace xpv;

namespace {

constexpr Role roles[] = {Role::Front, Role::Back};
constexpr bool flags[] = {false, true};

bool holds_rings(Phase phase) noexcept {
    return phase == Phase::Attached || phase == Phase::Connected;
}

struct Input {
    Role role;
    Phase phase;
    PeerState peer;
    Event event;
    bool online;
};

template <class Check> void for_all(Check check) {
    for (Role role : roles)
        for (uint32_t phase = 0; phase < phase_count; ++phase)
            for (uint32_t peer = 0; peer < peer_state_count; ++peer)
                for (uint32_t event = 0; event < event_count; ++event)
                    for (bool online : flags) {
                        // A frontend has no such phase.
                        if (role == Role::Front && static_cast<Phase>(phase) == Phase::Waiting)
                            continue;
                        const Input in{role, static_cast<Phase>(phase),
                                       static_cast<PeerState>(peer), static_cast<Event>(event),
                                       online};
                        check(in, next(role, in.phase, in.peer, in.event, online));
                    }
}

} // namespace

TEST(xenbus_state_numbers) {
    for (uint32_t n = 0; n < 9; ++n)
        CHECK_EQ(peer_state(n), n);
    CHECK_EQ(peer_state(9), PeerState::Unknown);
    CHECK_EQ(peer_state(256 + 4), PeerState::Unknown);
    CHECK_EQ(peer_state(0xffffffff), PeerState::Unknown);
    CHECK_EQ(wire_state(Role::Front, Phase::Attached), uint32_t{XenbusStateConnected});
    CHECK_EQ(wire_state(Role::Front, Phase::Attached, XenbusStateInitialised),
             uint32_t{XenbusStateInitialised});
    CHECK_EQ(wire_state(Role::Back, Phase::Attached), uint32_t{XenbusStateInitWait});
    for (Role role : roles) {
        CHECK_EQ(wire_state(role, Phase::Initialising), uint32_t{XenbusStateInitialising});
        CHECK_EQ(wire_state(role, Phase::Connected), uint32_t{XenbusStateConnected});
        CHECK_EQ(wire_state(role, Phase::Closing), uint32_t{XenbusStateClosing});
        CHECK_EQ(wire_state(role, Phase::Closed), uint32_t{XenbusStateClosed});
    }
}

// A caller that steps until the step is empty comes to an end, whatever the peer
// shows, and in fewer steps than the drivers allow.
TEST(xenbus_state_steps_end) {
    for_all([](const Input& in, const Step&) {
        Phase phase = in.phase;
        Event event = in.event;
        uint32_t steps = 0;
        for (; steps < 16; ++steps) {
            const Step step = next(in.role, phase, in.peer, event, in.online);
            if (step.empty || (step.actions & action_unregister))
                break;
            phase = step.to;
            if (event == Event::Broken || event == Event::Ready ||
                (event == Event::Renew && phase == Phase::Closed))
                event = Event::Changed;
        }
        CHECK(steps <= 6);
    });
}

TEST(xenbus_state_empty_step_does_nothing) {
    for_all([](const Input& in, const Step& step) {
        if (step.empty) {
            CHECK_EQ(step.actions, 0);
            CHECK_EQ(step.to, in.phase);
        } else if (!(step.actions & action_unregister)) {
            CHECK(step.to != in.phase);
        }
    });
}

// Rings are made when there are none and only on the way to Attached, and whoever
// leaves them gives them up before the next state is shown. A frontend that is
// removed quiesces first: the backend lets go, then it disconnects.
TEST(xenbus_state_rings) {
    for_all([](const Input& in, const Step& step) {
        const bool connect = step.actions & action_connect;
        const bool disconnect = step.actions & action_disconnect;
        const bool quiesce = step.actions & action_quiesce;
        CHECK_EQ(connect, !holds_rings(in.phase) && holds_rings(step.to));
        CHECK(!(connect && disconnect));
        CHECK(!(quiesce && disconnect));
        if (connect)
            CHECK_EQ(step.to, Phase::Attached);
        const bool leaves = holds_rings(in.phase) && !holds_rings(step.to);
        if (in.role == Role::Front && (in.event == Event::Remove || in.event == Event::Renew)) {
            CHECK_EQ(quiesce, leaves);
            CHECK_EQ(disconnect, in.phase == Phase::Closing);
        } else if (in.role == Role::Front && in.event == Event::Changed) {
            // Rings outlive their service while the backend may have them: it is
            // Closing, or the toolstack said so for it.
            CHECK_EQ(quiesce, leaves && in.peer == PeerState::Closing);
            CHECK_EQ(disconnect,
                     (leaves && !quiesce) ||
                         (in.phase == Phase::Closed && step.to == Phase::Initialising) ||
                         (in.phase == Phase::Closing && step.to == Phase::Closed &&
                          in.peer != PeerState::Closing));
        } else {
            // Once more on removal, to be sure.
            CHECK(in.event == Event::Remove ? disconnect || !leaves : disconnect == leaves);
            CHECK(!quiesce);
        }
        if (leaves)
            CHECK_EQ(step.to, Phase::Closing);
    });
}

TEST(xenbus_state_service) {
    for_all([](const Input& in, const Step& step) {
        const bool announce = step.actions & action_announce;
        CHECK_EQ(announce, in.phase != Phase::Connected && step.to == Phase::Connected);
        if (!announce)
            return;
        CHECK_EQ(in.phase, Phase::Attached);
        CHECK_EQ(in.peer, PeerState::Connected);
        // A backend waits for the hotplug script, a frontend for the backend.
        CHECK_EQ(in.event, in.role == Role::Back ? Event::Ready : Event::Changed);
    });
}

TEST(xenbus_state_broken_leaves_service_at_once) {
    for_all([](const Input& in, const Step& step) {
        if (in.event != Event::Broken)
            return;
        if (holds_rings(in.phase)) {
            CHECK_EQ(step.to, Phase::Closing);
            CHECK(step.actions & action_disconnect);
        } else {
            CHECK(step.empty);
        }
    });
}

TEST(xenbus_state_unregister) {
    for_all([](const Input& in, const Step& step) {
        if (!(step.actions & action_unregister))
            return;
        CHECK_EQ(in.role, Role::Back);
        CHECK_EQ(in.phase, Phase::Closed);
        CHECK_EQ(in.event, Event::Changed);
        CHECK(in.peer == PeerState::Unknown || !in.online);
        CHECK(in.peer == PeerState::Unknown || in.peer == PeerState::Closed ||
              in.peer == PeerState::Initialising);
    });
}

TEST(xenbus_state_waits_only_to_leave) {
    for_all([](const Input& in, const Step& step) {
        if (step.wait_for == 0)
            return;
        CHECK_EQ(in.role, Role::Front);
        CHECK(in.event == Event::Remove || in.event == Event::Renew);
        CHECK(step.wait_for & peer_bit(PeerState::Unknown)); // the other end may be gone
        CHECK(!(step.wait_for & peer_bit(PeerState::Connected)));
    });
}

TEST(xenbus_state_phases_of_each_role) {
    for_all([](const Input& in, const Step& step) {
        if (in.role == Role::Front) {
            CHECK(step.to != Phase::Waiting);
            CHECK(!(step.actions & (action_advertise | action_unregister)));
        } else {
            CHECK(step.to != Phase::Initialising || in.phase == Phase::Initialising);
            CHECK_EQ(!!(step.actions & action_advertise),
                     in.phase != Phase::Waiting && step.to == Phase::Waiting);
        }
    });
}

// A frontend that broke off shows Closing until the backend has let go of its rings,
// or it could come back so fast that the backend serves the old ones.
TEST(xenbus_state_front_waits_for_the_backend_to_let_go) {
    for_all([](const Input& in, const Step& step) {
        if (in.role != Role::Front || in.phase != Phase::Closing || in.event != Event::Changed)
            return;
        const bool let_go = in.peer == PeerState::Unknown || in.peer == PeerState::Closing ||
                            in.peer == PeerState::Closed || in.peer == PeerState::Initialising;
        CHECK_EQ(step.empty, !let_go);
    });
}

// The toolstack wants the device gone: no way leads a backend into service.
TEST(xenbus_state_offline_means_out) {
    for_all([](const Input& in, const Step& step) {
        if (in.role != Role::Back || in.online)
            return;
        CHECK(!(step.actions & (action_connect | action_announce)));
        if (in.event == Event::Changed && in.phase != Phase::Initialising)
            CHECK(step.to == Phase::Closing || step.to == Phase::Closed);
    });
}

// A frontend that starts from nothing (it crashed, say) finds a backend that waits for
// it, whatever was before.
TEST(xenbus_state_back_follows_a_frontend_that_starts_again) {
    for (uint32_t n = 0; n < phase_count; ++n) {
        auto phase = static_cast<Phase>(n);
        bool rings = holds_rings(phase);
        for (uint32_t steps = 0; steps < 8; ++steps) {
            const Step step =
                next(Role::Back, phase, PeerState::Initialising, Event::Changed, true);
            rings = rings && !(step.actions & action_disconnect);
            phase = step.to;
            if (step.empty)
                break;
        }
        CHECK_EQ(phase, Phase::Waiting);
        CHECK(!rings);
    }
}
