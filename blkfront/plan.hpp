// SPDX-License-Identifier: GPL-2.0-only
// How a request becomes ring requests: pure arithmetic.
#pragma once

#include "blkfront/abi.h"
#include "blkfront/blkif.hpp"

namespace xpv::blkfront {

using Request = xpv_blkfront_request;
using Segment = xpv_blkfront_segment;

// The most segments of a ring request on this connection: `indirect` of the backend's, if
// that is more than fits into the slot.
constexpr uint32_t segments_per_slot(uint32_t indirect) noexcept {
    return max(direct_segments, min(indirect, page_segments));
}

struct Plan {
    uint32_t grants;   // of data
    uint32_t slots;    // ring requests
    uint32_t indirect; // of them with a page of segments
};

// grants in ring requests of up to per_slot each.
constexpr Plan plan(uint32_t grants, uint32_t per_slot) noexcept {
    const uint32_t whole = grants / per_slot;
    const uint32_t rest = grants - whole * per_slot;
    const uint32_t indirect =
        (per_slot > direct_segments ? whole : 0) + (rest > direct_segments ? 1 : 0);
    return {grants, whole + (rest != 0 ? 1 : 0), indirect};
}

// Copied into pages of the pool, all full but the last.
constexpr uint32_t packed_grants(uint32_t sectors) noexcept {
    return (sectors + page_sectors - 1) / page_sectors;
}

// The longest request, copied: what the pool must be able to give at once.
constexpr uint32_t most_pages(uint32_t per_slot) noexcept {
    const Plan most = plan(packed_grants(XPV_BLKFRONT_MAX_SECTORS), per_slot);
    return most.grants + most.indirect;
}

// Whether memory can be granted as it lies: piece by piece, no copy. Fed all pieces in
// order.
class DirectPlan {
public:
    DirectPlan(uint32_t per_slot, uint32_t sector_size, uint32_t most) noexcept
        : per_slot_{per_slot}, sector_mask_{sector_size - 1}, most_{most} {}

    void add(const Segment& piece) noexcept {
        const auto offset = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(piece.address));
        // Segments count in 512 bytes, and a ring request in whole blocks of the disk.
        const bool cut = grants_ != 0 && grants_ % per_slot_ == 0;
        if (((offset | piece.bytes) & (sector_bytes - 1)) != 0 ||
            (cut && (bytes_ & sector_mask_) != 0))
            fits_ = false;
        bytes_ += piece.bytes;
        ++grants_;
        if (grants_ > most_)
            fits_ = false;
    }
    bool fits() const noexcept { return fits_; }
    uint32_t grants() const noexcept { return grants_; }

private:
    const uint32_t per_slot_;
    const uint32_t sector_mask_;
    const uint32_t most_;
    uint32_t grants_ = 0;
    uint32_t bytes_ = 0;
    bool fits_ = true;
};

// A chain of requests, first in, first out.
class RequestList : NoCopy {
public:
    RequestList() noexcept = default;

    bool empty() const noexcept { return first_ == nullptr; }
    Request* front() const noexcept { return first_; }
    uint32_t count() const noexcept { return count_; }
    // For a look without the lock.
    const uint32_t* count_address() const noexcept { return &count_; }

    void push(Request& request) noexcept {
        request.next = nullptr;
        *(last_ == nullptr ? &first_ : &last_->next) = &request;
        last_ = &request;
        ++count_;
    }
    Request* pop() noexcept {
        Request* const request = first_;
        if (request == nullptr)
            return nullptr;
        first_ = request->next;
        if (first_ == nullptr)
            last_ = nullptr;
        request->next = nullptr;
        --count_;
        return request;
    }
    void append(RequestList& other) noexcept {
        if (other.empty())
            return;
        *(last_ == nullptr ? &first_ : &last_->next) = other.first_;
        last_ = other.last_;
        count_ += other.count_;
        other.forget();
    }
    // All of them, as the boundary passes them.
    Request* take_chain() noexcept {
        Request* const first = first_;
        forget();
        return first;
    }

private:
    void forget() noexcept {
        first_ = last_ = nullptr;
        count_ = 0;
    }

    Request* first_ = nullptr;
    Request* last_ = nullptr;
    uint32_t count_ = 0;
};

} // namespace xpv::blkfront
