// SPDX-License-Identifier: GPL-2.0-only
#include "core/result.hpp"
#include "kunit/check.hpp"

using namespace xpv;

namespace {

Result<uint32_t> half(uint32_t n) noexcept {
    if (n % 2 != 0)
        return Error::Invalid;
    return n / 2;
}

Result<void> quarter_of(uint32_t n, uint32_t& to) noexcept {
    uint32_t first = 0;
    XPV_TRY_SET(first, half(n));
    XPV_TRY_SET(to, half(first));
    return {};
}

Result<uint32_t> twice_checked(int code, uint32_t& evaluations) noexcept {
    XPV_TRY((++evaluations, check(code)));
    return evaluations;
}

// Counts its lives, to see that a result moves and never copies.
struct Token : NoCopy {
    Token() noexcept = default;
    explicit Token(int* count) noexcept : alive{count} { ++*alive; }
    Token(Token&& other) noexcept : alive{other.alive} { other.alive = nullptr; }
    ~Token() {
        if (alive != nullptr)
            --*alive;
    }
    int* alive = nullptr;
};

Result<Token> make(int* count, bool fail) noexcept {
    if (fail)
        return Error::NoMemory;
    return Token{count};
}

} // namespace

TEST(result_carries_a_value_or_an_error) {
    CHECK(half(8).ok());
    CHECK_EQ(half(8).value(), 4u);
    CHECK(!half(7).ok());
    CHECK_EQ(half(7).error(), Error::Invalid);
    CHECK_EQ(half(7).value_or(3), 3u);
    CHECK_EQ(half(8).value_or(3), 4u);
    CHECK(half(8) ? true : false);
    CHECK(half(7) ? false : true);
}

TEST(result_try_hands_up_the_first_error) {
    uint32_t n = 99;
    CHECK(quarter_of(8, n).ok());
    CHECK_EQ(n, 2u);
    n = 99;
    CHECK_EQ(quarter_of(7, n).error(), Error::Invalid);
    CHECK_EQ(quarter_of(6, n).error(), Error::Invalid);
    CHECK_EQ(n, 99u);
}

TEST(result_try_evaluates_once) {
    uint32_t evaluations = 0;
    CHECK_EQ(twice_checked(0, evaluations).value_or(0), 1u);
    CHECK(!twice_checked(-5, evaluations).ok());
    CHECK_EQ(evaluations, 2u);
}

TEST(result_is_errno_at_the_boundary) {
    CHECK_EQ(to_errno(Error::NoMemory), -12);
    CHECK_EQ(to_errno(Error::Protocol), -71);
    CHECK_EQ(to_errno(Result<void>{}), 0);
    CHECK_EQ(to_errno(Result<void>{Error::Busy}), -16);
    CHECK(check(0).ok());
    CHECK(check(17).ok()); // a count
    CHECK_EQ(check(-28).error(), Error::NoSpace);
    // A code that has no name here comes out as it went in.
    CHECK_EQ(to_errno(check(-4095)), -4095);
    CHECK_EQ(to_errno(check(-1)), -1);
}

TEST(result_moves_what_it_carries) {
    int alive = 0;
    {
        Result<Token> result = make(&alive, false);
        CHECK(result.ok());
        CHECK_EQ(alive, 1);
        const Token token = result.take();
        CHECK_EQ(alive, 1);
    }
    CHECK_EQ(alive, 0);
    CHECK(!make(&alive, true).ok());
    CHECK_EQ(alive, 0);
}

TEST(result_std_pieces) {
    static_assert(round_down_pow2(0) == 0 && round_down_pow2(1) == 1 && round_down_pow2(3) == 2 &&
                  round_down_pow2(256) == 256 && round_down_pow2(0xffffffff) == 0x80000000);
    static_assert(is_power_of_two(1) && is_power_of_two(0x80000000) && !is_power_of_two(0) &&
                  !is_power_of_two(6));
    static_assert(min(2, 3) == 2 && max(2, 3) == 3);
    int a = 1;
    int b = 2;
    swap(a, b);
    CHECK_EQ(a, 2);
    CHECK_EQ(b, 1);
    uint32_t numbers[] = {5, 6, 7};
    uint32_t sum = 0;
    for (uint32_t n : Span<const uint32_t>{numbers, 3})
        sum += n;
    CHECK_EQ(sum, 18u);
    CHECK(Span<int>{}.empty());
}
