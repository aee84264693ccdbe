// SPDX-License-Identifier: GPL-2.0-only
// A lock of the kernel's as an owned object, and the block that holds it.
#pragma once

#include "core/kapi.h"
#include "core/result.hpp"

namespace xpv {

class Lock : NoCopy {
public:
    Lock() noexcept = default;
    ~Lock() { xpv_lock_free(lock_); }

    // order: a lock of a higher one may be taken inside a lock of a lower one. May sleep.
    Result<void> create(uint32_t order) noexcept {
        if (lock_ == nullptr)
            lock_ = xpv_lock_new(order);
        return lock_ == nullptr ? Result<void>{Error::NoMemory} : Result<void>{};
    }

private:
    friend class Guard;
    xpv_lock* lock_ = nullptr;
};

// Holds a lock, interrupts off. Any context.
class Guard : NoCopy {
public:
    explicit Guard(const Lock& lock) noexcept
        : lock_{lock.lock_}, flags_{xpv_lock_take(lock.lock_)} {}
    ~Guard() { xpv_lock_drop(lock_, flags_); }

private:
    xpv_lock* const lock_;
    const unsigned long flags_;
};

} // namespace xpv
