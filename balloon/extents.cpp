// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/extents.hpp"

namespace xpv::balloon {

namespace {

// So many pages are asked of a reclaim at once: a fruitless round ends soon.
constexpr Pages reclaim_batch = 64;

constexpr uint32_t batch(Pages pages, uint32_t step) noexcept {
    return static_cast<uint32_t>(min(pages, Pages{XPV_BALLOON_BATCH}) >> ladder[step]);
}

uint32_t extents_done(int code, uint32_t count) noexcept {
    return code <= 0 ? 0 : min(static_cast<uint32_t>(code), count);
}

} // namespace

Pages Extents::back() const noexcept {
    Pages pages = 0;
    for (uint32_t step = 0; step < steps; ++step)
        pages += lists_[step].count * pages_of(step);
    return pages;
}

void Extents::push(uint32_t step, uint64_t pfn) noexcept {
    List& list = lists_[step];
    *xpv_balloon_os_word(os_, pfn) = list.first;
    list.first = pfn;
    ++list.count;
}

uint64_t Extents::pop(uint32_t step) noexcept {
    List& list = lists_[step];
    const uint64_t pfn = list.first;
    uint64_t* const word = xpv_balloon_os_word(os_, pfn);
    list.first = *word;
    *word = 0;
    --list.count;
    return pfn;
}

// [from, until) of the batch stay marked, and are nobody's for good.
void Extents::lose(uint32_t step, uint32_t from, uint32_t until) noexcept {
    if (from >= until)
        return;
    counters_.lost += (until - from) * pages_of(step);
    xpv_balloon_os_log(os_, XPV_LOG_ERR,
                       "%lu pages from frame %#lx on are kept for good: Xen did half of it",
                       (until - from) * pages_of(step), pfns_[from]);
}

// [from, until) of the batch are the kernel's as they were.
void Extents::give_up(uint32_t step, uint32_t from, uint32_t until) noexcept {
    if (from >= until)
        return;
    xpv_balloon_os_unmark(os_, ladder[step], until - from, pfns_ + from);
    xpv_balloon_os_free(os_, ladder[step], until - from, pfns_ + from);
}

Pages Extents::give(uint32_t step, uint32_t count) noexcept {
    const uint32_t order = ladder[step];
    xpv_balloon_os_mark(os_, order, count, pfns_);
    const uint32_t detached = xpv_balloon_os_detach(os_, order, count, pfns_);
    const int code = detached == 0 ? 0 : xpv_balloon_os_decrease(os_, order, detached, pfns_);
    const uint32_t done = extents_done(code, detached);
    for (uint32_t i = 0; i < done; ++i)
        push(step, pfns_[i]);
    if (done < count) {
        ++counters_.decrease_short;
        uint32_t rest = done;
        // A count says nothing of the extent at which Xen stopped: some of its pages may be
        // gone. A single page is there or not.
        if (code >= 0 && done < detached && step != singles) {
            lose(step, done, done + 1);
            highest_ = max(highest_, step + 1);
            ++rest;
        }
        const uint32_t again = rest + xpv_balloon_os_reattach(os_, order, rest, detached, pfns_);
        lose(step, again, detached);
        give_up(step, rest, again);
        give_up(step, detached, count);
    }
    uint64_t* const counted[] = {&counters_.inflated_2m, &counters_.inflated_64k,
                                 &counters_.inflated_4k};
    *counted[step] += done * pages_of(step);
    return done * pages_of(step);
}

Pages Extents::inflate(Pages want, Pages spare, Rung rung) noexcept {
    reclaimed_ = false;
    for (uint32_t step = highest_; step < steps; ++step) {
        const uint32_t count = batch(min(want, spare), step);
        const uint32_t got =
            count == 0 ? 0 : xpv_balloon_os_alloc(os_, ladder[step], 0, count, pfns_);
        if (got != 0)
            return give(step, got);
    }
    if (rung != Rung::Free && want != 0) {
        reclaimed_ = true;
        const auto count = static_cast<uint32_t>(min(want, reclaim_batch));
        const uint32_t got =
            xpv_balloon_os_alloc(os_, 0, static_cast<uint32_t>(rung), count, pfns_);
        if (got != 0)
            return give(singles, got);
    }
    ++counters_.no_pages;
    return 0;
}

// The extent that is least in demand becomes single pages.
bool Extents::split_one() noexcept {
    for (uint32_t step = singles; step-- > 0;) {
        if (lists_[step].count == 0)
            continue;
        const uint64_t pfn = pop(step);
        xpv_balloon_os_split(os_, ladder[step], pfn);
        // Pushed last to first, so that neighbours come back together.
        for (uint64_t i = pages_of(step); i-- > 0;)
            push(singles, pfn + i);
        ++counters_.split;
        return true;
    }
    return false;
}

Pages Extents::take(uint32_t step, uint32_t count) noexcept {
    const uint32_t order = ladder[step];
    for (uint32_t i = 0; i < count; ++i)
        pfns_[i] = pop(step);
    const uint32_t done = extents_done(xpv_balloon_os_populate(os_, order, count, pfns_), count);
    const uint32_t attached = done == 0 ? 0 : xpv_balloon_os_attach(os_, order, done, pfns_);
    give_up(step, 0, attached);
    lose(step, attached, done);
    for (uint32_t i = count; i-- > done;)
        push(step, pfns_[i]);
    if (done < count)
        ++counters_.populate_short;
    uint64_t* const counted[] = {&counters_.deflated_2m, &counters_.deflated_64k,
                                 &counters_.deflated_4k};
    *counted[step] += attached * pages_of(step);
    return attached * pages_of(step);
}

Pages Extents::deflate(Pages want) noexcept {
    for (uint32_t step = 0; step < steps; ++step) {
        // What is left is larger than what is wanted, or than Xen has in one piece.
        if (step == singles && want != 0 && lists_[singles].count == 0 && !split_one())
            break;
        const auto count =
            static_cast<uint32_t>(min(uint64_t{batch(want, step)}, lists_[step].count));
        const Pages taken = count == 0 ? 0 : take(step, count);
        if (taken != 0)
            return taken;
    }
    return 0;
}

} // namespace xpv::balloon
