// SPDX-License-Identifier: GPL-2.0-only
// Two ends of a device and their world as a graph: every state that any order of
// their steps, faults, module removals and the toolstack's doings can lead to. An end
// reads the other's state when it takes a step, not in between, so it may miss states
// that come and go; a change of a state node is news for the other end (a watch).
#pragma once

#include "core/xenbus_state.hpp"
#include "kunit/os.h"

namespace xpv::model {

// One end. For our drivers phase is a Phase and running an Event + 1; models of
// Linux's keep their own state in phase, running and target.
struct End {
    uint8_t phase = 0;
    uint8_t wire = 0;    // what its state node says
    uint8_t running = 0; // 0: not in a handler
    uint8_t target = 0;
    bool pending = false; // news from the other end
    bool loaded = false;
};

struct Node {
    End front;
    End back;
    bool hotplug = false;  // hotplug-status is connected
    bool deferred = false; // Linux's backend holds its state node back until it is
    bool fault = false;    // the backend is broken and has not disconnected yet
    bool online = true;
    bool match = false; // the backend serves the rings that the frontend has now
    bool unregistered = false;
    bool destroyed = false; // the guest is gone

    uint64_t pack() const noexcept;
    static Node unpack(uint64_t bits) noexcept;
};

enum class Move : uint8_t {
    Protocol, // will happen if it can
    Fault,    // may happen
};

// The successors of one node, as a driver model reports them.
class Moves : NoCopy {
public:
    void add(Move move, const Node& node) noexcept {
        if (count < most) {
            to[count] = node.pack();
            kind[count++] = move;
        } else {
            xpv_test_fail(__FILE__, __LINE__, "a node has too many successors");
        }
    }

    static constexpr uint32_t most = 24;
    uint64_t to[most];
    Move kind[most];
    uint32_t count = 0;
};

using Successors = void (*)(const Node&, Moves&);
using Predicate = bool (*)(const Node&);

class Graph : NoCopy {
public:
    // Everything that the first node leads to.
    Graph(const Node& first, Successors successors) noexcept;
    ~Graph();

    uint32_t count() const noexcept { return count_; }
    // Nodes that satisfy the predicate; the first is described if describe is set.
    uint32_t count_if(Predicate predicate, const char* describe = nullptr) const noexcept;
    // Nodes where `from` holds and from which protocol moves alone cannot lead to a
    // node where `goal` holds. None: with a fair scheduler and no further fault the
    // goal is reached, since every node that can be reached meanwhile can reach it.
    uint32_t stuck(Predicate from, Predicate goal, const char* describe) noexcept;
    // Steps between neighbours that break a rule.
    using Rule = bool (*)(const Node& before, const Node& after);
    uint32_t violations(Rule allowed, const char* describe) const noexcept;

private:
    static constexpr uint32_t max_nodes = 1 << 18;
    static constexpr uint32_t max_edges = 1 << 21;
    static constexpr uint32_t hash_size = 1 << 19;

    uint32_t index_of(uint64_t bits) noexcept;
    void describe(const char* what, uint32_t node) const noexcept;

    uint64_t* nodes_;
    uint32_t* hash_;       // index + 1
    uint32_t* first_edge_; // of each node, and one more
    uint32_t* edges_;      // index * 2, plus 1 for a fault
    uint32_t* parent_;     // where each node was first seen from
    bool* reaches_;
    uint32_t count_ = 0;
};

// ---- the moves of each driver ------------------------------------------------------

void our_front(const Node& node, Moves& moves) noexcept;
void our_back(const Node& node, Moves& moves) noexcept;
void linux_front(const Node& node, Moves& moves) noexcept;
void linux_back(const Node& node, Moves& moves) noexcept;
void toolstack(const Node& node, Moves& moves) noexcept;

// A state node changes: the other end hears of it.
void show_front(Node& node, uint32_t state) noexcept;
void show_back(Node& node, uint32_t state) noexcept;

} // namespace xpv::model
