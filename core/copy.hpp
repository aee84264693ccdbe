// SPDX-License-Identifier: GPL-2.0-only
// GNTTABOP_copy in batches: xen/grant_table.h.
#pragma once

#include "core/id.hpp"
#include "core/kapi.h"
#include "core/std.hpp"
#include "core/xen.hpp"

namespace xpv {

// Copy operations collected and handed to Xen together. Each op carries a tag
// that comes back with its status; an op that Xen refused is the peer's fault.
class CopyBatch : NoCopy {
public:
    CopyBatch() noexcept = default;

    uint32_t count() const noexcept { return count_; }
    uint32_t free() const noexcept { return XPV_COPY_BATCH - count_; }

    // From the peer's granted page to our memory. Neither range crosses 4 KiB.
    void from_peer(uint16_t domid, GrantRef ref, uint16_t offset, uint64_t our_gfn,
                   uint16_t our_offset, uint16_t bytes, uint32_t tag) noexcept {
        gnttab_copy& op = ops_[count_];
        op.source.u.ref = ref.number();
        op.source.domid = domid;
        op.source.offset = offset;
        op.dest.u.gmfn = our_gfn;
        op.dest.domid = DOMID_SELF;
        op.dest.offset = our_offset;
        op.len = bytes;
        op.flags = GNTCOPY_source_gref;
        tags_[count_++] = tag;
    }

    // From our memory to the peer's granted page.
    void to_peer(uint16_t domid, GrantRef ref, uint16_t offset, uint64_t our_gfn,
                 uint16_t our_offset, uint16_t bytes, uint32_t tag) noexcept {
        gnttab_copy& op = ops_[count_];
        op.source.u.gmfn = our_gfn;
        op.source.domid = DOMID_SELF;
        op.source.offset = our_offset;
        op.dest.u.ref = ref.number();
        op.dest.domid = domid;
        op.dest.offset = offset;
        op.len = bytes;
        op.flags = GNTCOPY_dest_gref;
        tags_[count_++] = tag;
    }

    // From one peer's granted page to another's.
    void peer_to_peer(uint16_t from_domid, GrantRef from_ref, uint16_t from_offset,
                      uint16_t to_domid, GrantRef to_ref, uint16_t to_offset, uint16_t bytes,
                      uint32_t tag) noexcept {
        gnttab_copy& op = ops_[count_];
        op.source.u.ref = from_ref.number();
        op.source.domid = from_domid;
        op.source.offset = from_offset;
        op.dest.u.ref = to_ref.number();
        op.dest.domid = to_domid;
        op.dest.offset = to_offset;
        op.len = bytes;
        op.flags = GNTCOPY_source_gref | GNTCOPY_dest_gref;
        tags_[count_++] = tag;
    }

    // Run all ops in one hypercall; on_failure(tag, status) for each that failed.
    // The batch is empty afterwards.
    template <class OnFailure> void run(OnFailure on_failure) noexcept {
        if (count_ == 0)
            return;
        xpv_gnttab_copy(ops_, count_);
        for (uint32_t i = 0; i < count_; ++i) {
            if (ops_[i].status == GNTST_okay)
                continue;
            if (ops_[i].status == GNTST_eagain)
                again(ops_[i]);
            if (ops_[i].status != GNTST_okay)
                on_failure(tags_[i], ops_[i].status);
        }
        count_ = 0;
    }

private:
    // The page was paged out or is being shared or unshared: Xen sees to it now. We
    // cannot sleep until it has, so a page that takes long is one that cannot be had.
    static constexpr uint32_t tries = 8;
    static void again(gnttab_copy& op) noexcept {
        for (uint32_t i = 0; i < tries && op.status == GNTST_eagain; ++i)
            xpv_gnttab_copy(&op, 1);
    }

    gnttab_copy ops_[XPV_COPY_BATCH];
    uint32_t tags_[XPV_COPY_BATCH];
    uint32_t count_ = 0;
};

} // namespace xpv
