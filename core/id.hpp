// SPDX-License-Identifier: GPL-2.0-only
// Numbers that stand for something, each kind a type of its own: a port is no grant
// reference, and a queue's index no count of queues. Plain integers to the machine.
#pragma once

#include "core/types.h"

namespace xpv {

// Made of a number, and a number again, by name only: where it comes from the wire, goes to
// it, or crosses over to C.
template <class Tag> class Id {
public:
    Id() noexcept = default; // as an integer: Id{} is 0
    explicit constexpr Id(uint32_t number) noexcept : number_{number} {}

    // What no id of ours is.
    static constexpr Id none() noexcept { return Id{~uint32_t{0}}; }

    constexpr uint32_t number() const noexcept { return number_; }
    friend constexpr bool operator==(Id a, Id b) noexcept { return a.number_ == b.number_; }

private:
    uint32_t number_;
};

using GrantRef = Id<struct GrantRefTag>;     // xen/grant_table.h
using Port = Id<struct PortTag>;             // an event channel's, in the domain that it is for
using RequestId = Id<struct RequestIdTag>;   // what we send with a request and want back
using QueueIndex = Id<struct QueueIndexTag>; // among a device's queues, from 0

} // namespace xpv
