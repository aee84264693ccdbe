// SPDX-License-Identifier: GPL-2.0-only
// What others ask for: memory/target, memory/static-max and memory/xpv-gauge, and the
// target of Linux's own driver.
#include "balloon/balloon.hpp"
#include "core/xenstore.hpp"

namespace xpv::balloon {
namespace {

constexpr uint32_t text_size = 64;
constexpr uint64_t kib_per_page = 4;

} // namespace

// static-max first: the target is judged by it.
void Balloon::read_limit() noexcept {
    char text[text_size];
    const int length = xpv_balloon_os_read(os_, "memory/static-max", text, sizeof(text));
    if (length == to_errno(Error::NoEntry))
        return;
    const Result<uint64_t> kib = length < 0 ? Error::Range : parse_number64(text);
    if (kib.ok() && kib.value() >= kib_per_page) {
        limit_kib_ = kib.value();
        return;
    }
    ++counters_.bad_nodes;
    xpv_balloon_os_log(os_, XPV_LOG_ERR,
                       "memory/static-max: \"%s\" is not a number of KiB from 4 on: ignored",
                       length < 0 ? "..." : text);
}

void Balloon::read_target() noexcept {
    char text[text_size];
    const int length = xpv_balloon_os_read(os_, "memory/target", text, sizeof(text));
    if (length == to_errno(Error::NoEntry))
        return;
    if (length < 0)
        text[0] = '\0';
    if (const Result<uint64_t> kib = parse_number64(text);
        kib.ok() && kib.value() >= kib_per_page && kib.value() <= limit_kib_) {
        accept(kib.value(), "memory/target");
        return;
    }
    ++counters_.bad_nodes;
    xpv_balloon_os_log(os_, XPV_LOG_ERR,
                       "memory/target: \"%s\" is not a number of KiB in 4..%lu: the target stays "
                       "at %lu KiB",
                       text, limit_kib_, (wanted_ + hidden_) * kib_per_page);
}

int Balloon::ask(const char* text) noexcept {
    const Result<uint64_t> kib = parse_number64(text);
    const uint64_t most = limit_kib_ - min(limit_kib_, hidden_ * kib_per_page);
    const uint64_t least = min(most, max(Pages{1}, decision_.floor) * kib_per_page);
    if (!kib.ok() || kib.value() < least || kib.value() > most) {
        xpv_balloon_os_log(os_, XPV_LOG_ERR, "target_kb: \"%s\" is not a number of KiB in %lu..%lu",
                           text, least, most);
        return to_errno(Error::Range);
    }
    accept(kib.value() + hidden_ * kib_per_page, "target_kb");
    return 0;
}

void Balloon::accept(uint64_t kib, const char* who) noexcept {
    const Pages pages = kib / kib_per_page;
    const Pages wanted = max(Pages{1}, pages - min(pages, hidden_));
    if (seen_ && wanted != wanted_)
        xpv_balloon_os_log(os_, XPV_LOG_INFO, "%s: %lu KiB", who, kib);
    told_floor_ = told_floor_ && wanted == wanted_;
    wanted_ = wanted;
}

void Balloon::read_gauge(uint64_t now) noexcept {
    char text[GaugeWord::size];
    const int length = xpv_balloon_os_read(os_, "memory/xpv-gauge", text, sizeof(text));
    const Result<GaugeWord> word = length < 0 ? Result<GaugeWord>{from_errno(length)}
                                              : parse_gauge(text, static_cast<uint32_t>(length));
    if (!gauge_.hear(word, now).ok() && word.error() != Error::NoEntry)
        ++counters_.bad_nodes;
}

// The first look: how Linux's figure differs from the toolstack's, which the driver has
// worked out at its boot and keeps to itself. On PVH Xen counts pages that are no memory.
void Balloon::look(uint64_t now) noexcept {
    limit_kib_ = stock_.total * kib_per_page;
    wanted_ = stock_.current_pages;
    read_limit();
    char text[text_size];
    if (xpv_balloon_os_read(os_, "memory/target", text, sizeof(text)) > 0) {
        const Result<uint64_t> kib = parse_number64(text);
        const Pages pages = kib.value_or(0) / kib_per_page;
        const Pages known = stock_.present ? stock_.target : stock_.current_pages;
        if (kib.ok() && pages >= known && pages - known <= most_hidden)
            hidden_ = pages - known;
        else if (kib.ok())
            xpv_balloon_os_log(os_, XPV_LOG_WARN,
                               "memory/target is %lu KiB, the kernel's own target %lu KiB",
                               kib.value(), known * kib_per_page);
    }
    read_target();
    read_gauge(now);
    seen_ = true;
}

// Linux's driver stands still at what it has, but for what it alone can do: grow beyond
// what we hold back. It has no floor of its own, so it is never sent below ours.
void Balloon::keep_stock(uint64_t now) noexcept {
    if (!stock_.present)
        return;
    const bool still = settings_.mode == XPV_BALLOON_TAKE_OVER && !settings_.released;
    Pages target = max(stock_.current_pages, most());
    if (settings_.released)
        target = max(wanted_, min(decision_.floor, stock_.current_pages));
    else if (settings_.mode == XPV_BALLOON_STEER)
        target = wanted_now(now);
    if (target == stock_.target && still == still_)
        return;
    xpv_balloon_os_set_stock(os_, target, still);
    stock_.target = target;
    still_ = still;
}

void Balloon::leave() noexcept {
    if (!seen_)
        return;
    settings_.released = true;
    xpv_balloon_os_stock(os_, &stock_);
    keep_stock(xpv_now_ms());
}

} // namespace xpv::balloon
