// SPDX-License-Identifier: GPL-2.0-only
// Stacks that take turns in one thread, switched in a few instructions (x86-64).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace xpv::host {

extern "C" void xpv_fiber_switch(void** save, void* load);
asm(R"(
    .text
    .globl xpv_fiber_switch
    .type xpv_fiber_switch, @function
xpv_fiber_switch:
    endbr64
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size xpv_fiber_switch, . - xpv_fiber_switch
)");

class Fiber {
public:
    Fiber() : stack_(size) {}

    // Begin anew: resume() will call entry, which must never return.
    void start(void (*entry)()) {
        const uintptr_t top = end();
        auto* frame = reinterpret_cast<void**>(top) - 8; // entry begins as though called
        for (int i = 0; i < 8; ++i)
            frame[i] = nullptr;
        frame[6] = reinterpret_cast<void*>(entry); // above the six saved registers
        here_ = frame;
    }
    void resume() {
        xpv_fiber_switch(&caller_, here_);
        deepest_ = here_ < deepest_ ? here_ : deepest_;
    }
    void pause() { xpv_fiber_switch(&here_, caller_); }

    // All that a paused fiber's code will go on with, but for memory: its registers and
    // live frames, to be hashed. In wiped stacks the same run leaves the same bytes.
    const uint64_t* live() const { return static_cast<const uint64_t*>(here_); }
    size_t live_words() const {
        return (end() - reinterpret_cast<uintptr_t>(here_)) / sizeof(uint64_t);
    }
    void wipe() {
        const auto used = static_cast<size_t>(stack_.data() + size - static_cast<char*>(deepest_));
        const size_t all = std::min(used + beyond, size);
        memset(stack_.data() + size - all, 0, all);
    }

private:
    static constexpr size_t size = 32 * 1024;
    static constexpr size_t beyond = 512; // what is called between two pauses uses less

    uintptr_t end() const {
        return reinterpret_cast<uintptr_t>(stack_.data() + size) & ~uintptr_t{15};
    }

    std::vector<char> stack_;
    void* here_ = nullptr;
    void* deepest_ = stack_.data() + size; // where it ever paused
    void* caller_ = nullptr;
};

} // namespace xpv::host
