// SPDX-License-Identifier: GPL-2.0-only
// The pages that are out, in extents: how they go to Xen and come back, and what becomes
// of those that Xen took or gave only in part.
#pragma once

#include "balloon/abi.h"
#include "balloon/controller.hpp"
#include "core/std.hpp"

namespace xpv::balloon {

// Orders from the cheapest per page to the last resort: 2 MiB, 64 KiB, 4 KiB.
inline constexpr uint32_t ladder[] = {9, 4, 0};
inline constexpr uint32_t steps = 3;
inline constexpr uint32_t singles = steps - 1;
constexpr Pages pages_of(uint32_t step) noexcept { return Pages{1} << ladder[step]; }

class Extents : NoCopy {
public:
    // counters: outlives this.
    Extents(xpv_balloon_os* os, xpv_balloon_counters& counters) noexcept
        : os_{os}, counters_{counters} {}

    // One batch of up to `want` pages to Xen: how many went. Up to `spare` of them are
    // taken from free memory; beyond it only what a reclaim at `rung` finds. May sleep.
    Pages inflate(Pages want, Pages spare, Rung rung) noexcept;
    // One batch of up to `want` pages back: how many the kernel has now. No allocation.
    Pages deflate(Pages want) noexcept;

    Pages back() const noexcept; // pages that can come back
    Pages lost() const noexcept { return counters_.lost; }
    Pages out() const noexcept { return back() + lost(); }
    uint64_t count(uint32_t step) const noexcept { return lists_[step].count; }
    // Of the last call: memory came from a reclaim that was the balloon's doing.
    bool reclaimed() const noexcept { return reclaimed_; }

private:
    // First in, last out; linked through a word of each extent.
    struct List {
        uint64_t first = 0;
        uint64_t count = 0;
    };

    void push(uint32_t step, uint64_t pfn) noexcept;
    uint64_t pop(uint32_t step) noexcept;
    void lose(uint32_t step, uint32_t from, uint32_t until) noexcept;
    void give_up(uint32_t step, uint32_t from, uint32_t until) noexcept;
    Pages give(uint32_t step, uint32_t count) noexcept;
    Pages take(uint32_t step, uint32_t count) noexcept;
    bool split_one() noexcept;

    xpv_balloon_os* const os_;
    xpv_balloon_counters& counters_;
    List lists_[steps];
    // Xen stopped inside an extent of a higher order: none of those is given any more.
    uint32_t highest_ = 0;
    bool reclaimed_ = false;
    uint64_t pfns_[XPV_BALLOON_BATCH];
};

} // namespace xpv::balloon
