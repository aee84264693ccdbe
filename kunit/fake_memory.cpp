// SPDX-License-Identifier: GPL-2.0-only
#include "core/xen.hpp"
#include "kunit/fake_world.hpp"

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
            xpv_test_free(table_[i].bytes); // leaked, and reported as that
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
    *page = xpv_page{bytes, nullptr, is, 0};
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

void Memory::page_free(xpv_page* page) noexcept {
    account_.enter(Call::Free, Context::Softirq);
    if (page == nullptr || page->is != xpv_page::Is::Owned) {
        XPV_FAKE_FAIL("a page is freed that is not out (freed twice, or not ours)");
        return;
    }
    if (page->grants != 0)
        XPV_FAKE_FAIL("a page is freed that the peer can still access");
    uint8_t* const bytes = page->bytes;
    unmake(page);
    __builtin_memset(bytes, freed, page_size);
    xpv_test_free(bytes);
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
