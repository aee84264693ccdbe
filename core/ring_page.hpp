// SPDX-License-Identifier: GPL-2.0-only
// A frontend's ring with the memory that it lies in, shared with the backend for as long
// as it is open: xen/io/ring.h.
#pragma once

#include "core/grant.hpp"
#include "core/ring.hpp"

namespace xpv {

// Zeroed pages, one after the other in memory, each shared by a grant of its own.
class RingMemory : NoCopy {
public:
    static constexpr uint32_t max_order = 4;

    RingMemory() noexcept = default;

    // 1 << order pages for peer, which may write: all, or NoMemory or NoSpace. Whatever
    // was there before is let go as by close(). May sleep.
    Result<void> open(uint16_t peer, uint32_t order) noexcept;
    // Take access back: whether the other end has let go of all. May be called again. May
    // sleep.
    bool ended() noexcept;
    // The same for the last time: what the other end still holds goes to the deferred
    // list. May sleep.
    void close() noexcept;

    // As open() made it, until access is taken back.
    void* address() const noexcept { return grants_[0].address(); }
    uint32_t count() const noexcept { return count_; }
    const GrantRef* refs() const noexcept { return refs_; }

private:
    static constexpr uint32_t most = 1U << max_order;

    uint32_t count_ = 0;
    GrantRef refs_[most] = {};
    Grant grants_[most];
};

template <class Sring> class RingPage : NoCopy {
public:
    RingPage() noexcept = default;

    // A new ring of 1 << order pages. May sleep.
    Result<void> open(uint16_t peer, uint32_t order = 0) noexcept {
        XPV_TRY(memory_.open(peer, order));
        ring_.attach(memory_.address(), size_t{page_size} << order);
        return {};
    }
    // Nobody uses the ring any more, but the memory is not taken back yet.
    void detach() noexcept { ring_.detach(); }
    // After detach(), or when it was never used: whether the other end has let go of all.
    // May be called again. May sleep.
    bool ended() noexcept { return memory_.ended(); }
    // The end; what the other end still holds goes to the deferred list. May sleep.
    void close() noexcept {
        ring_.detach();
        memory_.close();
    }

    FrontRing<Sring>* operator->() noexcept { return &ring_; }
    const FrontRing<Sring>* operator->() const noexcept { return &ring_; }

    // While it is open: where the other end finds it.
    uint32_t pages() const noexcept { return memory_.count(); }
    const GrantRef* refs() const noexcept { return memory_.refs(); }
    // All but the event channel. Any context; the numbers may be a moment old.
    void view(xpv_ring_view& view) const noexcept {
        ring_.view(view);
        view.pages = pages();
        view.ref = refs()[0].number();
    }

private:
    FrontRing<Sring> ring_;
    RingMemory memory_;
};

} // namespace xpv
