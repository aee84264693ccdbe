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

inline void mb() noexcept { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void rmb() noexcept { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
inline void wmb() noexcept { __atomic_thread_fence(__ATOMIC_RELEASE); }

// Between any two steps of this file another CPU, or the other domain, may do anything:
// a program that runs every order of such steps defines this, everybody else nothing.
#ifndef XPV_STEP
#define XPV_STEP() static_cast<void>(0)
#endif

// One load or store of one word, never split, repeated or invented.
template <class T> T load_once(const T* address) noexcept {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    XPV_STEP();
    return *static_cast<const volatile T*>(address);
}

template <class T> void store_once(T* address, T value) noexcept {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    XPV_STEP();
    *static_cast<volatile T*>(address) = value;
}

// The same between CPUs of our own, ordered with everything around them.
template <class T> T atomic_load(const T* address) noexcept {
    XPV_STEP();
    return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}
template <class T> void atomic_store(T* address, T value) noexcept {
    XPV_STEP();
    __atomic_store_n(address, value, __ATOMIC_SEQ_CST);
}
template <class T> T atomic_exchange(T* address, T value) noexcept {
    XPV_STEP();
    return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);
}
// False: *address was not expected, which then holds what it is.
template <class T> bool atomic_cas(T* address, T& expected, T desired) noexcept {
    XPV_STEP();
    return __atomic_compare_exchange_n(address, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

// Copy a slot between shared and private memory in 32-bit words, each touched
// exactly once: the peer can change it before or after a word, never between two
// looks at the same word. shared is 4-byte aligned, as every ring slot is.
template <class T> T copy_from_shared(const T* shared) noexcept {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0);
    uint32_t words[sizeof(T) / sizeof(uint32_t)];
    const auto* from = reinterpret_cast<const volatile uint32_t*>(shared);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
        words[i] = from[i];
    T copy;
    __builtin_memcpy(&copy, words, sizeof(copy));
    return copy;
}

template <class T> void copy_to_shared(T* shared, const T& value) noexcept {
    static_assert(sizeof(T) % sizeof(uint32_t) == 0);
    uint32_t words[sizeof(T) / sizeof(uint32_t)];
    __builtin_memcpy(words, &value, sizeof(value));
    auto* to = reinterpret_cast<volatile uint32_t*>(shared);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); ++i)
        to[i] = words[i];
}

} // namespace xpv
