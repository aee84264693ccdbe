// SPDX-License-Identifier: GPL-2.0-only
// What both ends say in xenstore: xen/io/blkif.h. Nothing that the backend wrote is used
// before it was validated; what makes no sense is logged and, unless a disk cannot be
// without it, taken for not offered.
#pragma once

#include "blkfront/abi.h"
#include "core/xenstore.hpp"

namespace xpv::blkfront {

// At InitWait: what the rings of this connection may be like.
struct Offer {
    uint32_t rings = 1;
    uint32_t order = 0;    // of each ring's pages
    uint32_t indirect = 0; // segments; 0: the backend does not know indirect requests
    bool multi_queue = false;
    bool persistent = false; // copy, and keep the pages granted
    bool copy = false;       // copy, whether or not the backend keeps them
};

// Never fails: a backend that offers nothing serves one ring of one page.
Offer read_offer(const Xenstore& store, const xpv_blkfront_settings& settings) noexcept;

// Where a ring is: count page references.
struct RingPlace {
    const GrantRef* refs;
    Port port;
};

// Our answer, in one transaction; the keys of any former layout go. May sleep.
Result<void> write_answer(const Xenstore& store, const Offer& offer,
                          Span<const RingPlace> rings) noexcept;

// At Connected: the disk. NoEntry or Range (logged) when there can be none.
Result<xpv_blkfront_disk> read_disk(const Xenstore& store) noexcept;

// Of virtual-device: xen/io/blkif.h, xen's docs/misc/vbd-interface. Invalid when it names
// nothing that we can be.
Result<xpv_blkfront_name> disk_name(uint32_t vdevice) noexcept;

} // namespace xpv::blkfront
