// SPDX-License-Identifier: GPL-2.0-only
// The block protocol's wire types and limits: xen/io/blkif.h.
#pragma once

#include "core/ids.hpp"
#include "core/result.hpp"
#include "core/ring.hpp"
#include "core/xen.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xen/io/blkif.h>
#pragma GCC diagnostic pop

namespace xpv::blkfront {

using WireRequest = blkif_request;
using WireDiscard = blkif_request_discard;
using WireIndirect = blkif_request_indirect;
using WireSegment = blkif_request_segment;
using WireResponse = blkif_response;

inline constexpr uint32_t direct_segments = BLKIF_MAX_SEGMENTS_PER_REQUEST;
// We use one indirect page per ring request.
inline constexpr uint32_t page_segments = page_size / sizeof(WireSegment);
inline constexpr uint32_t sector_shift = 9;
inline constexpr uint32_t sector_bytes = 1U << sector_shift; // all of the protocol's units
inline constexpr uint32_t page_sectors = page_size / sector_bytes;
inline constexpr uint32_t max_slots = 512; // of a ring of order 4

static_assert(sizeof(WireRequest) == 112 && sizeof(WireSegment) == 8);
static_assert(__builtin_offsetof(WireRequest, id) == 8);
static_assert(__builtin_offsetof(WireRequest, seg) == 24);
static_assert(__builtin_offsetof(WireDiscard, nr_sectors) == 24);
static_assert(__builtin_offsetof(WireIndirect, handle) == 24);
static_assert(__builtin_offsetof(WireIndirect, indirect_grefs) == 28);
static_assert(__builtin_offsetof(WireResponse, operation) == 8);
static_assert(__builtin_offsetof(WireResponse, status) == 10);
static_assert(RingTypes<blkif_sring>::slots(page_size) == 32);
static_assert(RingTypes<blkif_sring>::slots(page_size << 4) == max_slots);

using SlotIds = IdPool<RequestId, max_slots>;

// What we send with a request and want back. A backend that is started over an old ring
// takes answers for requests: their lowest byte, where an operation would be, is none, and
// no segments follow.
struct WireId {
    static constexpr uint32_t mark = 0x00ff;

    uint32_t index;
    uint32_t life;

    constexpr uint64_t wire() const noexcept {
        return uint64_t{life} << 32 | uint64_t{index} << 16 | mark;
    }
    // Of an answer: Protocol if it cannot be one of ours.
    static constexpr Result<WireId> of(uint64_t wire) noexcept {
        if ((wire & 0xffff) != mark)
            return Error::Protocol;
        return WireId{static_cast<uint32_t>(wire >> 16) & 0xffff,
                      static_cast<uint32_t>(wire >> 32)};
    }
};

} // namespace xpv::blkfront
