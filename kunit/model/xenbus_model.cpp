// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/model/xenbus_model.hpp"

#include "kunit/check.hpp"

namespace xpv::model {
namespace {

template <class T> T* array(uint32_t count) noexcept {
    return static_cast<T*>(xpv_test_alloc(count * sizeof(T)));
}

void push(uint64_t& bits, uint32_t value, uint32_t width) noexcept { bits = bits << width | value; }

uint8_t pop(uint64_t& bits, uint32_t width) noexcept {
    const auto value = static_cast<uint8_t>(bits & ((1U << width) - 1));
    bits >>= width;
    return value;
}

} // namespace

uint64_t Node::pack() const noexcept {
    uint64_t bits = 1; // no node is 0
    for (const End* end = &front;; end = &back) {
        push(bits, end->phase, 4);
        push(bits, end->wire, 4);
        push(bits, end->running, 4);
        push(bits, end->target, 4);
        push(bits, end->pending, 1);
        push(bits, end->loaded, 1);
        if (end == &back)
            break;
    }
    push(bits, hotplug, 1);
    push(bits, deferred, 1);
    push(bits, fault, 1);
    push(bits, online, 1);
    push(bits, match, 1);
    push(bits, unregistered, 1);
    push(bits, destroyed, 1);
    return bits;
}

Node Node::unpack(uint64_t bits) noexcept {
    Node node;
    node.destroyed = pop(bits, 1);
    node.unregistered = pop(bits, 1);
    node.match = pop(bits, 1);
    node.online = pop(bits, 1);
    node.fault = pop(bits, 1);
    node.deferred = pop(bits, 1);
    node.hotplug = pop(bits, 1);
    for (End* end = &node.back;; end = &node.front) {
        end->loaded = pop(bits, 1);
        end->pending = pop(bits, 1);
        end->target = pop(bits, 4);
        end->running = pop(bits, 4);
        end->wire = pop(bits, 4);
        end->phase = pop(bits, 4);
        if (end == &node.front)
            break;
    }
    return node;
}

void show_front(Node& node, uint32_t state) noexcept {
    node.front.wire = static_cast<uint8_t>(state);
    node.back.pending = node.back.loaded;
}

void show_back(Node& node, uint32_t state) noexcept {
    node.back.wire = static_cast<uint8_t>(state);
    node.front.pending = node.front.loaded;
}

// ---- the graph -------------------------------------------------------------------

Graph::Graph(const Node& first, Successors successors) noexcept
    : nodes_{array<uint64_t>(max_nodes)}, hash_{array<uint32_t>(hash_size)},
      first_edge_{array<uint32_t>(max_nodes + 1)}, edges_{array<uint32_t>(max_edges)},
      parent_{array<uint32_t>(max_nodes)}, reaches_{array<bool>(max_nodes)} {
    uint32_t edge = 0;
    (void)index_of(first.pack());
    for (uint32_t i = 0; i < count_; ++i) {
        Moves moves;
        successors(Node::unpack(nodes_[i]), moves);
        first_edge_[i] = edge;
        for (uint32_t m = 0; m < moves.count && edge < max_edges; ++m) {
            const uint32_t known = count_;
            const uint32_t to = index_of(moves.to[m]);
            if (to == known)
                parent_[to] = i;
            edges_[edge++] = to * 2 + (moves.kind[m] == Move::Fault ? 1 : 0);
        }
    }
    first_edge_[count_] = edge;
    if (count_ == max_nodes || edge == max_edges)
        xpv_test_fail(__FILE__, __LINE__, "the model is larger than its graph");
}

Graph::~Graph() {
    xpv_test_free(nodes_);
    xpv_test_free(hash_);
    xpv_test_free(first_edge_);
    xpv_test_free(edges_);
    xpv_test_free(parent_);
    xpv_test_free(reaches_);
}

uint32_t Graph::index_of(uint64_t bits) noexcept {
    uint32_t at = static_cast<uint32_t>((bits * 0x9e3779b97f4a7c15) >> 45) % hash_size;
    for (; hash_[at] != 0; at = (at + 1) % hash_size)
        if (nodes_[hash_[at] - 1] == bits)
            return hash_[at] - 1;
    if (count_ == max_nodes)
        return 0;
    nodes_[count_] = bits;
    hash_[at] = ++count_;
    return count_ - 1;
}

uint32_t Graph::count_if(Predicate predicate, const char* what) const noexcept {
    uint32_t found = 0;
    for (uint32_t i = 0; i < count_; ++i)
        if (predicate(Node::unpack(nodes_[i])) && found++ == 0 && what != nullptr)
            describe(what, i);
    return found;
}

uint32_t Graph::stuck(Predicate from, Predicate goal, const char* what) noexcept {
    for (uint32_t i = 0; i < count_; ++i)
        reaches_[i] = goal(Node::unpack(nodes_[i]));
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = count_; i-- > 0;)
            for (uint32_t e = first_edge_[i]; !reaches_[i] && e < first_edge_[i + 1]; ++e)
                if (edges_[e] % 2 == 0 && reaches_[edges_[e] / 2])
                    reaches_[i] = changed = true;
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < count_; ++i)
        if (!reaches_[i] && from(Node::unpack(nodes_[i])) && found++ == 0)
            describe(what, i);
    return found;
}

uint32_t Graph::violations(Rule allowed, const char* what) const noexcept {
    uint32_t found = 0;
    for (uint32_t i = 0; i < count_; ++i)
        for (uint32_t e = first_edge_[i]; e < first_edge_[i + 1]; ++e)
            if (!allowed(Node::unpack(nodes_[i]), Node::unpack(nodes_[edges_[e] / 2])) &&
                found++ == 0) {
                describe(what, i);
                describe("... to", edges_[e] / 2);
            }
    return found;
}

namespace {

void add_end(test::Text& text, const char* name, const End& end) noexcept {
    text.add(name).add(test::value(end.phase)).add("/").add(test::value(end.wire));
    if (end.running != 0)
        text.add(" runs ").add(test::value(end.running)).add("-").add(test::value(end.target));
    text.add(end.pending ? " news" : "").add(end.loaded ? "" : " unloaded");
}

} // namespace

// The way that led there, one line a node: phase/wire of each end.
void Graph::describe(const char* what, uint32_t index) const noexcept {
    uint32_t length = 1;
    for (uint32_t i = index; i != 0; i = parent_[i])
        ++length;
    for (uint32_t step = 0; step < length; ++step) {
        uint32_t i = index;
        for (uint32_t back = length - 1; back > step; --back)
            i = parent_[i];
        const Node node = Node::unpack(nodes_[i]);
        test::Text text;
        text.add(what);
        add_end(text, ": front ", node.front);
        add_end(text, ", back ", node.back);
        text.add(node.hotplug ? ", hotplug" : "").add(node.deferred ? ", deferred" : "");
        text.add(node.fault ? ", fault" : "").add(node.online ? "" : ", offline");
        text.add(node.match ? ", match" : "").add(node.unregistered ? ", unregistered" : "");
        text.add(node.destroyed ? ", destroyed" : "");
        xpv_test_fail(__FILE__, __LINE__, text.text());
    }
}

} // namespace xpv::model
