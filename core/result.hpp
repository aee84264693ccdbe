// SPDX-License-Identifier: GPL-2.0-only
// Errors as values: Result<T> inside C++, -errno where C begins.
#pragma once

#include "core/std.hpp"

namespace xpv {

enum class Error : int {
    NoEntry = 2,     // ENOENT
    TooBig = 7,      // E2BIG
    TryAgain = 11,   // EAGAIN
    NoMemory = 12,   // ENOMEM
    Denied = 13,     // EACCES
    Busy = 16,       // EBUSY
    NoDevice = 19,   // ENODEV
    Invalid = 22,    // EINVAL
    NoSpace = 28,    // ENOSPC
    Range = 34,      // ERANGE
    Protocol = 71,   // EPROTO: the peer broke the protocol
    Unsupported = 95 // EOPNOTSUPP
};

constexpr int to_errno(Error error) noexcept { return -static_cast<int>(error); }

template <class T> class [[nodiscard]] Result {
public:
    constexpr Result(T value) noexcept : value_{move(value)} {}
    constexpr Result(Error error) noexcept : error_{error}, ok_{false} {}

    constexpr explicit operator bool() const noexcept { return ok_; }
    constexpr bool ok() const noexcept { return ok_; }
    constexpr Error error() const noexcept { return error_; }
    // Only after ok().
    constexpr T& value() noexcept { return value_; }
    constexpr const T& value() const noexcept { return value_; }
    constexpr T take() noexcept { return move(value_); }
    constexpr T value_or(T other) const noexcept { return ok_ ? value_ : other; }

private:
    T value_{};
    Error error_{};
    bool ok_ = true;
};

template <> class [[nodiscard]] Result<void> {
public:
    constexpr Result() noexcept = default;
    constexpr Result(Error error) noexcept : error_{error}, ok_{false} {}

    constexpr explicit operator bool() const noexcept { return ok_; }
    constexpr bool ok() const noexcept { return ok_; }
    constexpr Error error() const noexcept { return error_; }

private:
    Error error_{};
    bool ok_ = true;
};

// Memory, references, channels and xenstore's quota come back without anybody saying so:
// worth another try after a while.
constexpr bool is_shortage(Error error) noexcept {
    return error == Error::NoMemory || error == Error::NoSpace || error == Error::TryAgain ||
           error == Error::Busy;
}

// An errno from C; the caller knows that it is negative. Codes that the enum
// does not name travel through unchanged.
constexpr Error from_errno(int code) noexcept { return static_cast<Error>(-code); }

inline Result<void> check(int code) noexcept {
    if (code < 0)
        return from_errno(code);
    return {};
}

constexpr int to_errno(const Result<void>& result) noexcept {
    return result.ok() ? 0 : to_errno(result.error());
}

} // namespace xpv

// Hand an error up, or go on. XPV_TRY for Result<void>, XPV_TRY_SET to keep a value.
#define XPV_TRY(expression)                                                                        \
    do {                                                                                           \
        if (auto xpv_try_result = (expression); !xpv_try_result.ok())                              \
            return xpv_try_result.error();                                                         \
    } while (0)

#define XPV_TRY_SET(target, expression)                                                            \
    do {                                                                                           \
        auto xpv_try_result = (expression);                                                        \
        if (!xpv_try_result.ok())                                                                  \
            return xpv_try_result.error();                                                         \
        (target) = xpv_try_result.take();                                                          \
    } while (0)
