// SPDX-License-Identifier: GPL-2.0-only
// The kernel's spinlock word while its slow paths are ours. The kernel's fast paths stay:
// they take a word of 0 by making it 1, and release by what Release says.
#pragma once

#include "pvlock/word.hpp"

namespace xpv::pvlock {

// How the kernel releases a lock. Silent: a store to byte 0. ByCompare: byte 0 from 1 to
// 0, and whatever else it finds there it leaves to our unlock.
enum class Release : uint8_t { Silent, ByCompare };

//   0..7   0 free; 1 held; slow: held, and its unlock must look at who waits
//   8..10  flags
//  11..20  head of the queue
//  21..30  tail of the queue
// Bytes 1 to 3 are nought unless somebody waits: the kernel reads them for is_contended.
template <Release release> struct KernelWord : Fields<uint32_t, 8, 8, 11, 21, 10> {
    static constexpr Word held = 1;                              // _Q_LOCKED_VAL
    static constexpr Word slow = 3;                              // _Q_SLOW_VAL
    static constexpr bool calls = release == Release::ByCompare; // an unlock may wake
    static_assert(id_mask / XPV_PVLOCK_LEVELS == XPV_PVLOCK_KERNEL_CPUS_MAX);
    static_assert(owner_mask == 0xff &&
                  (queue_mask & (owner_mask | outsider | head_up | reserved)) == 0);

    // It names no owner: any CPU may unlock what is held.
    static constexpr bool held_by(Word word, uint32_t) noexcept { return !is_free(word); }
    static constexpr Word taken(Word word, uint32_t) noexcept { return left(word | held); }
    // The same of one that is free to all: if it has a queue, somebody is awake for it.
    static constexpr Word taken_from_others(Word word, uint32_t) noexcept { return word | held; }
    // The invariant of a held lock: a queue that nobody is awake for has the slow value.
    // One left over does no harm.
    static constexpr Word left(Word word) noexcept {
        const bool needs = calls && !is_free(word) && must_wake(word);
        return needs ? word | slow : word;
    }
};

using PvWord = KernelWord<Release::ByCompare>;
using NativeWord = KernelWord<Release::Silent>;

} // namespace xpv::pvlock
