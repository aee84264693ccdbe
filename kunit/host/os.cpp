// SPDX-License-Identifier: GPL-2.0-only
// kunit/os.h in a process on the host. A failed check is printed and counted; what the
// sanitizers find ends the process.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kunit/host/host.hpp"
#include "kunit/os.h"

namespace xpv::host {

unsigned failures = 0;

} // namespace xpv::host

extern "C" {

void* xpv_test_alloc(size_t bytes) {
    const size_t alignment = bytes != 0 && bytes % 4096 == 0 ? 4096 : 16;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0)
        abort();
    memset(memory, 0, bytes);
    return memory;
}

void xpv_test_free(void* memory) { free(memory); }

void xpv_test_format(char* text, size_t size, const char* format, __builtin_va_list arguments) {
    vsnprintf(text, size, format, arguments);
}

void xpv_test_fail(const char* file, int line, const char* text) {
    ++xpv::host::failures;
    printf("    # %s:%d: %s\n", file, line, text);
}
}
