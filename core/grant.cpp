// SPDX-License-Identifier: GPL-2.0-only
#include "core/grant.hpp"

namespace xpv {

Result<OwnedPage> OwnedPage::allocate(xpv_alloc_mode mode) noexcept {
    xpv_page* page = xpv_page_alloc(mode);
    if (page == nullptr)
        return Error::NoMemory;
    return OwnedPage{page};
}

Grant::Grant(Grant&& other) noexcept : page_{move(other.page_)}, ref_{other.ref_} {}

Grant& Grant::operator=(Grant&& other) noexcept {
    if (this != &other) {
        drop();
        page_ = move(other.page_);
        ref_ = other.ref_;
    }
    return *this;
}

Result<Grant> Grant::share(uint16_t domid, OwnedPage page, Access access) noexcept {
    Grant grant;
    XPV_TRY(check(xpv_gnttab_reserve(1, &grant.ref_)));
    grant.page_ = move(page);
    xpv_page* const raw = grant.page_.get();
    xpv_gnttab_grant(domid, 1, &grant.ref_, &raw, access == Access::ReadOnly);
    return grant;
}

Result<OwnedPage> Grant::revoke() noexcept {
    if (!page_)
        return OwnedPage{};
    bool ended = false;
    xpv_gnttab_give_up(1, &ref_, &ended);
    if (!ended) {
        xpv_gnttab_defer(ref_, page_.release());
        return Error::Busy;
    }
    return move(page_);
}

bool Grant::end() noexcept {
    if (!page_)
        return true;
    bool ended = false;
    xpv_gnttab_give_up(1, &ref_, &ended);
    if (ended)
        page_.reset();
    return ended;
}

void Grant::drop() noexcept {
    (void)revoke(); // the page, if it came back, is freed here
}

Result<void> GrantRefs::reserve(uint32_t count) noexcept {
    release();
    auto* refs = static_cast<uint32_t*>(xpv_alloc(count * sizeof(uint32_t)));
    if (refs == nullptr)
        return Error::NoMemory;
    if (const int code = xpv_gnttab_reserve(count, refs); code < 0) {
        xpv_free(refs);
        return from_errno(code);
    }
    refs_ = refs;
    count_ = count;
    return {};
}

void GrantRefs::release() noexcept {
    for (uint32_t i = 0; i < count_; ++i)
        if (!lost(i))
            xpv_gnttab_unreserve(1, &refs_[i]);
    xpv_free(refs_);
    refs_ = nullptr;
    count_ = 0;
}

bool GrantRefs::end(uint32_t i) noexcept {
    bool ended = false;
    xpv_gnttab_give_up(1, &refs_[i], &ended);
    if (ended)
        refs_[i] = invalid;
    return ended;
}

void GrantRefs::defer(uint32_t i, xpv_page* page) noexcept {
    xpv_gnttab_defer(refs_[i], page);
    refs_[i] = invalid;
}

void GrantRefs::give(uint32_t i) noexcept {
    xpv_gnttab_unreserve(1, &refs_[i]);
    refs_[i] = invalid;
}

Result<void> MappedRing::map(xpv_xenbus* bus, Span<const GrantRef> refs) noexcept {
    unmap();
    void* address = nullptr;
    uint32_t raw[most];
    for (uint32_t i = 0; i < refs.size(); ++i)
        raw[i] = refs[i].number();
    XPV_TRY(check(xpv_ring_map(bus, raw, refs.size(), &address)));
    bus_ = bus;
    address_ = address;
    return {};
}

void MappedRing::unmap() noexcept {
    if (address_ == nullptr)
        return;
    xpv_ring_unmap(bus_, address_);
    address_ = nullptr;
}

} // namespace xpv
