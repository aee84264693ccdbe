// SPDX-License-Identifier: GPL-2.0-only
// Every run of a small world, by replay: a search over all choices that the world offers,
// with a bound on preemptions. States seen before are not searched again.
//
// A World has: reset(), choices(), make(), finished(), at_rest(), hash(), tell(), fail(),
// broken(). Its Move has a Step, which is a CPU that goes on; all other moves are accidents.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

namespace xpv::host {

inline uint64_t mix(uint64_t h, uint64_t value) {
    h ^= value + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdull;
    return h ^ (h >> 33);
}

template <class Move> struct Choice {
    Move move;
    uint8_t cpu;
};

struct Verdict {
    std::string broken; // what went wrong; empty: nothing can
    uint64_t states = 0;
    uint64_t runs = 0;
    size_t depth = 0;
    bool complete = true; // all states within the bound were seen
    std::string story;    // the moves of the run that broke
};

struct Limits {
    uint64_t states = 4'000'000;
    bool story = false; // keep the moves of a run that breaks
};

// All runs of a world with at most `bound` preemptions: moves to another CPU, or
// accidents, while the last CPU could have gone on. Stops at the first that breaks.
template <class World> Verdict search(World& world, int bound, const Limits& limits) {
    using Move = typename World::Move;
    struct Point {
        uint8_t taken;
        uint8_t count;
    };
    Verdict verdict;
    std::unordered_set<uint64_t> seen;
    seen.reserve(1 << 20);
    std::vector<Point> path;
    Choice<Move> options[16];
    for (;;) {
        ++verdict.runs;
        world.reset();
        size_t at = 0;
        int left = bound;
        int last = -1;
        verdict.story.clear();
        while (!world.finished()) {
            bool progress;
            const int all = world.choices(options, progress);
            if (!progress) {
                world.at_rest();
                break;
            }
            // The last CPU's own step comes first; without preemptions left, alone.
            int count = all;
            for (int i = 0; i < all; ++i)
                if (options[i].move == Move::Step && options[i].cpu == last) {
                    std::swap(options[0], options[i]);
                    count = left > 0 ? all : 1;
                }
            const bool going = options[0].move == Move::Step && options[0].cpu == last;
            if (at == path.size()) {
                const auto more = static_cast<uint64_t>(left) * 8 + static_cast<uint64_t>(last + 1);
                if (!seen.insert(mix(world.hash(), more)).second)
                    break;
                path.push_back({0, static_cast<uint8_t>(count)});
            }
            const Choice<Move> choice = options[path[at].taken];
            if (going && path[at].taken != 0)
                --left;
            if (choice.move == Move::Step)
                last = choice.cpu;
            ++at;
            world.make(choice);
            if (limits.story)
                verdict.story += world.tell(choice);
            if (!world.broken().empty())
                break;
            if (at > 5000) {
                world.fail("no end in 5,000 steps");
                break;
            }
        }
        verdict.depth = std::max(verdict.depth, at);
        if (!world.broken().empty()) {
            verdict.broken = world.broken();
            break;
        }
        if (seen.size() >= limits.states) {
            verdict.complete = false;
            break;
        }
        while (!path.empty() && path.back().taken + 1 == path.back().count)
            path.pop_back();
        if (path.empty())
            break;
        ++path.back().taken;
    }
    verdict.states = seen.size();
    return verdict;
}

} // namespace xpv::host
