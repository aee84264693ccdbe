// SPDX-License-Identifier: GPL-2.0-only
// Our two ends together, in every order of steps, faults, removals and detaches.
#include "kunit/check.hpp"
#include "kunit/model/xenbus_model.hpp"

using namespace xpv;
using namespace xpv::model;

namespace {

void both_ours(const Node& node, Moves& moves) {
    our_front(node, moves);
    our_back(node, moves);
    toolstack(node, moves);
}

// Both ends' drivers loaded, and none has looked yet.
Node fresh() noexcept {
    Node node;
    node.front.loaded = node.front.pending = true;
    node.front.wire = XenbusStateInitialising;
    node.back.loaded = node.back.pending = true;
    node.back.wire = XenbusStateInitialising;
    return node;
}

bool connected(const End& end) noexcept {
    return end.phase == static_cast<uint8_t>(Phase::Connected);
}

bool wanted(const Node& node) { return node.online && !node.destroyed; }

bool in_service(const Node& node) {
    return wanted(node) && connected(node.front) && connected(node.back) && node.match &&
           !node.fault && node.front.wire == XenbusStateConnected &&
           node.back.wire == XenbusStateConnected && node.front.running == 0 &&
           node.back.running == 0 && !node.front.pending && !node.back.pending;
}

// Nothing will happen any more, and yet there is no connection.
bool asleep(const Node& node) {
    return node.front.loaded && node.back.loaded && node.front.running == 0 &&
           node.back.running == 0 && !node.front.pending && !node.back.pending && node.hotplug &&
           !node.fault;
}

} // namespace

TEST(xenbus_pair_always_connects) {
    Graph graph{fresh(), both_ours};
    CHECK(graph.count() > 1000);
    CHECK(graph.count_if(in_service) > 0);
    CHECK_EQ(graph.stuck(wanted, in_service, "never connects"), 0u);
}

// With both drivers there and nothing going on, a device that is wanted is in service:
// no end waits for the other, none serves rings that are not there.
TEST(xenbus_pair_never_sleeps_unconnected) {
    Graph graph{fresh(), both_ours};
    CHECK_EQ(graph.count_if(
                 [](const Node& node) { return wanted(node) && asleep(node) && !in_service(node); },
                 "asleep"),
             0u);
}

TEST(xenbus_pair_always_detaches) {
    Graph graph{fresh(), both_ours};
    CHECK_EQ(graph.stuck([](const Node& node) { return !node.online; },
                         [](const Node& node) { return node.unregistered; }, "never detaches"),
             0u);
}

// The backend's node as others see it: after Connected comes Closing, and after that
// Closed, nothing else (the toolstack's own write aside).
TEST(xenbus_pair_backend_never_skips_closing) {
    Graph graph{fresh(), both_ours};
    CHECK_EQ(graph.violations(
                 [](const Node& before, const Node& after) {
                     if (before.back.wire == after.back.wire || !before.online)
                         return true;
                     if (before.back.wire == XenbusStateConnected)
                         return after.back.wire == XenbusStateClosing;
                     if (before.back.wire == XenbusStateClosing)
                         return after.back.wire == XenbusStateClosed;
                     return true;
                 },
                 "skips"),
             0u);
}

// Data flows only over rings that both ends have.
TEST(xenbus_pair_serves_live_rings) {
    Graph graph{fresh(), both_ours};
    CHECK_EQ(
        graph.count_if(
            [](const Node& node) { return asleep(node) && connected(node.back) && !node.match; },
            "void rings"),
        0u);
}
