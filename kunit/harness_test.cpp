// SPDX-License-Identifier: GPL-2.0-only
// The harness itself. The suite selftest must fail, test by test.
#include "kunit/check.hpp"

using xpv::test::Text;
using xpv::test::value;

namespace {
enum class Colour : uint8_t { Red = 7 };
}

TEST(harness_passes) {
    const int three = 3;
    CHECK(test != nullptr);
    CHECK_EQ(three, 3);
    CHECK_EQ(Colour::Red, Colour::Red);
    CHECK_STREQ("same", "same");
    CHECK(EXPECT_EQ(three, 3UL));
}

TEST(harness_text_of_values) {
    CHECK_STREQ(Text{}.add(value(-5)).text(), "-5");
    CHECK_STREQ(Text{}.add(value(int64_t{-0x7fffffffffffffff - 1})).text(), "-9223372036854775808");
    CHECK_STREQ(Text{}.add(value(0xffffffffu)).text(), "4294967295 (0xffffffff)");
    CHECK_STREQ(Text{}.add(value(uint8_t{200})).text(), "200");
    CHECK_STREQ(Text{}.add(value(true)).text(), "true");
    CHECK_STREQ(Text{}.add(value(Colour::Red)).text(), "7");
    CHECK_STREQ(Text{}.add(value(static_cast<int*>(nullptr))).text(), "0");
    Text full;
    for (int i = 0; i < 1000; ++i)
        full.add("x");
    CHECK_EQ(__builtin_strlen(full.text()), 319u);
}

#ifdef XPV_KUNIT_SELFTEST

TEST(selftest_check) { CHECK(test == nullptr); }

TEST(selftest_check_eq) {
    const uint32_t index = 0xfffffff0;
    CHECK_EQ(index + 15, 0u);
}

TEST(selftest_check_streq) { CHECK_STREQ("connected", "closed"); }

TEST(selftest_expect_goes_on) {
    CHECK(!EXPECT_EQ(1, 2));
    xpv_test_free(xpv_test_alloc(1));
}

namespace {
void helper() { CHECK(false); }
} // namespace

TEST(selftest_inside_a_call) { helper(); }

// What only the sanitizers see.
namespace {
[[gnu::noinline]] uint8_t load(const uint8_t* where) {
    return *static_cast<const volatile uint8_t*>(where);
}
} // namespace

TEST(selftest_use_after_free) {
    auto* memory = static_cast<uint8_t*>(xpv_test_alloc(40));
    xpv_test_free(memory);
    (void)load(memory);
}

TEST(selftest_out_of_bounds) {
    auto* memory = static_cast<uint8_t*>(xpv_test_alloc(4096));
    (void)load(memory + 4096);
    xpv_test_free(memory);
}

TEST(selftest_undefined) {
    const volatile uint32_t amount = 40;
    (void)load(reinterpret_cast<const uint8_t*>(test) + ((uint32_t{1} << amount) & 1));
}

#endif
