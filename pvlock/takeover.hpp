// SPDX-License-Identifier: GPL-2.0-only
// Taking the kernel's slow paths over and giving them back: what is refused, and in what
// order things are done. Os does them (hooks.c).
//
// A function is hooked once and stays so until the module leaves: to let go of one ftrace
// waits until every task has slept. In between kernel=0 and 1 change a flag.
#pragma once

#include "core/std.hpp"
#include "pvlock/abi.h"

namespace xpv::pvlock {

template <class Os> class Takeover : NoCopy {
public:
    // kernel=0 or 1: 0, or -errno, and Os has said why. What fails leaves nothing behind.
    int set(bool on) noexcept {
        if (on == in_charge_)
            return 0;
        if (hooked_ == 0) { // so it is on
            const int err = hook_all();
            if (err != 0)
                return err;
        }
        Os::change_over(on);
        in_charge_ = on;
        return 0;
    }

    // The module leaves: nobody waits in its code after this, nor will.
    void end() noexcept {
        set(false);
        if (hooked_ != 0)
            unhook_all();
    }

    bool in_charge() const noexcept { return in_charge_; }
    uint32_t hooks() const noexcept {
        uint32_t count = 0;
        for (uint32_t function = 0; function < XPV_PVLOCK_FUNCTIONS; ++function)
            count += hooked_ >> function & 1;
        return count;
    }

private:
    int hook_all() noexcept {
        const xpv_pvlock_facts facts = Os::facts();
        if (!facts.xen)
            return Os::refuse(XPV_PVLOCK_NO_XEN);
        if (facts.waits == XPV_PVLOCK_WAITS_FIXED)
            return Os::refuse(XPV_PVLOCK_FIXED);
        if (facts.waits == XPV_PVLOCK_WAITS_OTHER)
            return Os::refuse(XPV_PVLOCK_NOT_LINUX);
        if (facts.cpus > XPV_PVLOCK_KERNEL_CPUS_MAX)
            return Os::refuse(XPV_PVLOCK_CPUS);
        int err = Os::guard();
        if (err != 0)
            return err;
        for (uint32_t function = 0; function < XPV_PVLOCK_FUNCTIONS; ++function) {
            if (!takes(function, facts.waits))
                continue;
            err = Os::hook(function);
            if (err != 0) {
                unhook_all();
                return err;
            }
            hooked_ |= 1u << function;
        }
        return 0;
    }

    // The guard goes last: while there is a hook, ftrace stays on.
    void unhook_all() noexcept {
        for (uint32_t function = 0; function < XPV_PVLOCK_FUNCTIONS; ++function)
            if ((hooked_ >> function & 1) != 0)
                Os::unhook(function);
        hooked_ = 0;
        Os::unguard();
        Os::settle();
    }

    static bool takes(uint32_t function, uint32_t waits) noexcept {
        switch (function) {
        case XPV_PVLOCK_PV_LOCK:
        case XPV_PVLOCK_PV_UNLOCK:
            return waits == XPV_PVLOCK_WAITS_PV;
        case XPV_PVLOCK_NATIVE_LOCK:
            return waits == XPV_PVLOCK_WAITS_NATIVE;
        default:
            return true;
        }
    }

    uint32_t hooked_ = 0; // a bit for each function
    bool in_charge_ = false;
};

} // namespace xpv::pvlock
