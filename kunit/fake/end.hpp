// SPDX-License-Identifier: GPL-2.0-only
// What an end asks of its shim about its own life: events to come, waits, reports.
#pragma once

#include "core/kapi.h"
#include "kunit/fake/account.hpp"

namespace xpv::fake {

class Ends : NoCopy {
public:
    explicit Ends(Account& account) noexcept : account_{account} {}

    // Asked for and not run yet; and how often each was asked for.
    bool due(xpv_event event) const noexcept { return (due_ & (1U << event)) != 0; }
    bool any_due() const noexcept { return due_ != 0; }
    uint32_t asked(xpv_event event) const noexcept { return asked_[event]; }
    uint32_t delay_ms(xpv_event event) const noexcept { return delay_ms_[event]; }
    // As if it had never been asked for.
    void forget() noexcept { due_ = 0; }
    // The longest that all that is due takes.
    uint32_t longest_ms() const noexcept {
        uint32_t longest = 0;
        for (uint32_t event = 0; event < events; ++event)
            longest = (due_ & (1U << event)) != 0 ? max(longest, delay_ms_[event]) : longest;
        return longest;
    }
    // Time passes: call handle(event) for all that is due, in order.
    template <class Handle> void run(Handle handle) noexcept {
        for (uint32_t event = 0; event < events; ++event)
            if (due_ & (1U << event)) {
                due_ &= ~(1U << event);
                handle(static_cast<xpv_event>(event));
            }
    }

    // What the other end does while we wait for it: whether it is where we want it.
    using OnWait = bool (*)(void* context, uint16_t mask);
    void on_wait(OnWait function, void* context) noexcept {
        on_wait_ = function;
        on_wait_context_ = context;
    }
    uint32_t waits = 0;

    uint32_t reports = 0;
    const char* reported() const noexcept { return text_; }

    // ---- upcalls ------------------------------------------------------------

    void poke(xpv_event event, uint32_t delay_ms) noexcept;
    bool wait(uint16_t mask, uint32_t timeout_ms) noexcept;
    void report(int error, const char* format, __builtin_va_list arguments) noexcept;

private:
    static constexpr uint32_t events = XPV_REMOVE + 1;

    Account& account_;
    uint32_t due_ = 0;
    uint32_t asked_[events] = {};
    uint32_t delay_ms_[events] = {};
    OnWait on_wait_ = nullptr;
    void* on_wait_context_ = nullptr;
    char text_[160] = {};
};

} // namespace xpv::fake
