// SPDX-License-Identifier: GPL-2.0-only
// Lock words taken apart: what the algorithm asks of a layout, and the layout of our own
// lock type. abi.h says what its word holds; the kernel's word is in word32.hpp.
#pragma once

#include "pvlock/abi.h"

namespace xpv::pvlock {

// Ids of queue nodes; 0 is no node.
constexpr uint16_t id_of(uint32_t cpu, uint32_t level) noexcept {
    return static_cast<uint16_t>(cpu * XPV_PVLOCK_LEVELS + level + 1);
}
constexpr uint32_t cpu_of(uint16_t id) noexcept { return (id - 1u) / XPV_PVLOCK_LEVELS; }
constexpr uint32_t level_of(uint16_t id) noexcept { return (id - 1u) % XPV_PVLOCK_LEVELS; }

// The fields that every layout has. The holder's is the lowest, owner_bits wide; the flags
// stand from flags_at in abi.h's order.
template <class T, unsigned owner_bits, unsigned flags_at, unsigned head_at, unsigned tail_at,
          unsigned id_bits>
struct Fields {
    using Word = T;
    static constexpr Word outsider = Word{XPV_PVLOCK_OUTSIDER} >> 16 << flags_at;
    static constexpr Word head_up = Word{XPV_PVLOCK_HEAD_UP} >> 16 << flags_at;
    static constexpr Word reserved = Word{XPV_PVLOCK_RESERVED} >> 16 << flags_at;
    static constexpr Word owner_mask = (Word{1} << owner_bits) - 1;
    static constexpr Word id_mask = (Word{1} << id_bits) - 1;
    static constexpr Word queue_mask = id_mask << head_at | id_mask << tail_at;

    static constexpr uint16_t head_of(Word word) noexcept {
        return static_cast<uint16_t>(word >> head_at & id_mask);
    }
    static constexpr uint16_t tail_of(Word word) noexcept {
        return static_cast<uint16_t>(word >> tail_at & id_mask);
    }
    static constexpr Word queue_of(uint16_t head, uint16_t tail) noexcept {
        return Word{head} << head_at | Word{tail} << tail_at;
    }
    static constexpr bool is_free(Word word) noexcept { return (word & owner_mask) == 0; }
    // Whether a waiter that is not the head may take the lock.
    static constexpr bool free_to_all(Word word) noexcept {
        return (word & (owner_mask | reserved)) == 0;
    }
    // Whether an unlock must wake the head: an outsider takes the lock, unless it is
    // reserved, then only the head can.
    static constexpr bool must_wake(Word word) noexcept {
        const bool wake = (word & (head_up | outsider)) != outsider || (word & reserved) != 0;
        return wake && (word & head_up) == 0 && head_of(word) != 0;
    }
};

// The word of an xpv_spinlock, which names its owner.
struct OwnWord : Fields<uint64_t, 16, 16, XPV_PVLOCK_HEAD_SHIFT, XPV_PVLOCK_TAIL_SHIFT, 16> {
    static_assert(owner_mask == XPV_PVLOCK_OWNER && outsider == XPV_PVLOCK_OUTSIDER &&
                  head_up == XPV_PVLOCK_HEAD_UP && reserved == XPV_PVLOCK_RESERVED);

    static constexpr uint16_t owner_of(Word word) noexcept { return static_cast<uint16_t>(word); }
    // A word that this CPU may unlock.
    static constexpr bool held_by(Word word, uint32_t cpu) noexcept {
        return owner_of(word) == cpu + 1;
    }
    // What the word of a free lock becomes when this CPU takes it.
    static constexpr Word taken(Word word, uint32_t cpu) noexcept { return word | (cpu + 1); }
    // What the word becomes when a waiter leaves it such: each unlock looks at all of it.
    static constexpr Word left(Word word) noexcept { return word; }
};

} // namespace xpv::pvlock
