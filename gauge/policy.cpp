// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/policy.hpp"

#include <algorithm>

namespace xpv::gauge {
namespace {

constexpr Kib least_low = 64 * 1024; // KiB: where Xen itself begins to complain
constexpr uint32_t at_rest = 3;      // the highest step at which nobody gives

} // namespace

uint64_t Policy::random() noexcept { // splitmix64
    uint64_t z = random_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

void Policy::configure(const Config& config) {
    config_ = config;
    for (auto& [id, guest] : guests_) {
        const GuestRule rule = config_.rule(guest.view.domain.name, guest.view.domain.uuid);
        guest.view.weight = rule.weight;
        guest.view.floor = rule.floor;
    }
}

void Policy::reconcile(uint64_t now_ms, const std::vector<Domain>& domains) {
    std::map<uint32_t, Guest> here;
    for (const Domain& domain : domains) {
        const auto old = guests_.find(domain.id);
        Guest guest;
        // Numbers are used again, and a guest may be renamed.
        if (old != guests_.end() && old->second.view.domain.uuid == domain.uuid)
            guest = std::move(old->second);
        else
            guest.due_ms = now_ms;
        if (!guest.told || guest.view.domain.name != domain.name) {
            const GuestRule rule = config_.rule(domain.name, domain.uuid);
            guest.view.weight = rule.weight;
            guest.view.floor = rule.floor;
        }
        guest.view.domain = domain;
        here.emplace(domain.id, std::move(guest));
    }
    guests_ = std::move(here);
}

void Policy::set_band(const Host& host) {
    // What is between the guests' floors and their most, each counted as it reacts. Of that
    // they have no more than the host has, and what they have weighs twice.
    Kib range = 0;
    const Kib total = host.total;
    for (const auto& [id, guest] : guests_) {
        const Kib top = std::min(guest.view.domain.max, total);
        if (top > guest.view.floor)
            range += (top - guest.view.floor) / guest.view.weight * 100;
    }
    Kib width = config_.band.of(total);
    if (config_.widen)
        width = std::max(width, stable_width((range + std::min(range, total)) / 2,
                                             delay_s(config_.interval_s, config_.jitter_s)));
    band_.lo = std::max(config_.low.of(total), least_low);
    band_.hi = band_.lo + std::min(width, total / 2);
}

std::vector<Publication> Policy::step(uint64_t now_ms, const Host& host,
                                      const std::vector<Domain>& domains, bool enomem) {
    reconcile(now_ms, domains);
    set_band(host);
    pressure_ = enomem ? full : pressure_of(host.available(), band_);

    std::vector<Publication> publications;
    for (auto& [id, guest] : guests_) {
        GuestView& view = guest.view;
        const bool at_once = pressure_ == full && view.word.level != balloon::level_max;
        const bool due = !guest.told || now_ms >= guest.due_ms;
        if (!due && !at_once)
            continue;
        uint32_t step = guest.needle.move(weighted(pressure_, view.weight));
        if (view.domain.held <= view.floor)
            step = std::min(step, at_rest);
        const balloon::Level level = balloon::level_of(step);
        const bool changed = !guest.told || level != view.word.level;
        const uint32_t next_s = config_.interval_s + config_.jitter_s;
        const bool old = now_ms - guest.written_ms + next_s * 1000 > config_.ttl_s * 1000 / 3;
        if (!due && !changed)
            continue; // spared by its floor
        guest.due_ms = now_ms + config_.interval_s * 1000 +
                       (config_.jitter_s != 0 ? random() % (config_.jitter_s * 1000 + 1) : 0);
        if (!changed && !old)
            continue;
        view.word.level = level;
        view.word.sequence = sequence_++;
        view.word.ttl_s = config_.ttl_s;
        guest.written_ms = now_ms;
        guest.told = true;
        publications.push_back({id, view.word});
    }
    return publications;
}

void Policy::failed(uint32_t domain) {
    if (const auto guest = guests_.find(domain); guest != guests_.end())
        guest->second.told = false;
}

std::vector<GuestView> Policy::guests() const {
    std::vector<GuestView> views;
    for (const auto& [id, guest] : guests_)
        views.push_back(guest.view);
    return views;
}

} // namespace xpv::gauge
