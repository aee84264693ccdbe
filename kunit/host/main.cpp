// SPDX-License-Identifier: GPL-2.0-only
// The suites of cases.h as a host program: suites [GLOB], as `make kunit SUITE=GLOB`.
// Prints KTAP; exit status 1 if a test failed.
#include <cstdio>
#include <cstring>
#include <fnmatch.h>

#include "kunit/check.hpp"
#include "kunit/host/host.hpp"

namespace {

struct Case {
    const char* name;
    void (*run)(struct kunit*);
};

unsigned suites_run = 0;
unsigned suites_failed = 0;

void run_suite(const char* suite, const Case* cases, unsigned count, const char* glob) {
    const char* dot = strchr(glob, '.');
    char suite_glob[128];
    snprintf(suite_glob, sizeof(suite_glob), "%.*s",
             dot != nullptr ? static_cast<int>(dot - glob) : 127, glob);
    if (fnmatch(suite_glob, suite, 0) != 0)
        return;
    bool good = true;
    printf("    KTAP version 1\n    # Subtest: %s\n", suite);
    unsigned number = 0;
    for (unsigned i = 0; i < count; ++i) {
        if (dot != nullptr && fnmatch(dot + 1, cases[i].name, 0) != 0)
            continue;
        const unsigned before = xpv::host::failures;
        // Tests look at nothing but its presence.
        static char kunit[64];
        cases[i].run(reinterpret_cast<struct kunit*>(kunit));
        const bool passed = xpv::host::failures == before;
        printf("    %sok %u %s\n", passed ? "" : "not ", ++number, cases[i].name);
        good = good && passed;
    }
    printf("    1..%u\n%sok %u %s\n", number, good ? "" : "not ", ++suites_run, suite);
    suites_failed += !good;
}

} // namespace

int main(int argc, char** argv) {
    const char* glob = argc > 1 ? argv[1] : "*";
    setvbuf(stdout, nullptr, _IOLBF, 0);
    printf("KTAP version 1\n");

    // clang-format off
#define SUITE(topic) { static const Case cases[] = {
#define CASE(name) {#name, name},
#define END_SUITE(topic) }; run_suite(#topic, cases, sizeof(cases) / sizeof(Case), glob); }
    // Not these: sanitizers end the process where KASAN reports.
#define END_SUITE_THAT_FAILS(topic) }; (void)cases; }
#include "kunit/cases.h"
    // clang-format on

    printf("1..%u\n", suites_run);
    return suites_failed == 0 && suites_run != 0 ? 0 : 1;
}
