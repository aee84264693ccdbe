// SPDX-License-Identifier: GPL-2.0-only
// Pollers on several CPUs that share the credit of a vif's rate, over the real core/rate.hpp; a
// toolstack that changes the rate meanwhile. A clock goes on when all wait for it.
#pragma once

#include "core/rate.hpp"
#include "net/host/kernel.hpp"

namespace xpv::host {

struct Sharing {
    struct Shape {
        uint32_t pollers; // ..2
        uint32_t packets; // of each
        bool change;      // of the rate, to another that waits for nothing
    };
    static constexpr uint64_t start_ns = 1'000'000'000;
    static constexpr uint64_t burst_ns = RateBucket::shortest_burst_ns;
    static constexpr uint32_t bytes = 2500; // of a packet: two slices and a half
    static constexpr uint64_t cost_ns = 2'500'000;
    static constexpr uint64_t late_ns = RateTurn::longest_ns; // of who waits for the old rate

    explicit Sharing(const Shape& shape_in) : shape{shape_in} {}

    void setup(World& w) {
        bucket.set(Rate::of(1'000'000, 1'000'000).value());
        bucket.set(Rate::of(10'000, 10'000).value());
        bucket.spend(start_ns, burst_ns + cost_ns); // on debt from here on
        if (shape.change)
            bucket.spend(start_ns, 100 * late_ns);
        for (uint32_t i = 0; i < shape.pollers; ++i)
            w.thread(i == 0 ? "cpu0" : "cpu1", [this, i] { poll(i); });
        w.thread("clock", [this] {
            for (;;) {
                world().wait([this] { return due() > clock && changed; }, "time goes on");
                clock = due();
            }
        });
        if (shape.change)
            w.thread("toolstack", [this] { change(); });
    }
    void poll(uint32_t i) {
        for (uint32_t n = 0; n < shape.packets; ++n) {
            for (;;) {
                seen[i] = kicks;
                const uint64_t wait = turns[i].wait_ns(clock);
                if (wait == 0)
                    break;
                due_ns[i] = clock + wait;
                world().wait([this, i] { return clock >= due_ns[i] || kicks != seen[i]; },
                             "comes again");
                due_ns[i] = 0;
            }
            turns[i].charge(clock, bytes);
            ++passed;
        }
        if (passed == shape.pollers * shape.packets && !shape.change &&
            bucket.wait_ns(0) + burst_ns - 1 != start_ns + burst_ns + cost_ns * (passed + 1))
            world().fail("what passed is not what was paid");
    }
    void change() {
        bucket.set(Rate::of(1'000'000'000, 1'000).value());
        world().step("kicks");
        changed = true;
        if (!makes(Fault::NotKicked))
            ++kicks;
    }
    // When the first of the pollers comes again. Time stands while one that was kicked has not.
    uint64_t due() const {
        uint64_t first = 0;
        for (uint32_t i = 0; i < shape.pollers; ++i) {
            if (due_ns[i] != 0 && seen[i] != kicks)
                return 0;
            if (due_ns[i] != 0 && (first == 0 || due_ns[i] < first))
                first = due_ns[i];
        }
        return first;
    }

    void at_rest() {
        if (passed != shape.pollers * shape.packets)
            world().fail("a poller waits for ever");
        else if (shape.change && clock >= start_ns + late_ns)
            world().fail("a poller waits for the old rate's credit");
    }
    std::string tell() const {
        char text[120];
        snprintf(text, sizeof(text), "clock %+lld us, passed %u, due %lld %lld us",
                 (static_cast<long long>(clock) - static_cast<long long>(start_ns)) / 1000, passed,
                 static_cast<long long>(due_ns[0] - start_ns) / 1000,
                 static_cast<long long>(due_ns[1] - start_ns) / 1000);
        return text;
    }

    const Shape shape;
    RateBucket bucket;
    uint64_t holds = 0;
    RateTurn turns[2] = {{bucket, holds}, {bucket, holds}};
    uint64_t clock = start_ns;
    uint64_t due_ns[2] = {};
    uint32_t kicks = 0;
    uint32_t seen[2] = {}; // of them
    bool changed = !shape.change;
    uint32_t passed = 0;
};

} // namespace xpv::host
