// SPDX-License-Identifier: GPL-2.0-only
// A guest's memory and the Xen beneath it, page by page: the balloon's upcalls over a
// model that knows where each page is, and fails the test at the first that is used
// wrongly: given unzeroed, mapped or visible, freed without memory, freed twice.
#pragma once

#include "balloon/balloon.hpp"
#include "kunit/check.hpp"
#include "kunit/fake/world.hpp"

struct xpv_balloon_os {
    enum class Is : uint8_t { Free, Cache, User, Ours, Lost };
    struct Page {
        Is is;
        uint8_t order; // ours: of the allocation that it came in
        bool offline;  // marked
        bool mapped;   // by the kernel
        bool gone;     // to Xen
        bool dirty;    // has bytes that are somebody's
        bool first;    // ours: of its allocation
    };

    // ---- the model -----------------------------------------------------------
    uint32_t count = 0; // pages 0..count-1; 0 is never handed out
    Page* pages = nullptr;
    uint64_t* words = nullptr;
    uint64_t managed = 0;
    uint64_t xen_free = 0;

    // ---- what goes wrong -----------------------------------------------------
    static constexpr uint32_t never = ~0u;
    uint32_t no_order = 99;          // allocations of this order and higher fail
    uint32_t xen_no_order = 99;      // populate of this order and higher fails
    uint32_t decrease_stops = never; // after so many pages, once
    uint32_t populate_stops = never; // after so many extents, once
    int decrease_code = 0;           // instead of anything, once
    uint32_t detach_stops = never;   // after so many extents, once; the same:
    uint32_t reattach_stops = never;
    uint32_t attach_stops = never;

    // ---- what the balloon sees -----------------------------------------------
    xpv_balloon_sample sample{}; // but for free, available and cache
    xpv_balloon_stock stock{};
    uint64_t now_ns = 0;
    uint64_t ns_per_call = 0;
    struct Node {
        const char* key;
        char text[64];
    };
    Node nodes[6] = {};
    bool held = false;
    bool still = false;
    uint32_t stock_sets = 0;
    uint32_t writes = 0;      // of nodes
    uint32_t allocations = 0; // calls

    explicit xpv_balloon_os(uint32_t pages, bool pv = true) noexcept;
    ~xpv_balloon_os();

    uint64_t number(Is is) const noexcept;
    uint64_t number_gone() const noexcept;
    // So many free pages become this.
    void use(Is is, uint64_t pages) noexcept;
    void put(const char* key, const char* text) noexcept; // nullptr: away
    const char* get(const char* key) const noexcept;
    // Every page is in one place, and the kernel's figure is right.
    bool conserved() const noexcept;

    const bool pv;
};
