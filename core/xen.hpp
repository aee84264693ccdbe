// SPDX-License-Identifier: GPL-2.0-only
// The only place that includes Xen's public headers, and what they need first.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/barrier.hpp"

#define __XEN_INTERFACE_VERSION__ 0x00040e00
#define xen_mb() ::xpv::mb()
#define xen_rmb() ::xpv::rmb()
#define xen_wmb() ::xpv::wmb()

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/io/ring.h>
#include <xen/io/xenbus.h>
#include <xen/xen.h>
#pragma GCC diagnostic pop

namespace xpv {

// Grants, rings and copies count in 4 KiB whatever the kernel's page size.
inline constexpr uint32_t page_shift = 12;
inline constexpr uint32_t page_size = 1u << page_shift;
inline constexpr uint32_t page_mask = page_size - 1;

} // namespace xpv
