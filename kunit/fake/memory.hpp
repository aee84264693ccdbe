// SPDX-License-Identifier: GPL-2.0-only
// Pages, each an allocation of its own so that KASAN and ASan see every byte
// beside it and every use after it is freed.
#pragma once

#include "kunit/fake/account.hpp"

// One page: of our own, of the peer's, or an empty frame to map a grant into.
struct xpv_page {
    enum class Is : uint8_t { Nothing, Owned, Frame, Peer, Buffer };

    uint8_t* bytes; // a frame's only while something is mapped into it
    xpv_page* next; // in a hash chain or the free list
    Is is;
    uint16_t grants; // owned: grants in force over it
    uint16_t holds;  // owners beside the one that it belongs to
    // Owned, allocated together with others: memory goes with the last of them.
    struct Block {
        uint8_t* bytes;
        uint32_t pages;
    };
    Block* block;
};

namespace xpv::fake {

class Memory : NoCopy {
public:
    explicit Memory(Account& account) noexcept;
    ~Memory();

    // Page-aligned memory that Xen can copy to and from, for a driver's fakes
    // (packet buffers). Not counted; the fakes count what they hand out.
    void* buffer(uint32_t bytes) noexcept;
    void buffer_free(void* memory, uint32_t bytes) noexcept;

    // The page (ours, the peer's or a buffer's) that holds an address, or nullptr.
    xpv_page* find(const void* address) noexcept;
    // A page whose kind is not Owned; not counted.
    xpv_page* make(xpv_page::Is is, uint8_t* bytes) noexcept;
    void unmake(xpv_page* page) noexcept;

    xpv_page* page_alloc(xpv_alloc_mode mode) noexcept;
    void page_free(xpv_page* page) noexcept;
    int pages_alloc(uint32_t count, xpv_page** pages) noexcept;
    void page_hold(xpv_page* page) noexcept;

private:
    static constexpr uint32_t max_pages = 8192;
    static constexpr uint32_t chains = 1024;

    xpv_page** chain(const void* address) noexcept;
    void release(xpv_page::Block* block, uint8_t* bytes) noexcept;

    Account& account_;
    xpv_page* table_; // max_pages entries, and
    xpv_page** chains_;
    uint32_t fresh_ = 0;             // never used from here on
    xpv_page* free_first_ = nullptr; // of those that came back, first in, first out,
    xpv_page* free_last_ = nullptr;  // so that a stale pointer to a page is noticed
};

} // namespace xpv::fake
