// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/host/cases.hpp"
#include "net/host/receive.hpp"
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
    };
}

struct Mistake {
    const char* name;
    Fault fault;
    const char* breaks; // how
};
const Mistake mistakes[] = {
    {"caught-arm-after-complete", Fault::ArmAfterComplete, "an event was lost"},
    {"caught-arm-before-stop", Fault::ArmBeforeStop, "an EOI before"},
    {"caught-eoi-in-stop", Fault::EoiInStop, "an EOI while"},
    {"caught-eoi-though-kept", Fault::EoiThoughKept, "an EOI while"},
    {"caught-done-without-number", Fault::DoneWithoutNumber, "an EOI before"},
    {"caught-found-forgotten", Fault::FoundForgotten, "work was found"},
    {"caught-arm-without-fence", Fault::ArmWithoutFence, "an event was lost"},
    {"caught-publish-without-fence", Fault::PublishWithoutFence, "an event was lost"},
    {"caught-stopped-after-arm", Fault::StoppedAfterArm, "the queue is stopped for ever"},
    {"caught-event-moved", Fault::EventMoved, "a sender at his limit"},
};

int run(int argc, char** argv) {
    Cases cases{"net-interleave"};
    for (const Scenario& s : scenarios())
        cases.holds(s.name, s.play);
    for (const Mistake& m : mistakes) {
        Cases::Plays plays;
        for (const Scenario& s : scenarios())
            plays.emplace_back(s.name, [play = s.play, &m](const Limits& limits) {
                fault = m.fault;
                const Verdict verdict = play(limits);
                fault = Fault::None;
                return verdict;
            });
        cases.breaks(m.name, std::move(plays), m.breaks);
    }
    return cases.run(argc, argv);
}

} // namespace
} // namespace xpv::host

int main(int argc, char** argv) { return xpv::host::run(argc, argv); }
