// SPDX-License-Identifier: GPL-2.0-only
// How much of a processor the balloon takes: so many per cent of each tenth of a second.
#pragma once

#include "core/std.hpp"

namespace xpv::balloon {

class Budget {
public:
    static constexpr uint64_t window_ns = 100'000'000;
    static constexpr uint64_t ns_per_ms = 1'000'000;

    // Work was done from `from` to `until`: milliseconds to rest before more of it.
    uint32_t spend(uint64_t from, uint64_t until, uint32_t percent) noexcept {
        if (from - start_ >= window_ns) {
            start_ = from;
            spent_ = 0;
        }
        spent_ += until - from;
        if (percent >= 100 || spent_ < window_ns / 100 * percent)
            return 0;
        // A batch may have outrun its window: the rest is in proportion.
        const uint64_t whole = max(window_ns, spent_ / percent * 100);
        const uint64_t end = start_ + whole;
        start_ = end;
        spent_ = 0;
        return until >= end ? 1 : static_cast<uint32_t>((end - until) / ns_per_ms) + 1;
    }

private:
    uint64_t start_ = 0;
    uint64_t spent_ = 0;
};

} // namespace xpv::balloon
