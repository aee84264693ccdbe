// SPDX-License-Identifier: GPL-2.0-only
// What a test says.
//
//     TEST(ring_wraps) {                   // and CASE(ring_wraps) in kunit/cases/
//         CHECK(ring.empty());             // fails the test and returns from here
//         CHECK_EQ(ring.free(), 256u);     // the same, and shows both values
//         CHECK_STREQ(text, "connected");
//         if (!EXPECT_EQ(a, b)) ...        // fails the test and goes on: a bool
//     }
//
// CHECK* return from the enclosing function, so destructors run: use them in
// functions that return void, and EXPECT* elsewhere. No test ever ends its thread.
#pragma once

#include "core/std.hpp"
#include "kunit/os.h"

struct kunit;

#define SUITE(topic)
#define CASE(name) extern "C" void name(struct kunit*);
#define END_SUITE(topic)
#define END_SUITE_THAT_FAILS(topic)
#include "kunit/cases.h" // IWYU pragma: keep

#define TEST(name) extern "C" void name([[maybe_unused]] struct kunit* test)

#define EXPECT(condition) ::xpv::test::expect(!!(condition), __FILE__, __LINE__, #condition)
#define EXPECT_EQ(a, b)                                                                            \
    ::xpv::test::expect_equal(::xpv::test::value((a)), ::xpv::test::value((b)), __FILE__,          \
                              __LINE__, #a " == " #b)
#define EXPECT_STREQ(a, b) ::xpv::test::expect_same_text((a), (b), __FILE__, __LINE__, #a " == " #b)

#define XPV_TEST_OR_RETURN(expectation)                                                            \
    do {                                                                                           \
        if (!(expectation))                                                                        \
            return;                                                                                \
    } while (0)
#define CHECK(condition) XPV_TEST_OR_RETURN(EXPECT(condition))
#define CHECK_EQ(a, b) XPV_TEST_OR_RETURN(EXPECT_EQ(a, b))
#define CHECK_STREQ(a, b) XPV_TEST_OR_RETURN(EXPECT_STREQ(a, b))

namespace xpv::test {

// Any scalar, and core/id.hpp's ids. Integers are equal as numbers, whatever their types.
struct Value {
    enum class Is : uint8_t { Bool, Negative, Number };
    Is is;
    uint64_t bits;
};

template <class T> constexpr Value value(const T& scalar) noexcept {
    if constexpr (__is_enum(T))
        return value(static_cast<__underlying_type(T)>(scalar));
    else if constexpr (requires(T x) { *x; } || __is_same(T, decltype(nullptr)))
        return {Value::Is::Number, reinterpret_cast<uintptr_t>(scalar)};
    else if constexpr (requires(T x) { x.number(); })
        return value(scalar.number());
    else if constexpr (__is_same(T, bool))
        return {Value::Is::Bool, scalar};
    else
        return {scalar < T{} ? Value::Is::Negative : Value::Is::Number,
                static_cast<uint64_t>(scalar)};
}

// A line of text that never overflows.
class Text {
public:
    Text& add(const char* text) noexcept;
    Text& add(Value value) noexcept; // hexadecimal too beside a large one
    const char* text() const noexcept { return text_; }

private:
    void put(char c) noexcept;
    void digits(uint64_t value, uint32_t base) noexcept;

    char text_[320] = {};
    uint32_t length_ = 0;
};

[[gnu::cold]] void differ(Value a, Value b, const char* file, int line,
                          const char* condition) noexcept;

inline bool expect_equal(Value a, Value b, const char* file, int line,
                         const char* condition) noexcept {
    const bool negative = (a.is == Value::Is::Negative) != (b.is == Value::Is::Negative);
    if (a.bits == b.bits && !negative) [[likely]]
        return true;
    differ(a, b, file, line, condition);
    return false;
}

bool expect(bool holds, const char* file, int line, const char* condition) noexcept;
bool expect_same_text(const char* a, const char* b, const char* file, int line,
                      const char* condition) noexcept;
} // namespace xpv::test
