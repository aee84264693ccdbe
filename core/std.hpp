// SPDX-License-Identifier: GPL-2.0-only
// The few pieces of a standard library that freestanding code needs.
#pragma once

#include "core/types.h"

#if __STDC_HOSTED__ // a test's program
#include <new>
#else
inline void* operator new(size_t, void* where) noexcept { return where; }
#endif

namespace xpv {

template <class T> struct RemoveReference { using Type = T; };
template <class T> struct RemoveReference<T&> { using Type = T; };
template <class T> struct RemoveReference<T&&> { using Type = T; };

template <class T>
[[nodiscard]] constexpr typename RemoveReference<T>::Type&& move(T&& value) noexcept {
    return static_cast<typename RemoveReference<T>::Type&&>(value);
}

template <class T> constexpr T min(T a, T b) noexcept { return b < a ? b : a; }
template <class T> constexpr T max(T a, T b) noexcept { return a < b ? b : a; }

template <class T> constexpr void swap(T& a, T& b) noexcept {
    T old{move(a)};
    a = move(b);
    b = move(old);
}

constexpr bool is_power_of_two(uint32_t value) noexcept {
    return value != 0 && (value & (value - 1)) == 0;
}

// Largest power of two not above value; 0 for 0.
constexpr uint32_t round_down_pow2(uint32_t value) noexcept {
    return value == 0 ? 0 : uint32_t{1} << (31 - __builtin_clz(value));
}

// A run of elements that somebody else owns.
template <class T> class Span {
public:
    constexpr Span() noexcept = default;
    constexpr Span(T* data, uint32_t size) noexcept : data_{data}, size_{size} {}
    template <uint32_t n> constexpr Span(T (&array)[n]) noexcept : data_{array}, size_{n} {}

    constexpr T* data() const noexcept { return data_; }
    constexpr uint32_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T& operator[](uint32_t i) const noexcept { return data_[i]; }
    constexpr T* begin() const noexcept { return data_; }
    constexpr T* end() const noexcept { return data_ + size_; }

private:
    T* data_ = nullptr;
    uint32_t size_ = 0;
};

// A type that is moved or stays where it is, never copied.
class NoCopy {
public:
    NoCopy(const NoCopy&) = delete;
    NoCopy& operator=(const NoCopy&) = delete;

protected:
    constexpr NoCopy() noexcept = default;
    ~NoCopy() = default;
};

} // namespace xpv
