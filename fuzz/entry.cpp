// SPDX-License-Identifier: GPL-2.0-only
// libFuzzer's way in. What the sanitizers find ends the run, and so does a failed
// check: misuse of an upcall, a broken invariant, something that did not come back.
#include <cstdio>

#include "fuzz/input.hpp"
#include "kunit/host/host.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    xpv::fuzz::Input in{data, size};
    xpv::fuzz::one(in);
    if (xpv::host::failures != 0) {
        fflush(stdout);
        __builtin_trap();
    }
    return 0;
}
