// SPDX-License-Identifier: GPL-2.0-only
// The least that a hosted test needs: TEST(name) {...}, CHECK, CHECK_EQ; KTAP by main.cpp.
#pragma once

#include <iostream>

namespace xpv::gauge::test {

struct Case {
    const char* name;
    void (*run)();
    Case* next;
};
extern Case* cases;
extern unsigned failures;

struct Enter {
    Enter(const char* name, void (*run)()) : entry{name, run, nullptr} {
        Case** at = &cases;
        while (*at != nullptr)
            at = &(*at)->next;
        *at = &entry;
    }
    Case entry;
};

template <class A, class B>
void equal(const A& a, const B& b, const char* file, int line, const char* what) {
    if (a == b)
        return;
    ++failures;
    std::cout << "# " << file << ':' << line << ": " << what << ": " << a << ", " << b << '\n';
}

} // namespace xpv::gauge::test

#define TEST(name)                                                                                 \
    static void name();                                                                            \
    static ::xpv::gauge::test::Enter name##_entry{#name, name};                                    \
    static void name()
#define CHECK_EQ(a, b) ::xpv::gauge::test::equal((a), (b), __FILE__, __LINE__, #a " == " #b)
#define CHECK(condition) CHECK_EQ(!!(condition), true)
