// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/check.hpp"

namespace xpv::test {

namespace {

// The file's path from the project's folder on.
const char* short_name(const char* file) noexcept {
    const char* best = file;
    const char* before = file;
    for (const char* c = file; *c != '\0'; ++c)
        if (*c == '/') {
            best = before;
            before = c + 1;
        }
    return best;
}

void fail(const char* file, int line, const Text& text) noexcept {
    xpv_test_fail(short_name(file), line, text.text());
}

} // namespace

void Text::put(char c) noexcept {
    if (length_ + 1 < sizeof(text_))
        text_[length_++] = c;
}

Text& Text::add(const char* text) noexcept {
    for (; *text != '\0'; ++text)
        put(*text);
    return *this;
}

void Text::digits(uint64_t value, uint32_t base) noexcept {
    char reversed[24];
    uint32_t count = 0;
    do {
        reversed[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count != 0)
        put(reversed[--count]);
}

Text& Text::add(Value value) noexcept {
    if (value.is == Value::Is::Bool)
        return add(value.bits != 0 ? "true" : "false");
    if (value.is == Value::Is::Negative) {
        put('-');
        value.bits = 0 - value.bits;
    }
    digits(value.bits, 10);
    if (value.is == Value::Is::Number && value.bits > 9999) {
        add(" (0x");
        digits(value.bits, 16);
        put(')');
    }
    return *this;
}

bool expect(bool holds, const char* file, int line, const char* condition) noexcept {
    if (!holds)
        fail(file, line, Text{}.add(condition).add(" is false"));
    return holds;
}

bool expect_same_text(const char* a, const char* b, const char* file, int line,
                      const char* condition) noexcept {
    const char* x = a;
    const char* y = b;
    while (*x != '\0' && *x == *y) {
        ++x;
        ++y;
    }
    if (*x == *y)
        return true;
    fail(file, line,
         Text{}.add(condition).add(" is false: \"").add(a).add("\" != \"").add(b).add("\""));
    return false;
}

void differ(Value a, Value b, const char* file, int line, const char* condition) noexcept {
    fail(file, line, Text{}.add(condition).add(" is false: ").add(a).add(" != ").add(b));
}

} // namespace xpv::test
