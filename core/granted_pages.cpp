// SPDX-License-Identifier: GPL-2.0-only
#include "core/granted_pages.hpp"

namespace xpv {

bool GrantSlot::refer() noexcept {
    if (!refers() && xpv_gnttab_reserve(1, &ref_) < 0)
        ref_ = GrantRefs::invalid;
    return refers();
}

void GrantSlot::unrefer() noexcept {
    xpv_gnttab_unreserve(1, &ref_);
    ref_ = GrantRefs::invalid;
}

void GrantSlot::grant(uint16_t peer, xpv_page* page, Access access) noexcept {
    page_ = page;
    xpv_gnttab_grant(peer, 1, &ref_, &page_, access == Access::ReadOnly);
}

bool GrantSlot::end() noexcept {
    if (!granted())
        return true;
    bool ended = false;
    xpv_gnttab_give_up(1, &ref_, &ended);
    if (ended)
        ref_ = GrantRefs::invalid;
    return ended;
}

void GrantSlot::defer() noexcept {
    xpv_gnttab_defer(ref_, take());
    ref_ = GrantRefs::invalid;
}

void GrantSlot::close() noexcept {
    if (!end()) {
        defer();
        return;
    }
    if (page_ != nullptr)
        xpv_page_free(take());
    if (refers())
        unrefer();
}

} // namespace xpv
