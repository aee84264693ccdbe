// SPDX-License-Identifier: GPL-2.0-only
#include "core/xen.hpp"
#include "kunit/fake/world.hpp"

namespace xpv::fake {
namespace {

constexpr uint8_t freed = 0x6b;

uintptr_t frame_of(const void* address) noexcept {
    return reinterpret_cast<uintptr_t>(address) / page_size;
}

} // namespace

Memory::Memory(Account& account) noexcept
    : account_{account}, table_{static_cast<xpv_page*>(
                             xpv_test_alloc(max_pages * sizeof(xpv_page)))},
      chains_{static_cast<xpv_page**>(xpv_test_alloc(chains * sizeof(xpv_page*)))} {}

Memory::~Memory() {
    for (uint32_t i = 0; i < fresh_; ++i)
        if (table_[i].is == xpv_page::Is::Owned)
            release(table_[i].block, table_[i].bytes); // leaked, and reported as that
    xpv_test_free(table_);
    xpv_test_free(chains_);
}

xpv_page** Memory::chain(const void* address) noexcept {
    return &chains_[frame_of(address) % chains];
}

xpv_page* Memory::find(const void* address) noexcept {
    for (xpv_page* page = *chain(address); page != nullptr; page = page->next)
        if (frame_of(page->bytes) == frame_of(address))
            return page;
    return nullptr;
}

// Frames are in no chain: their bytes are those of another page.
xpv_page* Memory::make(xpv_page::Is is, uint8_t* bytes) noexcept {
    xpv_page* page = free_first_;
    if (fresh_ < max_pages)
        page = &table_[fresh_++];
    else if (page != nullptr)
        free_first_ = page->next;
    else
        return nullptr;
    *page = xpv_page{bytes, nullptr, is, 0, 0, nullptr};
    if (is != xpv_page::Is::Frame) {
        page->next = *chain(bytes);
        *chain(bytes) = page;
    }
    return page;
}

void Memory::unmake(xpv_page* page) noexcept {
    if (page->is != xpv_page::Is::Frame)
        for (xpv_page** link = chain(page->bytes); *link != nullptr; link = &(*link)->next)
            if (*link == page) {
                *link = page->next;
                break;
            }
    *page = xpv_page{};
    if (free_first_ == nullptr)
        free_first_ = page;
    else
        free_last_->next = page;
    free_last_ = page;
}

void* Memory::buffer(uint32_t bytes) noexcept {
    const uint32_t count = (bytes + page_size - 1) / page_size;
    auto* const memory = static_cast<uint8_t*>(xpv_test_alloc(count * page_size));
    for (uint32_t i = 0; i < count; ++i)
        make(xpv_page::Is::Buffer, memory + i * page_size);
    return memory;
}

void Memory::buffer_free(void* memory, uint32_t bytes) noexcept {
    auto* const first = static_cast<uint8_t*>(memory);
    for (uint32_t done = 0; done < bytes; done += page_size)
        if (xpv_page* page = find(first + done))
            unmake(page);
    xpv_test_free(memory);
}

xpv_page* Memory::page_alloc(xpv_alloc_mode mode) noexcept {
    account_.enter(Call::PageAlloc, mode == XPV_ALLOC_SLEEP ? Context::Process : Context::Softirq);
    if (account_.inject(Call::PageAlloc, 1) != 0)
        return nullptr;
    auto* const bytes = static_cast<uint8_t*>(xpv_test_alloc(page_size));
    xpv_page* const page = make(xpv_page::Is::Owned, bytes);
    if (page == nullptr) {
        xpv_test_free(bytes);
        return nullptr;
    }
    account_.pages.take();
    return page;
}

void Memory::release(xpv_page::Block* block, uint8_t* bytes) noexcept {
    if (block == nullptr) {
        xpv_test_free(bytes);
        return;
    }
    if (--block->pages != 0)
        return;
    xpv_test_free(block->bytes);
    xpv_test_free(block);
}

int Memory::pages_alloc(uint32_t count, xpv_page** pages) noexcept {
    account_.enter(Call::PageAlloc, Context::Process);
    if (account_.inject(Call::PageAlloc, 1) != 0)
        return -12;
    auto* const bytes = static_cast<uint8_t*>(xpv_test_alloc(count * page_size));
    auto* const block = static_cast<xpv_page::Block*>(xpv_test_alloc(sizeof(xpv_page::Block)));
    *block = {bytes, count};
    for (uint32_t i = 0; i < count; ++i) {
        pages[i] = make(xpv_page::Is::Owned, bytes + i * page_size);
        pages[i]->block = block;
        account_.pages.take();
    }
    return 0;
}

void Memory::page_hold(xpv_page* page) noexcept { ++page->holds; }

void Memory::page_free(xpv_page* page) noexcept {
    account_.enter(Call::Free, Context::Softirq);
    if (page != nullptr && page->holds != 0) {
        --page->holds;
        return;
    }
    if (page == nullptr || page->is != xpv_page::Is::Owned) {
        XPV_FAKE_FAIL("a page is freed that is not out (freed twice, or not ours)");
        return;
    }
    if (page->grants != 0)
        XPV_FAKE_FAIL("a page is freed that the peer can still access");
    uint8_t* const bytes = page->bytes;
    xpv_page::Block* const block = page->block;
    unmake(page);
    __builtin_memset(bytes, freed, page_size);
    release(block, bytes);
    account_.pages.give();
}

} // namespace xpv::fake

using xpv::fake::Account;
using xpv::fake::Call;
using xpv::fake::Context;
using xpv::fake::world;

void* xpv_alloc(size_t bytes) {
    Account& account = world().account;
    account.enter(Call::Alloc, Context::Process);
    if (account.inject(Call::Alloc, 1) != 0)
        return nullptr;
    account.memory.take();
    return xpv_test_alloc(bytes);
}

void xpv_free(void* memory) {
    Account& account = world().account;
    account.enter(Call::Free, Context::Process);
    if (memory == nullptr)
        return;
    account.memory.give();
    xpv_test_free(memory);
}

xpv_page* xpv_page_alloc(xpv_alloc_mode mode) { return world().memory.page_alloc(mode); }
void xpv_page_free(xpv_page* page) { world().memory.page_free(page); }

void* xpv_page_address(xpv_page* page) {
    if (page->bytes == nullptr)
        XPV_FAKE_FAIL("the address of a page that has no memory (freed, or nothing mapped)");
    return page->bytes;
}

uint64_t xpv_gfn_of(const void* address) {
    if (world().memory.find(address) == nullptr)
        XPV_FAKE_FAIL("the frame of an address that is in no page");
    return reinterpret_cast<uintptr_t>(address) / xpv::page_size;
}

int xpv_pages_alloc(uint32_t count, xpv_page** pages) {
    return world().memory.pages_alloc(count, pages);
}
void xpv_page_hold(xpv_page* page) { world().memory.page_hold(page); }

// ---- locks: nobody else runs, but taking one twice would never end -------------------

struct xpv_lock {
    uint32_t order;
    bool taken;
};

xpv_lock* xpv_lock_new(uint32_t order) {
    auto* const lock = static_cast<xpv_lock*>(xpv_alloc(sizeof(xpv_lock)));
    if (lock != nullptr)
        lock->order = order;
    return lock;
}

void xpv_lock_free(xpv_lock* lock) {
    if (lock != nullptr && lock->taken)
        XPV_FAKE_FAIL("a lock is freed that is taken");
    xpv_free(lock);
}

unsigned long xpv_lock_take(xpv_lock* lock) {
    Account& account = world().account;
    unsigned long taken = account.locks;
    if (lock->taken)
        XPV_FAKE_FAIL("a lock is taken twice");
    if (taken >> lock->order != 0)
        XPV_FAKE_FAIL("a lock of order %u is taken inside another", lock->order);
    lock->taken = true;
    account.locks = static_cast<uint32_t>(taken | 1UL << lock->order);
    account.lock_changes(true);
    return taken;
}

void xpv_lock_drop(xpv_lock* lock, unsigned long flags) {
    if (!lock->taken)
        XPV_FAKE_FAIL("a lock is dropped that is not taken");
    world().account.lock_changes(false);
    lock->taken = false;
    world().account.locks = static_cast<uint32_t>(flags);
}
