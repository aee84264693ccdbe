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
#include <vector>

namespace xpv::host {

inline uint64_t mix(uint64_t h, uint64_t value) {
    h ^= value + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdull;
    return h ^ (h >> 33);
}

// The same of many words, faster: two independent chains of wide products.
inline uint64_t mix(uint64_t h, const uint64_t* words, size_t count) {
    const auto fold = [](uint64_t a, uint64_t b) {
        const auto product = static_cast<unsigned __int128>(a) * b;
        return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    };
    uint64_t one = h ^ 0x9e3779b97f4a7c15ull;
    uint64_t two = h ^ 0xff51afd7ed558ccdull;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        one = fold(words[i] ^ one, words[i + 1] ^ 0xa0761d6478bd642full);
        two = fold(words[i + 2] ^ two, words[i + 3] ^ 0xe7037ed1a0b428dbull);
    }
    for (; i < count; ++i)
        one = mix(one, words[i]);
    return mix(one, two);
}

// Numbers that are as good as random, none of them 0.
class SeenSet {
public:
    size_t size() const { return size_; }
    // False: it was there.
    bool insert(uint64_t value) {
        value |= value == 0;
        if (size_ * 2 >= table_.size())
            grow();
        return put(value);
    }

private:
    bool put(uint64_t value) {
        for (size_t i = value & (table_.size() - 1);; i = (i + 1) & (table_.size() - 1)) {
            if (table_[i] == value)
                return false;
            if (table_[i] == 0) {
                table_[i] = value;
                ++size_;
                return true;
            }
        }
    }
    void grow() {
        std::vector<uint64_t> old(table_.size() * 4);
        old.swap(table_);
        size_ = 0;
        for (const uint64_t value : old)
            if (value != 0)
                put(value);
    }

    std::vector<uint64_t> table_ = std::vector<uint64_t>(1 << 16);
    size_t size_ = 0;
};

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
    SeenSet seen;
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
                if (!seen.insert(mix(world.hash(), more)))
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
