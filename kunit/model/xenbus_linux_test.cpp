// SPDX-License-Identifier: GPL-2.0-only
// Each of our ends with Linux's driver at the other end, in every order of steps,
// faults, removals and detaches.
#include "kunit/check.hpp"
#include "kunit/model/xenbus_model.hpp"

using namespace xpv;
using namespace xpv::model;

namespace {

void our_front_linux_back(const Node& node, Moves& moves) {
    our_front(node, moves);
    linux_back(node, moves);
    toolstack(node, moves);
}

void linux_front_our_back(const Node& node, Moves& moves) {
    linux_front(node, moves);
    our_back(node, moves);
    toolstack(node, moves);
}

Node before_linux_back() noexcept {
    Node node;
    node.front.loaded = node.front.pending = true;
    node.front.wire = XenbusStateInitialising;
    node.back.wire = XenbusStateInitialising;
    return node;
}

Node before_linux_front() noexcept {
    Node node;
    node.front.wire = XenbusStateInitialising;
    node.back.loaded = node.back.pending = true;
    node.back.wire = XenbusStateInitialising;
    return node;
}

bool idle(const Node& node) noexcept {
    return node.front.loaded && node.back.loaded && node.front.running == 0 &&
           node.back.running == 0 && !node.front.pending && !node.back.pending && node.hotplug &&
           !node.deferred && !node.fault;
}

bool wanted(const Node& node) { return node.online && !node.destroyed; }

bool both_say_connected(const Node& node) {
    return wanted(node) && idle(node) && node.front.wire == XenbusStateConnected &&
           node.back.wire == XenbusStateConnected;
}

bool in_service_our_front(const Node& node) {
    return both_say_connected(node) && node.match &&
           node.front.phase == static_cast<uint8_t>(Phase::Connected);
}

bool in_service_our_back(const Node& node) {
    return both_say_connected(node) && node.match &&
           node.back.phase == static_cast<uint8_t>(Phase::Connected);
}

bool going_away(const Node& node) { return !node.online; }
bool gone(const Node& node) { return node.unregistered; }

} // namespace

TEST(xenbus_linux_back_always_connects) {
    Graph graph{before_linux_back(), our_front_linux_back};
    CHECK(graph.count() > 500);
    CHECK(graph.count_if(in_service_our_front) > 0);
    CHECK_EQ(graph.stuck(wanted, in_service_our_front, "never connects"), 0u);
}

TEST(xenbus_linux_front_always_connects) {
    Graph graph{before_linux_front(), linux_front_our_back};
    CHECK(graph.count() > 500);
    CHECK(graph.count_if(in_service_our_back) > 0);
    CHECK_EQ(graph.stuck(wanted, in_service_our_back, "never connects"), 0u);
}

TEST(xenbus_linux_back_serves_live_rings) {
    Graph graph{before_linux_back(), our_front_linux_back};
    CHECK_EQ(
        graph.count_if([](const Node& node) { return both_say_connected(node) && !node.match; },
                       "void rings"),
        0u);
}

TEST(xenbus_linux_front_is_served_live_rings) {
    Graph graph{before_linux_front(), linux_front_our_back};
    CHECK_EQ(
        graph.count_if([](const Node& node) { return both_say_connected(node) && !node.match; },
                       "void rings"),
        0u);
}

// Linux's backend does not look at `online` by itself, so here a detach begins while
// the device is in service.
TEST(xenbus_linux_back_detaches) {
    Node node = before_linux_back();
    node.front.phase = static_cast<uint8_t>(Phase::Connected);
    node.front.wire = XenbusStateConnected;
    node.back.phase = XenbusStateConnected;
    node.back.wire = XenbusStateClosing; // the toolstack's hand
    node.back.loaded = node.hotplug = node.match = true;
    node.online = false;
    Graph graph{node, [](const Node& before, Moves& moves) {
                    Moves all;
                    our_front_linux_back(before, all);
                    for (uint32_t i = 0; i < all.count; ++i)
                        if (all.kind[i] == Move::Protocol)
                            moves.add(Move::Protocol, Node::unpack(all.to[i]));
                }};
    CHECK_EQ(graph.stuck([](const Node&) { return true; }, gone, "never detaches"), 0u);
}

TEST(xenbus_linux_front_always_detaches) {
    Graph graph{before_linux_front(), linux_front_our_back};
    CHECK_EQ(graph.stuck(going_away, gone, "never detaches"), 0u);
}
