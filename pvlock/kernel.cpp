// SPDX-License-Identifier: GPL-2.0-only
// The kernel's own spinlocks and rwlocks while their slow paths are ours.
#include "pvlock/linux.hpp"
#include "pvlock/rw.hpp"
#include "pvlock/word32.hpp"

namespace {

using namespace xpv;

// Who took a contended lock last, for all locks of a hash; CPU + 1. The word does not tell
// its holder. A wrong hint costs time, no more: a waiter yields or sleeps too early.
constexpr uint32_t hint_bits = 10;
uint16_t hints[1u << hint_bits];

uint16_t& hint_of(const void* lock) noexcept {
    const uint64_t hash = reinterpret_cast<uintptr_t>(lock) * 0x9e3779b97f4a7c15ull;
    return hints[hash >> (64 - hint_bits)];
}

template <class Words> struct KernelLock : pvlock::Linux {
    using Layout = Words;
    using Word = uint32_t;

    static xpv_pvlock_cpu& cpu(uint32_t i) noexcept { return xpv_pvlock_kernel_cpus[i]; }
    // Whose release nobody sees, for that nobody may sleep.
    static bool can_sleep(uint32_t cpu) noexcept { return Words::calls && Linux::can_sleep(cpu); }
    static void took(const Word& lock, uint32_t cpu) noexcept {
        uint16_t& hint = hint_of(&lock);
        const auto tag = static_cast<uint16_t>(cpu + 1);
        if (__atomic_load_n(&hint, __ATOMIC_RELAXED) != tag)
            __atomic_store_n(&hint, tag, __ATOMIC_RELAXED);
    }
    static bool holder_preempted(const Word& lock, Word) noexcept {
        const uint16_t tag = __atomic_load_n(&hint_of(&lock), __ATOMIC_RELAXED);
        return tag != 0 && preempted(tag - 1u);
    }
    static void not_owner(Word& lock, Word) noexcept { xpv_pvlock_not_owner(&lock, 0); }
};

} // namespace

void xpv_pvlock_kernel_lock(uint32_t* word, uint32_t cpu, bool calls) {
    if (calls)
        pvlock::lock_slow<KernelLock<pvlock::PvWord>>(*word, cpu);
    else
        pvlock::lock_slow<KernelLock<pvlock::NativeWord>>(*word, cpu);
}
void xpv_pvlock_kernel_unlock(uint32_t* word, uint32_t cpu) {
    pvlock::unlock_slow<KernelLock<pvlock::PvWord>>(*word, cpu);
}
void xpv_pvlock_kernel_read(uint32_t* counts, void* queue, bool interrupt, uint32_t cpu) {
    pvlock::read_slow<KernelLock<pvlock::PvWord>>(*counts, queue, interrupt, cpu);
}
void xpv_pvlock_kernel_write(uint32_t* counts, void* queue, uint32_t cpu) {
    pvlock::write_slow<KernelLock<pvlock::PvWord>>(*counts, queue, cpu);
}
