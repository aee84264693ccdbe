// SPDX-License-Identifier: GPL-2.0-only
// for (uint32_t n : each(0u, 1u, 17u)): a list of values, since there is no
// <initializer_list> here.
#pragma once

namespace xpv::test {

template <class T, unsigned n> struct Values {
    T value[n];
    constexpr const T* begin() const noexcept { return value; }
    constexpr const T* end() const noexcept { return value + n; }
};

template <class T, class... More>
constexpr Values<T, 1 + sizeof...(More)> each(T first, More... more) noexcept {
    return {{first, static_cast<T>(more)...}};
}

} // namespace xpv::test
