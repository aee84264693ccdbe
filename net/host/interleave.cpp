// SPDX-License-Identifier: GPL-2.0-only
// Every interleaving of what a network driver's CPUs and its peer do to one queue, up to a
// bound of preemptions, over the real core/ring.hpp, core/gate.hpp and core/evtchn.hpp. One
// step is an access of core/barrier.hpp, a locked instruction or a hypercall; plain stores
// wait in store buffers. README.md says what is real, what is a model, and what is shown.
//
// usage: net-interleave [--states N] [--story] [NAME...]     KTAP; exit status 0: all passed
#include "kunit/host/cases.hpp"
#include "net/host/backend.hpp"
#include "net/host/receive.hpp"
#include "net/host/sharing.hpp"
#include "net/host/teardown.hpp"
#include "net/host/transmit.hpp"

namespace xpv::host {
namespace {

struct Scenario {
    const char* name;
    std::function<Verdict(const Limits&)> play;
};

// bound: of preemptions.
template <class Scene> Scenario scenario(const char* name, int bound, typename Scene::Shape shape) {
    return {name, [bound, shape](const Limits& limits) {
                World world;
                world.stage<Scene>(shape);
                return search(world, bound, limits);
            }};
}

std::vector<Scenario> scenarios() {
    return {
        // publishes, weight, others, deferred, busy
        scenario<Receive>("receive-timer", 3, {3, 4, 2, false, false}),
        scenario<Receive>("receive-budget", 3, {3, 1, 1, false, false}),
        scenario<Receive>("receive-deferred", 3, {2, 4, 1, true, false}),
        scenario<Receive>("receive-busy", 3, {2, 4, 1, false, true}),
        // split, filled, wake_at, packets, senders, limit, others, netpoll
        scenario<Transmit>("transmit-shared", 2, {false, 3, 2, 2, 1, 0, 1, false}),
        scenario<Transmit>("transmit-shared-alone", 3, {false, 3, 2, 2, 1, 0, 0, false}),
        scenario<Transmit>("transmit-split", 2, {true, 3, 2, 2, 1, 0, 1, false}),
        scenario<Transmit>("transmit-two-senders", 3, {false, 3, 2, 1, 2, 0, 0, false}),
        scenario<Transmit>("transmit-netpoll", 2, {false, 3, 2, 2, 1, 0, 1, true}),
        scenario<Transmit>("transmit-limit", 3, {false, 0, 2, 3, 1, 2, 0, false}),
        scenario<Transmit>("transmit-limit-split", 3, {true, 0, 2, 3, 1, 2, 0, false}),
        scenario<Transmit>("transmit-limit-moved", 2, {false, 2, 1, 1, 2, 1, 0, false}),
        // filled, packets, timer, reconnect
        scenario<Teardown>("teardown", 2, {3, 2, false, false}),
        scenario<Teardown>("teardown-timer", 2, {1, 1, true, false}),
        scenario<Teardown>("teardown-reconnect", 1, {3, 2, false, true}),
        scenario<Teardown>("teardown-reconnect-timer", 1, {2, 2, true, true}),
        // requests, buffers, packets
        scenario<Backend>("backend-shared-gate", 3, {2, 0, 0}),
        scenario<Backend>("backend-buffers", 2, {1, 1, 2}),
        // pollers, packets, change
        scenario<Sharing>("rate-shared", 3, {2, 3, false}),
        scenario<Sharing>("rate-live", 3, {2, 2, true}),
    };
}

struct Mistake {
    const char* name;
    Fault fault;
    const char* where;  // scenarios whose names begin so
    const char* breaks; // how
};
const Mistake mistakes[] = {
    {"caught-arm-after-complete", Fault::ArmAfterComplete, "receive", "an event was lost"},
    {"caught-arm-before-look", Fault::ArmBeforeLook, "receive", "an EOI before"},
    {"caught-arm-before-look-sending", Fault::ArmBeforeLook, "transmit", "an EOI before"},
    {"caught-eoi-before-complete", Fault::EoiBeforeComplete, "receive", "an EOI while"},
    {"caught-eoi-though-kept", Fault::EoiThoughKept, "receive", "an EOI while"},
    {"caught-done-without-number", Fault::DoneWithoutNumber, "receive", "an EOI before"},
    {"caught-found-forgotten", Fault::FoundForgotten, "receive", "work was found"},
    {"caught-arm-without-fence", Fault::ArmWithoutFence, "receive", "an event was lost"},
    {"caught-publish-without-fence", Fault::PublishWithoutFence, "receive", "an event was lost"},
    {"caught-netpoll-locks", Fault::NetpollLocks, "transmit-netpoll", "waits for a lock"},
    {"caught-stopped-after-arm", Fault::StoppedAfterArm, "transmit",
     "the queue is stopped for ever"},
    {"caught-event-moved", Fault::EventMoved, "transmit", "a sender at its limit"},
    {"caught-count-ignored", Fault::CountIgnored, "teardown", ""},
    {"caught-no-first-wait", Fault::NoFirstWait, "teardown", ""},
    {"caught-no-second-wait", Fault::NoSecondWait, "teardown", ""},
    {"caught-not-started", Fault::NotStarted, "teardown-reconnect", "the queue is stopped"},
    {"caught-napi-disabled-first", Fault::DisableFirst, "teardown", ""},
    {"caught-timer-ended-first", Fault::TimerFirst, "teardown", ""},
    {"caught-rate-not-kicked", Fault::NotKicked, "rate-live", "a poller waits for the old rate"},
    {"caught-one-poller-pays-for-both", Fault::OneSharedBit, "backend", "an EOI before"},
};

int run(int argc, char** argv) {
    Cases cases{"net-interleave"};
    for (const Scenario& s : scenarios())
        cases.holds(s.name, s.play);
    for (const Mistake& m : mistakes) {
        Cases::Plays plays;
        for (const Scenario& s : scenarios()) {
            if (std::string(s.name).rfind(m.where, 0) != 0)
                continue;
            plays.emplace_back(s.name, [play = s.play, &m](const Limits& limits) {
                fault = m.fault;
                Verdict verdict = play(limits);
                fault = Fault::None;
                return verdict;
            });
        }
        cases.breaks(m.name, std::move(plays), m.breaks);
    }
    return cases.run(argc, argv);
}

} // namespace
} // namespace xpv::host

int main(int argc, char** argv) { return xpv::host::run(argc, argv); }
