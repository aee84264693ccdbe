// SPDX-License-Identifier: GPL-2.0-only
// One turn of the balloon's thread: look, decide, move one batch, say when to come back.
#include "balloon/balloon.hpp"
#include "core/xenstore.hpp"

namespace xpv::balloon {
namespace {

constexpr Limits limits_of(const xpv_balloon_settings& settings) noexcept {
    return {settings.floor_pages, settings.wish_pages, settings.slew_percent, settings.tick_ms};
}

} // namespace

Balloon::Balloon(xpv_balloon_os* os, const xpv_balloon_settings& settings) noexcept
    : os_{os}, settings_{settings}, controller_{limits_of(settings)} {}

int Balloon::set(const xpv_balloon_settings& settings) noexcept {
    if (settings.mode != settings_.mode && extents_.back() != 0)
        return to_errno(Error::Busy);
    settings_ = settings;
    controller_.set(limits_of(settings));
    told_floor_ = false;
    return 0;
}

Pages Balloon::held() const noexcept {
    return stock_.current_pages - min(stock_.current_pages, extents_.out());
}

// A target that is out of reach by what Xen keeps for itself is reached; Linux's driver would
// add memory to the guest for it.
Pages Balloon::most() const noexcept {
    return wanted_ > stock_.total + most_hidden ? wanted_ : min(wanted_, stock_.total);
}

// Free memory that is left for who needs some at once.
Pages Balloon::reserve(const xpv_balloon_sample& sample) const noexcept {
    return sample.watermarks + held() / 50;
}

void Balloon::decide(uint64_t now) noexcept {
    xpv_balloon_sample seen;
    xpv_balloon_os_sample(os_, &seen);
    Sample sample;
    sample.now_ms = now;
    sample.held = held();
    sample.max = most();
    sample.free = seen.free;
    sample.available = seen.available;
    sample.cache = seen.cache;
    sample.anonymous = seen.anonymous;
    sample.unevictable = seen.unevictable;
    sample.slab_fixed = seen.slab_fixed;
    sample.kernel = seen.kernel;
    sample.watermarks = seen.watermarks;
    sample.refaults = seen.refaults;
    sample.direct_reclaims = seen.direct_reclaims;
    sample.swap = seen.swap;
    sample.ours = reclaimed_;
    reclaimed_ = false;
    decision_ = controller_.tick(sample, gauge_.level(now), gauge_.known());
    next_tick_ = now + settings_.tick_ms;
    ++counters_.ticks;
}

// What to hold now: never less than the floor, except what is gone already, and nothing of
// what went back when the guest ran out of memory.
Pages Balloon::wanted_now(uint64_t now) const noexcept {
    const Pages have = held();
    Pages goal = decision_.goal;
    if (goal < decision_.floor)
        goal = max(goal, min(decision_.floor, have));
    // What the guest needs goes up and down: once at the floor only a step of it counts,
    // else each low would be taken and each high be missing.
    if (rests_ && goal < have && goal > wanted_ && have - goal < floor_step)
        goal = have;
    if (now < eased_until_)
        goal = max(goal, min(eased_, have));
    return goal;
}

Pages Balloon::move(Pages goal) noexcept {
    const Pages have = held();
    if (goal > have)
        return extents_.deflate(min(goal - have, extents_.back()));
    if (goal == have)
        return 0;
    xpv_balloon_sample sample;
    xpv_balloon_os_sample(os_, &sample);
    // Needs may have grown since the last tick.
    const Pages keep = reserve(sample);
    if (sample.available <= keep)
        return 0;
    const Pages spare = sample.free - min(sample.free, keep);
    const Pages moved =
        extents_.inflate(min(have - goal, sample.available - keep), spare, decision_.rung);
    reclaimed_ = reclaimed_ || extents_.reclaimed();
    return moved;
}

uint32_t Balloon::back_off(uint64_t now) noexcept {
    backoff_ms_ = min(backoff_last_ms, max(backoff_first_ms, backoff_ms_ * 2));
    next_tick_ = min(next_tick_, now + backoff_ms_);
    ++counters_.waits;
    return backoff_ms_;
}

// Milliseconds until the next turn.
uint32_t Balloon::wait(Pages moved, Pages goal, uint64_t now) noexcept {
    if (moved != 0) {
        backoff_ms_ = 0;
        return 0;
    }
    const bool mine = settings_.mode != XPV_BALLOON_STEER;
    const Pages have = held();
    const bool can = goal < have || (goal > have && extents_.back() != 0);
    // The toolstack wants what the guest cannot give, or the other way round: never given
    // up, never spun upon.
    const bool short_of = mine && (can || wanted_ < min(have, decision_.floor));
    if (settings_.released)
        return can ? back_off(now) : XPV_BALLOON_NEVER;
    if (short_of)
        return back_off(now);
    backoff_ms_ = 0;
    if (now < eased_until_)
        return settings_.tick_ms;
    if (!decision_.at_rest || gauge_.fades(now))
        return settings_.tick_ms;
    return XPV_BALLOON_NEVER;
}

void Balloon::publish(uint64_t now) noexcept {
    const Pages have = held();
    if (have == published_ || now < next_publish_)
        return;
    char text[21];
    format_number(have * 4, text);
    if (published_ == ~Pages{0})
        (void)xpv_balloon_os_write(os_, "data/xpv-balloon/features", "1");
    (void)xpv_balloon_os_write(os_, "data/xpv-balloon/held", text);
    published_ = have;
    next_publish_ = now + publish_ms;
}

uint32_t Balloon::turn(uint32_t events) noexcept {
    const uint64_t from = xpv_balloon_os_now_ns(os_);
    const uint64_t now = xpv_now_ms();
    xpv_balloon_os_stock(os_, &stock_);
    if (!seen_) {
        look(now);
        events |= XPV_BALLOON_SETTINGS;
    }
    if ((events & XPV_BALLOON_TARGET_NODE) != 0) {
        read_limit();
        read_target();
    }
    if ((events & XPV_BALLOON_GAUGE_NODE) != 0)
        read_gauge(now);
    if (events != 0)
        backoff_ms_ = 0;
    if (events != 0 || now >= next_tick_)
        decide(now);
    keep_stock(now);

    Pages goal = settings_.released ? stock_.current_pages : wanted_now(now);
    if (settings_.mode == XPV_BALLOON_STEER)
        goal = held();
    rests_ = goal == held();
    if (!told_floor_ && rests_ && wanted_ < goal && wanted_ < decision_.floor &&
        !settings_.released) {
        told_floor_ = true;
        xpv_balloon_os_log(os_, XPV_LOG_WARN,
                           "the target of %lu KiB is below the floor of %lu KiB: stopped there",
                           (wanted_ + hidden_) * 4, decision_.floor * 4);
    }
    const Pages moved = move(goal);
    if (const bool out = extents_.back() != 0; out != held_module_) {
        held_module_ = out;
        xpv_balloon_os_hold(os_, out);
    }
    uint32_t delay = wait(moved, goal, now);
    if (delay != 0)
        next_publish_ = 0;
    publish(now);
    const uint32_t rest = budget_.spend(from, xpv_balloon_os_now_ns(os_), settings_.cpu_percent);
    return max(delay, rest);
}

uint32_t Balloon::oom() noexcept {
    ++counters_.oom_calls;
    if (!seen_ || settings_.mode == XPV_BALLOON_STEER)
        return 0;
    const Pages freed = extents_.deflate(min(extents_.back(), Pages{XPV_BALLOON_BATCH}));
    if (freed == 0)
        return 0;
    const uint64_t now = xpv_now_ms();
    counters_.oom_pages += freed;
    eased_ = held();
    eased_until_ = now + eased_ms;
    controller_.relieved(freed, now);
    return static_cast<uint32_t>(freed);
}

void Balloon::show(xpv_balloon_state& state) const noexcept {
    const uint64_t now = xpv_now_ms();
    state = {};
    state.mode = settings_.mode;
    state.held = held();
    state.wanted = wanted_;
    state.goal = settings_.released ? stock_.current_pages : wanted_now(now);
    state.floor = decision_.floor;
    state.limit = limit_kib_ / 4;
    for (uint32_t step = 0; step < steps; ++step)
        state.out[step] = extents_.count(step);
    state.lost = extents_.lost();
    state.rung = static_cast<uint32_t>(decision_.rung);
    state.level = gauge_.level(now);
    state.backoff_ms = backoff_ms_;
    state.gauge = gauge_.known();
    state.hungry = decision_.hungry;
    state.at_rest = decision_.at_rest;
    state.released = settings_.released;
}

} // namespace xpv::balloon
