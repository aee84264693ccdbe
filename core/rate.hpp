// SPDX-License-Identifier: GPL-2.0-only
// So many bytes per period, in nanoseconds and bytes: what the `rate` node of a vif says, the
// credit that it gives, and the turns of those who share that credit on several CPUs.
#pragma once

#include "core/barrier.hpp"
#include "core/kapi.h"
#include "core/result.hpp"

namespace xpv {

class Rate {
public:
    // Nothing limits.
    constexpr Rate() noexcept = default;

    // "bytes,microseconds", as libxl writes it. Invalid: not two decimal numbers. Range: one of
    // them is out of its range, or both together are slower than `slowest`.
    static Result<Rate> parse(const char* text) noexcept;
    // What it takes, for messages.
#define XPV_RATE_RANGE                                                                             \
    "\"BYTES,MICROSECONDS\", 1..18446744073709551615 and 1..4294967295, 8 bytes per second at "    \
    "least"
    static constexpr uint64_t slowest = 8; // bytes per second

    // The same of numbers. Range, as above.
    static constexpr Result<Rate> of(uint64_t bytes, uint32_t period_us) noexcept {
        if (bytes == 0 || period_us == 0)
            return Error::Range;
        // Below 2^62: a period is less than 2^42 ns.
        const uint64_t price = ((uint64_t{period_us} * 1000) << price_shift) / bytes;
        if (price > (uint64_t{1'000'000'000} << price_shift) / slowest)
            return Error::Range;
        Rate rate;
        rate.bytes_ = bytes;
        rate.period_us_ = period_us;
        rate.price_ = max<uint64_t>(price, 1);
        return rate;
    }

    bool limited() const noexcept { return price_ != 0; }
    uint64_t bytes() const noexcept { return bytes_; }
    uint32_t period_us() const noexcept { return period_us_; }

private:
    friend class RateBucket;
    // A byte's time is counted in these parts of a nanosecond. The slowest rate's is below 2^47
    // of them, so that a packet's stays in 64 bits.
    static constexpr uint32_t price_shift = 20;

    uint64_t bytes_ = 0;
    uint32_t period_us_ = 0;
    uint64_t price_ = 0; // of a byte; 0: nothing
};

// Credit of one rate. Any number of CPUs; no lock, as it is one word that changes. A packet
// passes as long as there is any credit, and is then paid in full, on debt if need be: one that
// is larger than a period's bytes passes too, and the rate holds.
class RateBucket : NoCopy {
public:
    // A full bucket of another rate, whoever is passing packets meanwhile. One caller at a time.
    // Who counts with the old price still, or with the old burst, does so for one packet.
    void set(const Rate& rate) noexcept {
        store_once(&price_, rate.price_);
        store_once(&burst_ns_, max(uint64_t{rate.period_us_} * 1000, shortest_burst_ns));
        atomic_store(&full_at_ns_, uint64_t{0});
        atomic_store(&changes_, changes_ + 1);
    }

    bool limited() const noexcept { return load_once(&price_) != 0; }
    // Nanoseconds until there is credit, 0: there is. now_ns: of xpv_now_ns(); it need not be
    // the newest of all callers'. Any context, as below.
    uint64_t wait_ns(uint64_t now_ns) const noexcept {
        return wait_until(now_ns, atomic_load(&full_at_ns_));
    }
    // Spend what was not there, or will not be.
    void spend(uint64_t now_ns, uint64_t cost_ns) noexcept { (void)reserve(now_ns, cost_ns); }
    // The same, and nanoseconds until it has come in.
    uint64_t reserve(uint64_t now_ns, uint64_t cost_ns) noexcept {
        uint64_t full_at = atomic_load(&full_at_ns_);
        while (!atomic_cas(&full_at_ns_, full_at, max(full_at, now_ns) + cost_ns)) {
        }
        return wait_until(now_ns, max(full_at, now_ns) + cost_ns);
    }
    // bytes: 0..65535.
    uint64_t cost_ns(uint32_t bytes) const noexcept {
        return (bytes * load_once(&price_)) >> Rate::price_shift;
    }
    // How often set() was called.
    uint32_t changes() const noexcept { return atomic_load(&changes_); }

    // Of a shorter period as much is saved as of this one: pollers come late.
    static constexpr uint64_t shortest_burst_ns = 10'000'000;

private:
    uint64_t wait_until(uint64_t now_ns, uint64_t full_at) const noexcept {
        const uint64_t limit = now_ns + load_once(&burst_ns_);
        return full_at < limit ? 0 : full_at - limit + 1;
    }

    uint64_t price_ = 0;
    uint64_t burst_ns_ = 0;
    uint64_t full_at_ns_ = 0; // when all credit will be there
    uint32_t changes_ = 0;
};

// One poller's place at a bucket that others use, too. Without credit it reserves a slice, stays
// away until that has come in, whoever wakes it, and then passes what the slice pays for. So those
// who want more than there is are served in the order in which they came, and nobody goes without.
class RateTurn : NoCopy {
public:
    // holds: counts the times that the poller was told to stay away.
    RateTurn(RateBucket& bucket, uint64_t& holds) noexcept : bucket_{bucket}, holds_{holds} {}

    bool limited() const noexcept { return bucket_.limited(); }
    // 0: pass a packet, and charge() it. Otherwise come again in so many nanoseconds,
    // 1..longest_ns. Softirq, as below.
    uint64_t wait_ns(uint64_t now_ns) noexcept {
        if (const uint32_t changes = bucket_.changes(); changes != changes_) {
            changes_ = changes;
            until_ns_ = paid_ns_ = 0;
        }
        if (now_ns >= until_ns_) {
            if (paid_ns_ > 0 || bucket_.wait_ns(now_ns) == 0)
                return 0;
            until_ns_ = now_ns + bucket_.reserve(now_ns, slice_ns);
            paid_ns_ = slice_ns;
            ++holds_;
            if (now_ns >= until_ns_)
                return 0;
        }
        return min(until_ns_ - now_ns, longest_ns);
    }
    void charge(uint64_t now_ns, uint32_t bytes) noexcept {
        const uint64_t cost = bucket_.cost_ns(bytes);
        const uint64_t paid = min(cost, paid_ns_);
        paid_ns_ -= paid;
        if (cost > paid)
            bucket_.spend(now_ns, cost - paid);
    }

    // Of time, whatever it pays for: what a poller is woken for.
    static constexpr uint64_t slice_ns = 1'000'000;
    static constexpr uint64_t longest_ns = 1'000'000'000;

private:
    RateBucket& bucket_;
    uint64_t& holds_;
    uint64_t until_ns_ = 0; // the slice has come in
    uint64_t paid_ns_ = 0;  // of it, not used yet
    uint32_t changes_ = 0;
};

} // namespace xpv
