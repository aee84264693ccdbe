// SPDX-License-Identifier: GPL-2.0-only
// The lock word taken apart; abi.h says what it holds.
#pragma once

#include "pvlock/abi.h"

namespace xpv::pvlock {

using Word = uint64_t;

constexpr Word outsider = XPV_PVLOCK_OUTSIDER;
constexpr Word head_up = XPV_PVLOCK_HEAD_UP;
constexpr Word reserved = XPV_PVLOCK_RESERVED;
constexpr Word owner_mask = XPV_PVLOCK_OWNER;
constexpr Word queue_mask = ~Word{0} << XPV_PVLOCK_HEAD_SHIFT;

constexpr uint16_t owner_of(Word word) noexcept { return static_cast<uint16_t>(word); }
constexpr uint16_t head_of(Word word) noexcept {
    return static_cast<uint16_t>(word >> XPV_PVLOCK_HEAD_SHIFT);
}
constexpr uint16_t tail_of(Word word) noexcept {
    return static_cast<uint16_t>(word >> XPV_PVLOCK_TAIL_SHIFT);
}
constexpr Word queue_of(uint16_t head, uint16_t tail) noexcept {
    return Word{head} << XPV_PVLOCK_HEAD_SHIFT | Word{tail} << XPV_PVLOCK_TAIL_SHIFT;
}
constexpr bool is_free(Word word) noexcept { return (word & owner_mask) == 0; }
// Whether a waiter that is not the head may take the lock.
constexpr bool free_to_all(Word word) noexcept { return (word & (owner_mask | reserved)) == 0; }

// Ids of queue nodes; 0 is no node.
constexpr uint16_t id_of(uint32_t cpu, uint32_t level) noexcept {
    return static_cast<uint16_t>(cpu * XPV_PVLOCK_LEVELS + level + 1);
}
constexpr uint32_t cpu_of(uint16_t id) noexcept { return (id - 1u) / XPV_PVLOCK_LEVELS; }
constexpr uint32_t level_of(uint16_t id) noexcept { return (id - 1u) % XPV_PVLOCK_LEVELS; }

} // namespace xpv::pvlock
