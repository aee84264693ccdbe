// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/controller.hpp"

namespace xpv::balloon {
namespace {

constexpr Pages mib = 256;
constexpr Pages spare = 64 * mib;           // of the floor, for what nobody counts
constexpr Pages pages_max = Pages{1} << 44; // so that no product below overflows

// Levels between two that are published; a word that fades passes them all.
constexpr Level plenty = 357; // below: grow (2/7 and less)
constexpr Level scarce = 643; // from here on, give (5/7 and more)
constexpr Level middle = 500; // above: who needs little pays a tax (4/7)

constexpr uint64_t k = 10; // thousandths per second

// Refaults per second that mean hunger: at 0.1 ms each a hundredth of a processor's time.
constexpr uint64_t hungry_refaults = 100;
constexpr uint64_t smooth = 8; // samples that the rate is smoothed over
constexpr Pages sip = 4;       // pages to take per refault per second
constexpr uint64_t ease_ms = 60000;

constexpr uint64_t million = 1000000;

// A part of so many millionths, at most the whole.
constexpr Pages part(Pages pages, uint64_t millionths) noexcept {
    const uint64_t of = min(millionths, million);
    return pages / million * of + pages % million * of / million;
}

constexpr Pages less(Pages a, Pages b) noexcept { return a > b ? a - b : 0; }

// Free pages that stay: the kernel's own watermarks, and something for the next second.
constexpr Pages reserve(const Sample& sample) noexcept {
    return sample.watermarks + sample.held / 64 + 8 * mib;
}

constexpr Pages floor_of(const Sample& sample, const Limits& limits) noexcept {
    const Pages fixed = sample.anonymous + sample.unevictable + sample.slab_fixed + sample.kernel +
                        sample.watermarks + sample.watermarks / 2 + spare;
    return min(max(fixed, limits.floor), pages_max);
}

// The gentlest rung on which so many pages can be found.
Rung gentlest(const Sample& sample, Pages give) noexcept {
    const Pages free = less(sample.free, reserve(sample));
    if (give <= free)
        return Rung::Free;
    if (give <= free + sample.cache)
        return Rung::Clean;
    if (!sample.swap || give <= less(sample.available, reserve(sample)))
        return Rung::Slab;
    return Rung::Swap;
}

// The hardest rung that a level justifies.
Rung hardest(Level level) noexcept {
    return level < scarce ? Rung::Free
           : level < 786  ? Rung::Clean
           : level < 929  ? Rung::Slab
                          : Rung::Swap;
}

constexpr Rung next(Rung rung) noexcept {
    return rung == Rung::Swap ? rung : static_cast<Rung>(static_cast<uint8_t>(rung) + 1);
}

} // namespace

// What the guest lacks whatever the host has, and whether it may be asked to give.
Pages Controller::look(const Sample& sample, Pages floor, uint64_t elapsed_ms) noexcept {
    const Pages used = less(sample.held, sample.available);
    Pages grew = 0;
    bool reclaimed = false;
    if (seen_) {
        const uint64_t back = min(less(sample.refaults, last_refaults_), pages_max);
        const uint64_t rate = back * 1000 / max<uint64_t>(elapsed_ms, 1);
        hunger_ = hunger_ - hunger_ / smooth + rate * 256 / smooth;
        grew = less(used, last_used_);
        reclaimed = sample.direct_reclaims > last_reclaims_ && !sample.ours;
    }
    last_refaults_ = sample.refaults;
    last_reclaims_ = sample.direct_reclaims;
    last_used_ = used;
    calm_ = hunger_ < hungry_refaults * 256 / 4 && !reclaimed;

    thirst_ = hunger_ >= hungry_refaults * 256 ? hunger_ / 256 * sip : 0;
    Pages lack = less(floor, sample.held);
    // Who grew since the last look will have grown as much again by the next.
    const Pages enough = reserve(sample);
    if (sample.available < enough + grew)
        lack = max(lack, 2 * enough + grew - sample.available);
    return lack;
}

// What the law says for a tick of so many ms.
Pages Controller::law(const Sample& sample, Pages floor, Pages bottom, Level level,
                      uint64_t ms) const noexcept {
    const Pages room = less(sample.max, sample.held);
    // Files that are read again are no reason to take the host's last memory.
    if (lack_ != 0 || (thirst_ != 0 && level < level_max))
        return sample.held + min(max(lack_, thirst_), room);
    if (level < plenty) {
        const Pages w = less(min(floor + limits_.wish, pages_max), sample.held);
        const uint64_t rate = k * (middle - level) * ms / 1000;
        const Pages grow = w != 0 ? part(w, 8 * rate) : part(room, rate);
        return sample.held + min(max(grow, Pages{1}), room);
    }
    if (level < middle || (!calm_ && level < level_max))
        return sample.held;
    uint64_t rate = k * 1000 / 8; // the tax on who is idle
    if (level >= scarce)
        rate = 2 * k * (level - middle);
    if (level == level_max)
        rate += 4 * k * 1000;
    const Pages slack = less(sample.held, bottom);
    return sample.held -
           part(slack, min(rate * ms / 1000, uint64_t{limits_.slew_percent} * (million / 100)));
}

Decision Controller::tick(const Sample& seen, Level level, bool gauge_known) noexcept {
    Sample sample = seen;
    sample.max = min(sample.max, pages_max);
    sample.held = min(sample.held, pages_max);
    if (sample.now_ms >= eased_until_ms_)
        eased_ = 0;

    Decision decision;
    decision.floor = floor_of(sample, limits_);
    const Pages bottom = min(decision.floor + eased_, pages_max);
    const uint64_t elapsed =
        seen_ && sample.now_ms >= last_ms_ ? sample.now_ms - last_ms_ : limits_.tick_ms;
    // A look between two ticks goes on with what the last one said: more looks move no more.
    const bool due = elapsed >= limits_.tick_ms / 2;
    if (due) {
        lack_ = look(sample, decision.floor, elapsed);
        last_ms_ = sample.now_ms;
        seen_ = true;
    }
    decision.hungry = (lack_ | thirst_) != 0;

    const bool asked = sample.held > sample.max; // by the toolstack
    if (asked)
        goal_ = max(sample.max, min(sample.held, bottom));
    else if (!gauge_known)
        goal_ = sample.max;
    else if (due)
        goal_ =
            law(sample, decision.floor, bottom, level, min(elapsed, uint64_t{limits_.tick_ms} * 2));
    else if (goal_ > sample.held)
        goal_ = lack_ != 0 || level < plenty ? min(goal_, sample.max) : sample.held;
    else
        goal_ = level < middle ? sample.held : max(goal_, min(sample.held, bottom));
    decision.goal = goal_;

    const Pages give = less(sample.held, goal_);
    const Rung wanted = give == 0 ? Rung::Free : gentlest(sample, give);
    if (asked)
        rung_ = wanted;
    else
        rung_ = min(min(wanted, hardest(level)), due ? next(rung_) : rung_);
    decision.rung = rung_;
    decision.at_rest = goal_ == sample.held && sample.held == sample.max && eased_ == 0 &&
                       (!gauge_known || level < middle);
    return decision;
}

void Controller::relieved(Pages pages, uint64_t now_ms) noexcept {
    if (now_ms >= eased_until_ms_)
        eased_ = 0;
    eased_ = min(eased_ + min(pages, pages_max), pages_max);
    eased_until_ms_ = now_ms + ease_ms;
}

} // namespace xpv::balloon
