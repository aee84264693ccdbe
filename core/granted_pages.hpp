// SPDX-License-Identifier: GPL-2.0-only
// Data pages that a peer may access: references and pages in one owner, so that a page
// leaves only when its grant is gone, and is counted once. Nothing here is called per slot.
#pragma once

#include "core/grant.hpp"

namespace xpv {

// One reference and one page, in a table of the owner's. It grants while both are there.
// Plain data, of nobody's when it goes: the owner calls close().
class GrantSlot {
public:
    GrantSlot() noexcept = default;

    xpv_page* page() const noexcept { return page_; }
    GrantRef ref() const noexcept { return GrantRef{ref_}; }
    bool refers() const noexcept { return ref_ != GrantRefs::invalid; }
    bool granted() const noexcept { return page_ != nullptr && refers(); }

    // A reference, unless there is one. Any context.
    [[nodiscard]] bool refer() noexcept;
    // The reference is the kernel's again; it grants nothing. Any context.
    void unrefer() noexcept;
    // Let peer access page, after refer(): this slot's own page, or one for a slot without.
    // Any context.
    void grant(uint16_t peer, xpv_page* page, Access access) noexcept;
    // Take access back for good, without a word in the log. True: nothing is granted, the
    // page is still here. False: nothing changed. Any context.
    [[nodiscard]] bool end() noexcept;
    // The page, which is not granted: the caller's.
    xpv_page* take() noexcept {
        xpv_page* const page = page_;
        page_ = nullptr;
        return page;
    }
    // Reference and page go to the deferred list: the peer holds on. Any context.
    void defer() noexcept;
    // Nothing is left here; the page, which is our own, is freed or deferred. May sleep.
    void close() noexcept;

    // Take access back, in batches, from first, the one that next(slot) says follows, and so
    // on to nullptr. Those that ended have no page any more and keep their references.
    // Whether all have; the log has a line for each that has not. Any context.
    template <class Next> static bool end_all(GrantSlot* first, Next next) noexcept {
        bool all = true;
        uint32_t refs[batch];
        bool ended[batch];
        while (first != nullptr) {
            uint32_t count = 0;
            for (GrantSlot* slot = first; slot != nullptr && count < batch; slot = next(*slot))
                refs[count++] = slot->ref_;
            const bool whole = xpv_gnttab_end(count, refs, ended) == count;
            for (uint32_t n = 0; n < count; ++n, first = next(*first))
                if (ended[n])
                    first->page_ = nullptr;
            all = all && whole;
        }
        return all;
    }

private:
    static constexpr uint32_t batch = 64;

    xpv_page* page_ = nullptr;
    uint32_t ref_ = GrantRefs::invalid;
};

// As many pages as count at a time, for one peer, over references that are reserved once;
// at most batch of them in one call.
template <uint32_t count, uint32_t batch> class GrantedPages : NoCopy {
public:
    using Index = uint16_t;
    static_assert(batch <= count && count <= 65536);

    struct Closed {
        uint32_t ended = 0; // of those that were granted
        uint32_t deferred = 0;
    };

    GrantedPages() noexcept = default;
    ~GrantedPages() {
        close([](xpv_page* page, bool ended) noexcept {
            if (ended)
                xpv_page_free(page);
        });
    }

    // After close(). NoSpace or NoMemory: not all references. May sleep.
    Result<void> open(uint16_t peer, Access access) noexcept {
        peer_ = peer;
        access_ = access;
        return refs_.reserve(count);
    }

    GrantRef ref(uint32_t i) const noexcept { return refs_[i]; }
    xpv_page* page(uint32_t i) const noexcept { return pages_[i]; }

    // Share a page through index i, which has none. Any context.
    void grant(uint32_t i, xpv_page* page) noexcept {
        const uint32_t ref = refs_.raw(i);
        pages_[i] = page;
        xpv_gnttab_grant(peer_, 1, &ref, &page, access_ == Access::ReadOnly);
    }
    // pages[k] through index at[k], all in one call.
    void grant(Span<const Index> at, xpv_page* const* pages) noexcept {
        for (uint32_t k = 0; k < at.size(); ++k) {
            batch_[k] = refs_.raw(at[k]);
            pages_[at[k]] = pages[k];
        }
        xpv_gnttab_grant(peer_, at.size(), batch_, pages, access_ == Access::ReadOnly);
    }

    // Take access back, in one call: how many ended. If all did, the pages are the caller's
    // and the indices free. Otherwise all of the pages stay here until close(), and the log
    // has a line for each that the peer holds. Any context.
    uint32_t end(Span<const Index> at) noexcept {
        for (uint32_t k = 0; k < at.size(); ++k)
            batch_[k] = refs_.raw(at[k]);
        const uint32_t ended = xpv_gnttab_end(at.size(), batch_, ended_);
        const bool all = ended == at.size();
        for (uint32_t k = 0; k < at.size(); ++k) {
            if (all) [[likely]]
                pages_[at[k]] = nullptr;
            else if (ended_[k])
                refs_.give(at[k]);
        }
        return ended;
    }

    // Everything comes back. sink(page, ended) is called once for each page: it is the
    // sink's, or, as the peer holds on, it goes to the deferred list after that call. May
    // sleep.
    template <class Sink> Closed close(Sink sink) noexcept {
        Closed closed;
        for (uint32_t i = 0; i < refs_.count(); ++i) {
            xpv_page* const page = pages_[i];
            if (page == nullptr)
                continue;
            pages_[i] = nullptr;
            if (refs_.lost(i)) { // ended before
                sink(page, true);
            } else if (refs_.end(i)) {
                ++closed.ended;
                sink(page, true);
            } else {
                ++closed.deferred;
                sink(page, false);
                refs_.defer(i, page);
            }
        }
        refs_.release();
        return closed;
    }

private:
    uint16_t peer_ = 0;
    Access access_ = Access::ReadOnly;
    GrantRefs refs_;
    xpv_page* pages_[count] = {};
    uint32_t batch_[batch];
    bool ended_[batch];
};

} // namespace xpv
