// SPDX-License-Identifier: GPL-2.0-only
// From the host's free memory to one of eight levels. Pure; gauged and gauge-sim share it.
#pragma once

#include <cstdint>

#include "balloon/gauge.hpp"

namespace xpv::gauge {

using Kib = uint64_t;

struct Host {
    Kib total = 0;
    Kib free = 0;
    Kib outstanding = 0; // of free, claimed by a domain that is being built

    // What a guest could still get: Xen refuses to populate into claims.
    Kib available() const noexcept { return free > outstanding ? free - outstanding : 0; }
};

// Nothing is left at lo, there is plenty from hi on.
struct Band {
    Kib lo = 0, hi = 0;
};

// Seconds from a change of the host's memory to the last guest's reaction: a poll, an
// interval between publications, the store, a guest's tick.
constexpr uint32_t delay_s(uint32_t interval_s, uint32_t jitter_s) noexcept {
    return 1 + interval_s + jitter_s + 1;
}

// Wide enough that guests who together swing by so much, and see a change so many seconds
// late, come to rest: twice the width at which they do not. docs/GAUGE.md has the formula.
constexpr Kib stable_width(Kib swing, uint32_t delay) noexcept {
    constexpr uint64_t k = 10; // balloon/controller.cpp, thousandths per second
    return swing / 1000 * k * delay;
}

using Pressure = uint32_t; // in millionths
inline constexpr Pressure full = 1000000;

Pressure pressure_of(Kib available, const Band& band) noexcept;

// A guest of weight 200 is pressed half as hard as one of 100. Nobody is spared when
// nothing is left, and room to grow is the same for all.
Pressure weighted(Pressure pressure, uint32_t weight) noexcept;

// A level that moves only when the pressure is a quarter of a level past the border.
class Needle {
public:
    uint32_t move(Pressure pressure) noexcept; // 0..level_count - 1
    uint32_t step() const noexcept { return step_; }

private:
    uint32_t step_ = 0;
    bool moved_ = false;
};

} // namespace xpv::gauge
