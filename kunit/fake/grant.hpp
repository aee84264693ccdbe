// SPDX-License-Identifier: GPL-2.0-only
// Both grant tables: ours, whose other user is the peer (hostile if the test
// wants), and the peer's, from which we copy and map. Xen's checks, its statuses.
#pragma once

#include "core/xen.hpp"
#include "kunit/fake/memory.hpp"

namespace xpv::fake {

// The grants that the code under test gives. Misuse fails the test: granting a
// reference that is not reserved or grants already, ending one that grants
// nothing, giving back one that still grants, freeing a granted page.
class OurGrants : NoCopy {
public:
    OurGrants(Account& account, Memory& memory) noexcept;
    ~OurGrants();

    enum class State : uint8_t { Free, Reserved, Granted, Deferred };

    // Ends that failed with a line in the kernel's log each.
    uint32_t loud = 0;

    // References that exist; xpv_gnttab_reserve() fails beyond.
    uint32_t capacity = 4096;

    State state(uint32_t ref) const noexcept;
    xpv_page* page(uint32_t ref) const noexcept;
    bool readonly(uint32_t ref) const noexcept;
    uint16_t domid(uint32_t ref) const noexcept;

    // ---- what the peer does -------------------------------------------------

    // Keep the grant in use, so that it cannot be ended; nests.
    void hold(uint32_t ref) noexcept;
    void let_go(uint32_t ref) noexcept;
    // Keep whatever is granted from now on (the backend that never unmaps).
    bool hold_all = false;
    void let_go_all() noexcept;
    // Map: hold, and the address of the page's bytes. nullptr when Xen would refuse.
    uint8_t* map(uint16_t peer, uint32_t ref, bool write) noexcept;
    // GNTTABOP_copy as the peer would call it: GNTST_*.
    int write(uint16_t peer, uint32_t ref, uint32_t offset, const void* data,
              uint32_t bytes) noexcept;
    int read(uint16_t peer, uint32_t ref, uint32_t offset, void* data, uint32_t bytes) noexcept;
    // Is a byte of this value in any page that the peer can read now? Tests fill
    // what must not leak with it.
    bool peer_sees(uint8_t secret) const noexcept;

    // ---- the deferred list --------------------------------------------------

    // One round of the kernel's poll: frees what the peer let go of.
    void poll_deferred() noexcept;

    // ---- upcalls ------------------------------------------------------------

    int reserve(uint32_t count, uint32_t* refs) noexcept;
    void unreserve(uint32_t count, const uint32_t* refs) noexcept;
    void grant(uint16_t peer, uint32_t count, const uint32_t* refs, xpv_page* const* pages,
               bool read_only) noexcept;
    uint32_t end(uint32_t count, const uint32_t* refs, bool* ended) noexcept;
    uint32_t give_up(uint32_t count, const uint32_t* refs, bool* ended) noexcept;
    void defer(uint32_t ref, xpv_page* page) noexcept;

private:
    static constexpr uint32_t max_refs = 8192;
    static constexpr uint32_t first_ref = 8; // below are Xen's

    struct Entry {
        xpv_page* page;
        uint32_t next_free;
        uint16_t peer;
        uint16_t held;
        State state;
        bool readonly;
        bool owns_page; // deferred together with its page
    };
    Entry* entry(uint32_t ref) const noexcept;
    int access(uint16_t peer, uint32_t ref, bool write) const noexcept;
    uint32_t end_each(uint32_t count, const uint32_t* refs, bool* ended) noexcept;

    Account& account_;
    Memory& memory_;
    Entry* table_;
    uint32_t free_ = 0;          // first of those that came back, last in first out
    uint32_t fresh_ = first_ref; // never used from here on
};

// The grants that the peer gives, and what we do with them. The references of all
// peer domains come from one table, so that each is unique in a test.
class PeerGrants : NoCopy {
public:
    PeerGrants(Account& account, Memory& memory) noexcept;
    ~PeerGrants();

    // ---- what the peer does -------------------------------------------------

    // A fresh zeroed page of the peer's (*address, if wanted), granted to us: its
    // reference. The page lives as long as the world.
    uint32_t share(uint16_t peer, bool readonly = false, void** address = nullptr) noexcept;
    // count pages that follow each other, for a ring: refs[] in order.
    void* share_ring(uint16_t peer, uint32_t count, uint32_t* refs) noexcept;
    // Take the grant back; false (and still granted) while we have it mapped.
    bool revoke(uint32_t ref) noexcept;
    uint8_t* address(uint32_t ref) const noexcept;
    // Mappings of it that we hold.
    uint32_t mapped(uint32_t ref) const noexcept;

    // ---- upcalls ------------------------------------------------------------

    void copy(gnttab_copy* ops, uint32_t count) noexcept;
    void map(xpv_map_op* ops, uint32_t count) noexcept;
    void unmap(xpv_map_op* ops, uint32_t count) noexcept;
    int ring_map(uint16_t peer, const uint32_t* refs, uint32_t count, void** address) noexcept;
    void ring_unmap(void* address) noexcept;

private:
    static constexpr uint32_t max_refs = 8192;
    static constexpr uint32_t first_ref = 8;
    static constexpr uint32_t max_maps = 8192;
    static constexpr uint32_t max_rings = 160;

    struct Entry {
        uint8_t* bytes;
        uint16_t peer;
        uint16_t mapped;
        bool granted;
        bool readonly;
        uint8_t block; // pages allocated together with it, itself included; 0: inside
    };
    struct Mapping {
        xpv_page* frame; // nullptr: no such handle
        uint32_t ref;
        uint16_t peer;
        bool readonly;
    };
    struct Ring {
        void* address;
        uint32_t refs[16];
        uint32_t count;
    };
    Entry* entry(uint32_t ref) const noexcept;
    int access(uint16_t peer, uint32_t ref, bool write) const noexcept;
    int16_t copy_one(const gnttab_copy& op) noexcept;
    int16_t copy_end(const gnttab_copy::gnttab_copy_ptr& end, bool by_ref, bool write,
                     uint8_t** bytes) noexcept;

    Account& account_;
    Memory& memory_;
    Entry* table_;
    Mapping* maps_;
    Ring* rings_;
    uint32_t next_ref_ = first_ref;
    uint32_t next_handle_ = 0;
};

} // namespace xpv::fake
