// SPDX-License-Identifier: GPL-2.0-only
// How the other end broke the protocol: what it did, on which queue, with what value. The
// first fault of a connection counts, and is told once nobody uses that connection any more;
// what follows is its echo.
#pragma once

#include "core/barrier.hpp"
#include "core/id.hpp"
#include "core/kapi.h"
#include "core/result.hpp"

namespace xpv {

class FaultLine : NoCopy {
public:
    explicit FaultLine(xpv_xenbus* bus) noexcept : bus_{bus} {}

    // Any context. `what` lives for ever.
    void raise(const char* what, QueueIndex queue, uint32_t value) noexcept {
        if (atomic_exchange(&raised_, true))
            return;
        what_ = what;
        queue_ = queue;
        value_ = value;
        xpv_end_poke(bus_, XPV_BROKE, 0);
    }
    // Until the connection is given up. Any context.
    bool raised() const noexcept { return load_once(&raised_); }

    // To the log and to the toolstack, and a new connection begins. Nobody raises. May sleep.
    void report() noexcept {
        if (raised())
            xpv_end_report(bus_, to_errno(Error::Protocol),
                           "the other end broke the protocol: %s (queue %u, value %u)", what_,
                           queue_.number(), value_);
        clear();
    }
    void clear() noexcept { atomic_store(&raised_, false); }

private:
    xpv_xenbus* const bus_;
    const char* what_ = "";
    QueueIndex queue_{};
    uint32_t value_ = 0;
    bool raised_ = false;
};

// Where one queue's parts report.
class QueueFault {
public:
    QueueFault(FaultLine& line, QueueIndex queue) noexcept : line_{&line}, queue_{queue} {}
    void raise(const char* what, uint32_t value) const noexcept {
        line_->raise(what, queue_, value);
    }
    bool raised() const noexcept { return line_->raised(); }

private:
    FaultLine* line_;
    QueueIndex queue_;
};

} // namespace xpv
