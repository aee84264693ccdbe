// SPDX-License-Identifier: GPL-2.0-only
// What the policies of both kinds of lock share in the kernel: accesses and hypercalls.
#pragma once

#include "pvlock/lock.hpp"

namespace xpv::pvlock {

struct Linux : NoFaults {
    static xpv_pvlock_cpu& waits(uint32_t i) noexcept { return xpv_pvlock_cpus[i]; }
    static const xpv_pvlock_knobs& knobs() noexcept { return xpv_pvlock_live_knobs; }
    // Before the node is used, and after: only this CPU's interrupts look at it.
    static void set_level(xpv_pvlock_cpu& self, uint32_t level) noexcept {
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __atomic_store_n(&self.level, level, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }

    template <class T> static T load(const T& address) noexcept {
        return __atomic_load_n(&address, __ATOMIC_ACQUIRE);
    }
    template <class T> static void store(T& address, T value) noexcept {
        __atomic_store_n(&address, value, __ATOMIC_RELEASE);
    }
    template <class T> static T exchange(T& address, T value) noexcept {
        return __atomic_exchange_n(&address, value, __ATOMIC_SEQ_CST);
    }
    // Store, and a full barrier: what comes later is not done before it is seen.
    static void publish(uint32_t& address, uint32_t value) noexcept {
        __atomic_exchange_n(&address, value, __ATOMIC_SEQ_CST);
    }
    // A full barrier, whether it succeeds or not; a failure brings expected up to date.
    template <class T> static bool cas(T& address, T& expected, T desired) noexcept {
        return __atomic_compare_exchange_n(&address, &expected, desired, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
    }

    static void add(uint32_t& address, uint32_t value) noexcept {
        __atomic_fetch_add(&address, value, __ATOMIC_SEQ_CST);
    }

    static void relax() noexcept { __builtin_ia32_pause(); }
    static bool preempted(uint32_t cpu) noexcept { return xpv_pvlock_preempted(cpu); }
    static bool yield() noexcept { return xpv_pvlock_yield(); }
    static bool can_sleep(uint32_t cpu) noexcept { return xpv_pvlock_can_sleep(cpu); }
    static void clear_event(uint32_t cpu) noexcept { xpv_pvlock_clear_event(cpu); }
    static bool poll(uint32_t cpu) noexcept { return xpv_pvlock_poll(cpu); }
    static bool kick(uint32_t cpu) noexcept { return xpv_pvlock_kick(cpu); }
    static void repend(uint32_t cpu) noexcept { xpv_pvlock_kick(cpu); }
    static void queue_lock(void* queue) noexcept { xpv_pvlock_queue_lock(queue); }
    static void queue_unlock(void* queue) noexcept { xpv_pvlock_queue_unlock(queue); }
    static uint64_t clock() noexcept { return xpv_pvlock_clock(); }
};

} // namespace xpv::pvlock
