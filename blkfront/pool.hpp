// SPDX-License-Identifier: GPL-2.0-only
// What a disk grants: pages of its own that stay granted and that data is copied into and
// out of (kept), and others' pages while a request lasts (lent). Bounded for all rings
// together. Kept pages are made as they are needed, the last used comes first, and what
// nobody used for a while goes back to the kernel, down to a reserve that suffices for
// the longest request.
//
// Rings that find too little wait in line. Whoever gives something back asks next() whom
// to wake.
#pragma once

#include "blkfront/abi.h"
#include "core/granted_pages.hpp"
#include "core/lock.hpp"

namespace xpv::blkfront {

class Pool : NoCopy {
public:
    using Index = uint16_t; // of an entry; chains end with none
    static constexpr Index none = 0xffff;

    // The page: kept ones are our own, lent ones somebody's.
    struct Entry : GrantSlot {
        Index next;
        uint8_t first; // sectors of the page that are meant
        uint8_t last;
        uint8_t* address; // kept only
    };
    static_assert(sizeof(Entry) == 24);
    struct Chains {
        Index kept = none;
        Index lent = none;
    };

    Pool() noexcept = default;
    ~Pool() { destroy(); }

    // Room for capacity entries. May sleep.
    Result<void> create(uint32_t capacity) noexcept;
    // Of the capacity, as many may be used from now on, beginning with those that nobody
    // uses; not fewer than any connection's reserves. Any context.
    void limit(uint32_t entries) noexcept;
    // A new connection to peer. kept pages are there from now on whatever happens, and
    // room for lent others. May sleep.
    Result<void> open(uint16_t peer, uint32_t kept, uint32_t lent) noexcept;

    // kept pages and lent empty entries with references, all or nothing, ahead of nobody
    // who waits. Makes pages if it must. Softirq or process context.
    bool take(uint32_t kept, uint32_t lent, Chains& chains) noexcept;
    // The next kept page, granted and free already, or none; not if anybody waits. It is in
    // no chain. Any context.
    Index take_one() noexcept {
        const Guard guard{lock_};
        if (in_line_ != 0 || free_.count == 0)
            return none;
        const Index i = pop(free_);
        lowest_free_ = min(lowest_free_, free_.count);
        return i;
    }
    // The same for a ring that waits: without making pages, and if there are not enough
    // the ring is in line. Any context.
    bool take_in_line(QueueIndex ring, uint32_t kept, uint32_t lent, Chains& chains) noexcept;
    // The ring does not wait any more. Any context.
    void leave_line(QueueIndex ring) noexcept;
    // The ring that is first in line, or none(). Any context.
    QueueIndex next() const noexcept;
    // Is there one? A look without the lock.
    bool anybody() const noexcept { return load_once(&in_line_) != 0; }

    // Chains that nobody needs any more. Lent entries grant nothing. Any context.
    void give(const Chains& chains) noexcept;

    Entry& operator[](Index i) const noexcept { return entries_[i]; }
    uint16_t peer() const noexcept { return peer_; }

    // Let the backend access a page by a lent entry. Any context.
    void lend(Index i, xpv_page* page, Access access) noexcept {
        entries_[i].grant(peer_, page, access);
    }
    // Take access back from all of a chain: true. False: the backend holds on to some,
    // whose page is still set. Any context.
    bool unlend(Index first) noexcept;
    // The same when the backend may be in its rights: without a word in the log.
    bool try_unlend(Index first) noexcept;
    // What the backend still holds goes to the deferred list, with an owner for each page.
    void abandon(Index first) noexcept;

    // No connection: end all grants of kept pages. None of them is out. May sleep.
    void close() noexcept;
    // Have they all ended? Tries again. May sleep.
    bool ended() noexcept;
    // Half of what was never used since the last call goes back. May sleep.
    void trim() noexcept;
    // Pages to the kernel, or to its deferred list. Nothing is out. May sleep.
    void destroy() noexcept;

    uint32_t capacity() const noexcept { return capacity_ - load_once(&withheld_); }
    uint32_t kept() const noexcept { return load_once(&kept_); }
    uint32_t free() const noexcept { return load_once(&free_.count); }
    uint32_t stuck() const noexcept { return load_once(&stuck_.count); }
    bool idle() const noexcept { return load_once(&kept_) <= reserve_; }

private:
    // Entries, last in first out.
    struct Stack {
        Index top = none;
        uint32_t count = 0;
    };
    void push(Stack& stack, Index i) noexcept {
        entries_[i].next = stack.top;
        stack.top = i;
        ++stack.count;
    }
    Index pop(Stack& stack) noexcept {
        const Index i = stack.top;
        stack.top = entries_[i].next;
        --stack.count;
        return i;
    }
    void push_all(Stack& stack, Index first) noexcept;
    void move_to(Index& chain, Stack& from, uint32_t count) noexcept;

    // The lock is held: as many unused ones as limit() said, if there are.
    void withhold() noexcept;
    bool detach(uint32_t kept, uint32_t lent, uint32_t make, Chains& chains, Index& made) noexcept;
    bool make(Index first, xpv_alloc_mode mode) noexcept;
    bool make_one(Index i, xpv_alloc_mode mode) noexcept;
    bool refer(Index first) noexcept;

    Lock lock_;
    Entry* entries_ = nullptr;
    uint32_t capacity_ = 0;
    uint32_t reserve_ = 0;      // kept pages that stay
    uint32_t lent_reserve_ = 0; // entries that never become kept pages
    uint32_t kept_ = 0;         // granted pages of our own, out or free
    uint32_t lowest_free_ = 0;  // since the last trim()
    uint16_t peer_ = 0;
    Stack free_;            // kept
    Stack cold_;            // our own pages, granted to nobody
    Stack bare_;            // without a page
    Stack stuck_;           // of a former connection, not ended yet
    Stack spare_;           // bare ones that are not to be used
    uint32_t withheld_ = 0; // how many these are to be

    QueueIndex line_[XPV_BLKFRONT_MAX_RINGS] = {};
    uint32_t in_line_ = 0;
};

} // namespace xpv::blkfront
