// SPDX-License-Identifier: GPL-2.0-only
// What the other end wrote, copied out of shared memory and not judged yet.
#pragma once

#include "core/std.hpp"

namespace xpv {

// The value comes out by a check only, or by a word that says that none is needed.
template <class T> class Untrusted : NoCopy {
public:
    explicit constexpr Untrusted(const T& value) noexcept : value_{value} {}
    // What read(to) writes, where it stays.
    template <class Read> [[gnu::always_inline]] static Untrusted of(Read read) noexcept {
        return Untrusted{read, 0};
    }

    // A member of it, trusted no more than the whole.
    template <class Member, class Whole>
    constexpr Untrusted<Member> part(Member Whole::*member) const noexcept {
        return Untrusted<Member>{value_.*member};
    }
    // Whether it is what it has to be.
    constexpr bool is(const T& expected) const noexcept { return value_ == expected; }
    // What check makes of it: a Result of what it stands for.
    template <class Check> constexpr auto checked(Check check) const noexcept {
        return check(value_);
    }
    // As it is: any value will do, or people are to see it.
    constexpr const T& raw() const noexcept { return value_; }

private:
    template <class Read> [[gnu::always_inline]] Untrusted(Read read, int) noexcept {
        read(value_);
    }

    T value_;
};

} // namespace xpv
