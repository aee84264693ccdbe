// SPDX-License-Identifier: GPL-2.0-only
// The lock type's algorithm over the kernel's hypercalls.
#include "pvlock/linux.hpp"
#include "pvlock/pvlock.h"

namespace {

using namespace xpv;

struct Own : pvlock::Linux {
    using Layout = pvlock::OwnWord;

    static xpv_pvlock_cpu& cpu(uint32_t i) noexcept { return xpv_pvlock_cpus[i]; }
    static void took(const uint64_t&, uint32_t) noexcept {}
    static bool holder_preempted(const uint64_t&, uint64_t word) noexcept {
        return preempted(Layout::owner_of(word) - 1u);
    }
    static void not_owner(uint64_t& lock, uint64_t word) noexcept {
        xpv_pvlock_not_owner(&lock, Layout::owner_of(word));
    }
};

} // namespace

void xpv_pvlock_contended(uint64_t* word, uint32_t cpu) { pvlock::lock_slow<Own>(*word, cpu); }
void xpv_pvlock_release(uint64_t* word, uint32_t cpu) { pvlock::unlock_slow<Own>(*word, cpu); }
uint32_t xpv_pvlock_size_in_cpp() { return sizeof(xpv_spinlock); }
