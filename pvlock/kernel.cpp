// SPDX-License-Identifier: GPL-2.0-only
// The kernel's own spinlocks and rwlocks while their slow paths are ours.
#include "pvlock/linux.hpp"
#include "pvlock/rw.hpp"
#include "pvlock/takeover.hpp"
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

// What takeover.hpp asks of Linux.
struct Hooks {
    static xpv_pvlock_facts facts() noexcept { return xpv_pvlock_kernel_facts(); }
    static int refuse(xpv_pvlock_refusal why) noexcept { return xpv_pvlock_refuse(why); }
    static int guard() noexcept { return xpv_pvlock_guard(); }
    static void unguard() noexcept { xpv_pvlock_unguard(); }
    static int hook(uint32_t f) noexcept {
        return xpv_pvlock_hook(static_cast<xpv_pvlock_function>(f));
    }
    static void unhook(uint32_t f) noexcept {
        xpv_pvlock_unhook(static_cast<xpv_pvlock_function>(f));
    }
    static void settle() noexcept { xpv_pvlock_settle(); }
    static void change_over(bool ours) noexcept { xpv_pvlock_change_over(ours); }
};

constinit pvlock::Takeover<Hooks> takeover;

// Apart, so that who takes a lock at once saves no registers.
template <class Words> [[gnu::noinline]] void wait(uint32_t& word, uint32_t cpu) noexcept {
    pvlock::lock_slow<KernelLock<Words>>(word, cpu);
}
template <class Words>
[[gnu::always_inline]] inline void lock(uint32_t& word, xpv_pvlock_cpu& self) noexcept {
    if (!pvlock::lock_at_once<KernelLock<Words>>(word, self, self.number))
        wait<Words>(word, self.number);
}

} // namespace

int xpv_pvlock_takeover(bool on) { return takeover.set(on); }
void xpv_pvlock_takeover_end() { takeover.end(); }
bool xpv_pvlock_taken_over() { return takeover.in_charge(); }
uint32_t xpv_pvlock_hooks() { return takeover.hooks(); }

void xpv_pvlock_kernel_lock_pv(uint32_t* word, xpv_pvlock_cpu* self) {
    lock<pvlock::PvWord>(*word, *self);
}
void xpv_pvlock_kernel_lock_native(uint32_t* word, xpv_pvlock_cpu* self) {
    lock<pvlock::NativeWord>(*word, *self);
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
