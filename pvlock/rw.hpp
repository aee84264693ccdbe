// SPDX-License-Identifier: GPL-2.0-only
// The kernel's queued rwlock, waiting: its own algorithm, but who waits for the counts
// spins a bounded time and then yields. The queue before the counts is a spinlock of the
// kernel, whose slow path is ours already. Nobody calls the one that waits for the counts,
// so it never sleeps.
#pragma once

#include "pvlock/lock.hpp"

namespace xpv::pvlock {

// Wait until the counts are good; what they are then.
template <class Hv, class Good>
uint32_t counts_when(const uint32_t& counts, uint32_t cpu, Good good) noexcept {
    for (uint32_t turn = 0;; ++turn) {
        const uint32_t now = Hv::load(counts);
        if (good(now))
            return now;
        if (turn < Hv::knobs().spin_limit) {
            Hv::relax();
            continue;
        }
        turn = 0;
        Hv::cpu(cpu).stats.yields += Hv::yield();
    }
}

// A reader has counted itself, and finds a writer that waits or holds the lock.
template <class Hv>
void read_slow(uint32_t& counts, void* queue, bool interrupt, uint32_t cpu) noexcept {
    const auto no_writer = [](uint32_t now) { return (now & XPV_PVLOCK_RW_LOCKED) == 0; };
    ++Hv::cpu(cpu).stats.contended;
    // An interrupt may have come into a reader: it does not let a writer go first that
    // only waits.
    if (interrupt) {
        counts_when<Hv>(counts, cpu, no_writer);
        return;
    }
    Hv::add(counts, 0u - XPV_PVLOCK_RW_READER);
    Hv::queue_lock(queue);
    Hv::add(counts, XPV_PVLOCK_RW_READER);
    counts_when<Hv>(counts, cpu, no_writer);
    Hv::queue_unlock(queue);
}

template <class Hv> void write_slow(uint32_t& counts, void* queue, uint32_t cpu) noexcept {
    ++Hv::cpu(cpu).stats.contended;
    Hv::queue_lock(queue);
    const auto only_waiting = [](uint32_t all) { return all == XPV_PVLOCK_RW_WAITING; };
    uint32_t now = 0;
    if (!Hv::cas(counts, now, uint32_t{XPV_PVLOCK_RW_LOCKED})) {
        // New readers queue from here on.
        Hv::add(counts, XPV_PVLOCK_RW_WAITING);
        do {
            now = counts_when<Hv>(counts, cpu, only_waiting);
        } while (!Hv::cas(counts, now, uint32_t{XPV_PVLOCK_RW_LOCKED}));
    }
    Hv::queue_unlock(queue);
}

} // namespace xpv::pvlock
