// SPDX-License-Identifier: GPL-2.0-only
// Ordering and single-copy access to memory that another domain sees at the
// same time. x86 orders loads with loads and stores with stores, so rmb and wmb
// only have to hold the compiler.
#pragma once

#include "core/std.hpp"

namespace xpv {

#if !defined(__x86_64__) && !defined(__i386__)
#error "barriers are written for x86"
#endif

// Between any two steps of this file another CPU, or the other domain, may do anything,
// and what a CPU stores reaches the others late, but in order. A program that runs every
// order of such steps says here what happens; for everybody else nothing does.
#ifndef XPV_STEP
#define XPV_STEP() static_cast<void>(0)   // before each load and store
#define XPV_LOCKED() static_cast<void>(0) // before each locked instruction
#define XPV_FENCE() static_cast<void>(0)  // in mb()
#define XPV_FROM(address) (address)       // where a load of this address finds its value
#define XPV_TO(address) (address)         // where a store to it goes
#endif

inline void mb() noexcept {
    XPV_FENCE();
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
inline void rmb() noexcept { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
inline void wmb() noexcept { __atomic_thread_fence(__ATOMIC_RELEASE); }

// One load or store of one word, never split, repeated or invented.
template <class T> T load_once(const T* address) noexcept {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    XPV_STEP();
    return *static_cast<const volatile T*>(XPV_FROM(address));
}

template <class T> void store_once(T* address, T value) noexcept {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    XPV_STEP();
    *static_cast<volatile T*>(XPV_TO(address)) = value;
}

// The same between CPUs of our own, ordered with everything around them.
template <class T> T atomic_load(const T* address) noexcept {
    XPV_STEP();
    return __atomic_load_n(XPV_FROM(address), __ATOMIC_SEQ_CST);
}
template <class T> void atomic_store(T* address, T value) noexcept {
    XPV_LOCKED();
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);
}
template <class T> T atomic_exchange(T* address, T value) noexcept {
    XPV_LOCKED();
    return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);
}
// False: *address was not expected, which then holds what it is.
template <class T> bool atomic_cas(T* address, T& expected, T desired) noexcept {
    XPV_LOCKED();
    return __atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

// Copy a slot between shared and private memory in 32-bit words, each touched
// exactly once: the peer can change it before or after a word, never between two
// looks at the same word. shared is 4-byte aligned, as every ring slot is.
template <class T> void copy_from_shared(const T* shared, T& copy) noexcept {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0);
    uint32_t words[sizeof(T) / sizeof(uint32_t)];
    const auto* from = reinterpret_cast<const volatile uint32_t*>(shared);
#pragma GCC unroll 32
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
        words[i] = from[i];
    __builtin_memcpy(&copy, words, sizeof(copy));
}

template <class T> void copy_to_shared(T* shared, const T& value) noexcept {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0);
    uint32_t words[sizeof(T) / sizeof(uint32_t)];
    __builtin_memcpy(words, &value, sizeof(value));
    auto* to = reinterpret_cast<volatile uint32_t*>(shared);
#pragma GCC unroll 32
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
        to[i] = words[i];
}

} // namespace xpv
