// SPDX-License-Identifier: GPL-2.0-only
// A few pages of the pool that were used last, at hand for whoever comes next: no lock, any
// context. They are one word. Who finds it unchanged finds the same pages in it, whatever
// happened in between.
#pragma once

#include "blkfront/pool.hpp"
#include "core/barrier.hpp"

namespace xpv::blkfront {

class Hand : NoCopy {
public:
    static constexpr uint32_t most = 4;

    Hand() noexcept = default;

    // False: it is full.
    bool put(Pool::Index page) noexcept {
        uint64_t now = load_once(&pages_);
        do {
            if (now >> last != Pool::none)
                return false;
        } while (!atomic_cas(&pages_, now, now << bits | page));
        return true;
    }
    // The one that was put last, or none.
    Pool::Index take() noexcept {
        uint64_t now = load_once(&pages_);
        do {
            if ((now & Pool::none) == Pool::none)
                return Pool::none;
        } while (!atomic_cas(&pages_, now, now >> bits | uint64_t{Pool::none} << last));
        return static_cast<Pool::Index>(now & Pool::none);
    }
    uint32_t count() const noexcept {
        uint32_t count = 0;
        for (uint64_t now = load_once(&pages_); (now & Pool::none) != Pool::none; now >>= bits)
            if (++count == most)
                break;
        return count;
    }

private:
    static constexpr uint32_t bits = 8 * sizeof(Pool::Index);
    static constexpr uint32_t last = (most - 1) * bits;
    static_assert(most * bits == 64 && Pool::none == (1U << bits) - 1);

    uint64_t pages_ = ~uint64_t{0}; // the last one lowest
};

} // namespace xpv::blkfront
