// SPDX-License-Identifier: GPL-2.0-only
// How much memory a guest should have: pure decisions in whole numbers, no clock and no
// system of its own. The module feeds it from the kernel, scripts/gauge-sim from traces.
// docs/GAUGE.md has the law and why it is stable.
#pragma once

#include "balloon/gauge.hpp"

namespace xpv::balloon {

using Pages = uint64_t; // of 4 KiB

// How hard a page may be asked for: each rung allows what those before it do.
enum class Rung : uint8_t {
    Free,  // free pages only; wakes nobody
    Clean, // clean page cache
    Slab,  // and caches of the file systems, writeback
    Swap,  // and anonymous memory
};
inline constexpr uint32_t rung_count = 4;

// One look at the guest. Counters grow for ever; differences are the controller's.
struct Sample {
    uint64_t now_ms = 0;
    Pages held = 0;      // what the guest has: its memory without the balloon's
    Pages max = 0;       // what the toolstack lets it have (memory/target)
    Pages free = 0;      // free pages
    Pages available = 0; // MemAvailable
    Pages cache = 0;     // clean file pages that a reclaim would find
    Pages anonymous = 0, unevictable = 0, slab_fixed = 0,
          kernel = 0;             // cannot be reclaimed;
                                  // kernel: stacks and page tables
    Pages watermarks = 0;         // the sum of the zones' high ones
    uint64_t refaults = 0;        // file and anonymous pages that came back
    uint64_t direct_reclaims = 0; // allocations that had to reclaim
    bool swap = false;            // anonymous pages can go somewhere
    bool ours = false;            // this tick's reclaim is the balloon's own doing
};

struct Limits {
    Pages floor = 0;           // never below, whoever asks; in addition to the computed one
    Pages wish = 0;            // cache to have beyond the floor, if there is plenty
    uint32_t slew_percent = 5; // of the slack that one tick may give, 1..100
    uint32_t tick_ms = 1000;   // between samples, 100..60000
};

struct Decision {
    // To hold: max at most. A max below the floor is followed down to the floor and no further.
    Pages goal = 0;
    Pages floor = 0;        // as computed from this sample
    Rung rung = Rung::Free; // how hard to ask for what must be given
    bool hungry = false;    // the guest lacks memory, or cache, whatever the host has
    bool at_rest = false;   // nothing changes while sample and level stay: no tick is needed
};

class Controller {
public:
    explicit Controller(const Limits& limits) noexcept : limits_{limits} {}

    void set(const Limits& limits) noexcept { limits_ = limits; }
    // Each tick, and once whenever the gauge or the target changes. level 0 without a gauge:
    // then the goal is max, a plain balloon.
    Decision tick(const Sample& sample, Level level, bool gauge_known) noexcept;
    // The guest ran out of memory and got `pages` back: they are not asked for again
    // for a minute.
    void relieved(Pages pages, uint64_t now_ms) noexcept;

private:
    Limits limits_;
    Pages look(const Sample& sample, Pages floor, uint64_t elapsed_ms) noexcept;
    Pages law(const Sample& sample, Pages floor, Pages bottom, Level level,
              uint64_t ms) const noexcept;

    Pages eased_ = 0; // of relieved(), until eased_until_ms_
    uint64_t eased_until_ms_ = 0;
    uint64_t last_ms_ = 0, last_refaults_ = 0, last_reclaims_ = 0;
    Pages last_used_ = 0;    // held and not available
    Pages lack_ = 0;         // at the last tick, of memory that cannot be had otherwise
    Pages thirst_ = 0;       // and of cache
    uint64_t hunger_ = 0;    // 256ths of refaults per second, smoothed
    Rung rung_ = Rung::Free; // of the last decision
    Pages goal_ = 0;
    bool calm_ = true;  // may be asked to give
    bool seen_ = false; // last_* are from a sample
};

} // namespace xpv::balloon
