// SPDX-License-Identifier: GPL-2.0-only
// Why a connection is given up, and who hears of it first.
#pragma once

#include "core/std.hpp"
#include "netback/abi.h"

namespace xpv::netback {

enum class Fault : uint8_t {
    TxRing,
    TxOpenChain,
    TxLongChain,
    TxOpenExtras,
    TxManyExtras,
    TxExtraType,
    TxGso,
    TxCrossesPage,
    RxRing,
    Connect,
};

const char* fault_text(Fault fault) noexcept;

// The first fault of a connection counts: the device stops and says why once;
// what follows is its echo.
class FaultLine : NoCopy {
public:
    FaultLine(xpv_xenbus* bus, xpv_vif* vif) noexcept : bus_{bus}, vif_{vif} {}

    // Any context.
    void raise(Fault fault, uint32_t queue, uint32_t value) noexcept {
        if (__atomic_exchange_n(&raised_, true, __ATOMIC_ACQ_REL))
            return;
        fault_ = fault;
        queue_ = queue;
        value_ = value;
        xpv_netback_vif_poke(vif_, 0);
    }

    bool raised() const noexcept { return __atomic_load_n(&raised_, __ATOMIC_ACQUIRE); }

    // Tell the log and the toolstack, once a connection's pollers are gone. May sleep.
    void report() noexcept {
        if (!raised())
            return;
        xpv_end_report(bus_, to_errno(Error::Protocol), "device stopped: %s (queue %u, value %d)",
                       fault_text(fault_), queue_, static_cast<int>(value_));
        __atomic_store_n(&raised_, false, __ATOMIC_RELEASE);
    }

private:
    xpv_xenbus* bus_;
    xpv_vif* vif_;
    bool raised_ = false;
    Fault fault_{};
    uint32_t queue_ = 0;
    uint32_t value_ = 0;
};

// Where a queue reports a fault of its frontend.
class QueueFault {
public:
    QueueFault(FaultLine& line, uint32_t queue) noexcept : line_{&line}, queue_{queue} {}
    void raise(Fault fault, uint32_t value) const noexcept { line_->raise(fault, queue_, value); }
    bool raised() const noexcept { return line_->raised(); }

private:
    FaultLine* line_;
    uint32_t queue_;
};

} // namespace xpv::netback
