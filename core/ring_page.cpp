// SPDX-License-Identifier: GPL-2.0-only
#include "core/ring_page.hpp"

namespace xpv {

Result<void> RingMemory::open(uint16_t peer, uint32_t order) noexcept {
    close();
    const uint32_t count = 1U << order;
    xpv_page* pages[most];
    XPV_TRY(check(xpv_pages_alloc(count, pages)));
    Result<void> shared;
    for (uint32_t i = 0; i < count; ++i) {
        OwnedPage page{pages[i]};
        if (!shared.ok())
            continue; // freed
        Result<Grant> grant = Grant::share(peer, move(page), Access::ReadWrite);
        if (!grant.ok()) {
            shared = grant.error();
            continue;
        }
        grants_[i] = grant.take();
        refs_[i] = grants_[i].ref();
    }
    if (!shared.ok()) {
        close();
        return shared;
    }
    count_ = count;
    return {};
}

bool RingMemory::ended() noexcept {
    bool all = true;
    for (Grant& grant : grants_)
        all = grant.end() && all;
    count_ = 0;
    return all;
}

void RingMemory::close() noexcept {
    for (Grant& grant : grants_)
        grant = Grant{};
    count_ = 0;
}

} // namespace xpv
