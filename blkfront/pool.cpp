// SPDX-License-Identifier: GPL-2.0-only
#include "blkfront/pool.hpp"

namespace xpv::blkfront {

Result<void> Pool::create(uint32_t capacity) noexcept {
    XPV_TRY(lock_.create(1));
    auto* const entries = static_cast<Entry*>(xpv_alloc(capacity * sizeof(Entry)));
    if (entries == nullptr)
        return Error::NoMemory;
    entries_ = entries;
    capacity_ = capacity;
    for (uint32_t i = capacity; i-- > 0;) {
        new (&entries_[i]) Entry;
        push(bare_, static_cast<Index>(i));
    }
    return {};
}

void Pool::limit(uint32_t entries) noexcept {
    const Guard guard{lock_};
    store_once(&withheld_, capacity_ - entries);
    withhold();
}

void Pool::withhold() noexcept {
    while (spare_.count > withheld_)
        push(bare_, pop(spare_));
    while (spare_.count < withheld_ && bare_.count > lent_reserve_) {
        const Index i = pop(bare_);
        if (entries_[i].refers())
            entries_[i].unrefer();
        push(spare_, i);
    }
}

Result<void> Pool::open(uint16_t peer, uint32_t kept, uint32_t lent) noexcept {
    peer_ = peer;
    reserve_ = kept;
    lent_reserve_ = 0;
    // Nobody else is here yet.
    while (bare_.count + spare_.count < withheld_ && cold_.count != 0) {
        const Index i = pop(cold_);
        xpv_page_free(entries_[i].take());
        push(bare_, i);
    }
    withhold();
    lent_reserve_ = lent;
    while (kept_ < kept) {
        Stack& from = cold_.count != 0 ? cold_ : bare_;
        if (from.count == 0)
            return Error::NoSpace;
        const Index i = pop(from);
        if (!make_one(i, XPV_ALLOC_SLEEP)) {
            const bool page = entries_[i].page() != nullptr;
            push(page ? cold_ : bare_, i);
            return page ? Error::NoSpace : Error::NoMemory;
        }
        push(free_, i);
        ++kept_;
    }
    // Pages that are too many beside the lent ones; and references for these.
    while (bare_.count < lent && cold_.count != 0) {
        const Index i = pop(cold_);
        xpv_page_free(entries_[i].take());
        push(bare_, i);
    }
    Index i = bare_.top;
    for (uint32_t n = 0; n < lent; ++n, i = entries_[i].next) {
        if (i == none || !entries_[i].refer())
            return Error::NoSpace;
    }
    lowest_free_ = free_.count;
    return {};
}

void Pool::push_all(Stack& stack, Index first) noexcept {
    while (first != none) {
        const Index i = first;
        first = entries_[i].next;
        push(stack, i);
    }
}

// In front of chain.
void Pool::move_to(Index& chain, Stack& from, uint32_t count) noexcept {
    for (; count > 0; --count) {
        const Index i = pop(from);
        entries_[i].next = chain;
        chain = i;
    }
}

// The lock is held. Take entries off the lists; `made`: those that have to be made yet, up
// to `make` of the kept ones.
bool Pool::detach(uint32_t kept, uint32_t lent, uint32_t make, Chains& chains,
                  Index& made) noexcept {
    const uint32_t ready = min(kept, free_.count);
    const uint32_t missing = kept - ready;
    const uint32_t bare = bare_.count > lent_reserve_ ? bare_.count - lent_reserve_ : 0;
    if (missing > make || missing > cold_.count + bare || lent > bare_.count)
        return false;
    move_to(chains.kept, free_, ready);
    const uint32_t cold = min(missing, cold_.count);
    // Lent ones first: they are the ones with references.
    move_to(chains.lent, bare_, lent);
    move_to(made, cold_, cold);
    move_to(made, bare_, missing - cold);
    store_once(&kept_, kept_ + missing);
    lowest_free_ = min(lowest_free_, free_.count);
    return true;
}

bool Pool::take(uint32_t kept, uint32_t lent, Chains& chains) noexcept {
    Index made = none;
    {
        const Guard guard{lock_};
        if (in_line_ != 0 || !detach(kept, lent, kept, chains, made))
            return false;
    }
    if (made == none && chains.lent == none) [[likely]]
        return true;
    const bool enough = make(made, XPV_ALLOC_ATOMIC) && refer(chains.lent);
    if (enough) {
        while (made != none) {
            const Index i = made;
            made = entries_[i].next;
            entries_[i].next = chains.kept;
            chains.kept = i;
        }
        return true;
    }
    const Guard guard{lock_};
    while (made != none) {
        const Index i = made;
        made = entries_[i].next;
        const Entry& entry = entries_[i];
        push(entry.granted() ? free_ : entry.page() != nullptr ? cold_ : bare_, i);
        if (!entry.granted())
            store_once(&kept_, kept_ - 1);
    }
    push_all(free_, chains.kept);
    push_all(bare_, chains.lent);
    chains = {};
    return false;
}

bool Pool::take_in_line(QueueIndex ring, uint32_t kept, uint32_t lent, Chains& chains) noexcept {
    Index made = none;
    const Guard guard{lock_};
    const bool first = in_line_ == 0 || line_[0] == ring;
    if (first && detach(kept, lent, 0, chains, made)) {
        if (refer(chains.lent)) {
            if (in_line_ != 0) {
                --in_line_;
                for (uint32_t i = 0; i < in_line_; ++i)
                    line_[i] = line_[i + 1];
            }
            return true;
        }
        push_all(free_, chains.kept);
        push_all(bare_, chains.lent);
        chains = {};
    }
    for (uint32_t i = 0; i < in_line_; ++i)
        if (line_[i] == ring)
            return false;
    line_[in_line_] = ring;
    store_once(&in_line_, in_line_ + 1);
    return false;
}

void Pool::leave_line(QueueIndex ring) noexcept {
    if (load_once(&in_line_) == 0)
        return;
    const Guard guard{lock_};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < in_line_; ++i)
        if (line_[i] != ring)
            line_[kept++] = line_[i];
    store_once(&in_line_, kept);
}

QueueIndex Pool::next() const noexcept {
    if (!anybody())
        return QueueIndex::none();
    const Guard guard{lock_};
    return in_line_ == 0 ? QueueIndex::none() : line_[0];
}

void Pool::give(const Chains& chains) noexcept {
    if (chains.kept == none && chains.lent == none)
        return;
    const Guard guard{lock_};
    push_all(free_, chains.kept);
    push_all(bare_, chains.lent);
    if (spare_.count < withheld_) [[unlikely]]
        withhold();
}

// ---- grants ----------------------------------------------------------------------

bool Pool::make_one(Index i, xpv_alloc_mode mode) noexcept {
    Entry& entry = entries_[i];
    if (!entry.refer())
        return false;
    xpv_page* page = entry.page();
    if (page == nullptr) {
        page = xpv_page_alloc(mode);
        if (page == nullptr) {
            entry.unrefer();
            return false;
        }
        entry.address = static_cast<uint8_t*>(xpv_page_address(page));
    }
    entry.grant(peer_, page, Access::ReadWrite);
    return true;
}

// Entries of nobody's: no lock.
bool Pool::make(Index first, xpv_alloc_mode mode) noexcept {
    for (; first != none; first = entries_[first].next)
        if (!make_one(first, mode))
            return false;
    return true;
}

bool Pool::refer(Index first) noexcept {
    for (; first != none; first = entries_[first].next)
        if (!entries_[first].refer())
            return false;
    return true;
}

bool Pool::unlend(Index first) noexcept {
    const auto at = [this](Index i) noexcept { return i == none ? nullptr : &entries_[i]; };
    return GrantSlot::end_all(at(first), [&at](const GrantSlot& slot) noexcept {
        return at(static_cast<const Entry&>(slot).next);
    });
}

bool Pool::try_unlend(Index first) noexcept {
    bool all = true;
    for (; first != none; first = entries_[first].next) {
        if (entries_[first].end())
            (void)entries_[first].take();
        else
            all = false;
    }
    return all;
}

void Pool::abandon(Index first) noexcept {
    for (; first != none; first = entries_[first].next) {
        Entry& entry = entries_[first];
        if (entry.end()) {
            (void)entry.take();
            continue;
        }
        xpv_page_hold(entry.page());
        entry.defer();
    }
}

// ---- the connection's end ----------------------------------------------------------

void Pool::close() noexcept {
    const Guard guard{lock_};
    store_once(&in_line_, 0u);
    Stack all = free_;
    free_ = {};
    while (all.count != 0) {
        const Index i = pop(all);
        push(entries_[i].end() ? cold_ : stuck_, i);
    }
    store_once(&kept_, 0u);
}

bool Pool::ended() noexcept {
    const Guard guard{lock_};
    Stack all = stuck_;
    stuck_ = {};
    while (all.count != 0) {
        const Index i = pop(all);
        push(entries_[i].end() ? cold_ : stuck_, i);
    }
    return stuck_.count == 0;
}

void Pool::trim() noexcept {
    Index idle = none;
    uint32_t count = 0;
    {
        const Guard guard{lock_};
        const uint32_t more = kept_ > reserve_ ? kept_ - reserve_ : 0;
        const uint32_t over = withheld_ - spare_.count;
        count = min(more, max((lowest_free_ + 1) / 2, min(over, free_.count)));
        lowest_free_ = free_.count;
        if (count == 0)
            return;
        // The bottom is what was not used for longest.
        Index above = none;
        Index i = free_.top;
        for (uint32_t n = free_.count; n > count; --n) {
            above = i;
            i = entries_[i].next;
        }
        idle = i;
        (above == none ? free_.top : entries_[above].next) = none;
        free_.count -= count;
        lowest_free_ = free_.count;
    }
    // What the backend has mapped stays, until it has not.
    Index held = none;
    Index over = none;
    uint32_t gone = 0;
    while (idle != none) {
        const Index i = idle;
        Entry& entry = entries_[i];
        idle = entry.next;
        const bool ended = entry.end();
        if (ended) {
            xpv_page_free(entry.take());
            ++gone;
        }
        Index& chain = ended ? over : held;
        entry.next = chain;
        chain = i;
    }
    const Guard guard{lock_};
    store_once(&kept_, kept_ - gone);
    push_all(bare_, over);
    push_all(free_, held);
    withhold();
}

void Pool::destroy() noexcept {
    for (uint32_t i = 0; i < capacity_; ++i)
        entries_[i].close();
    xpv_free(entries_);
    entries_ = nullptr;
    capacity_ = 0;
}

} // namespace xpv::blkfront
