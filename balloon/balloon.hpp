// SPDX-License-Identifier: GPL-2.0-only
// The balloon of one guest: what the toolstack, the gauge, the settings and the guest's own
// need ask for becomes batches of pages.
#pragma once

#include "balloon/budget.hpp"
#include "balloon/extents.hpp"

namespace xpv::balloon {

class Balloon : NoCopy {
public:
    Balloon(xpv_balloon_os* os, const xpv_balloon_settings& settings) noexcept;

    int set(const xpv_balloon_settings& settings) noexcept;
    uint32_t turn(uint32_t events) noexcept;
    uint32_t oom() noexcept;
    int ask(const char* text) noexcept;
    // Linux's driver gets the real target.
    void leave() noexcept;

    const xpv_balloon_counters& counters() const noexcept { return counters_; }
    void show(xpv_balloon_state& state) const noexcept;

private:
    static constexpr uint32_t backoff_first_ms = 1000;
    static constexpr uint32_t backoff_last_ms = 32000;
    static constexpr Pages floor_step = 256; // 1 MiB
    static constexpr uint64_t eased_ms = 60000;
    static constexpr uint64_t publish_ms = 5000;
    // Of Linux's figure, that is: what Xen has for a PVH guest beside its memory.
    static constexpr uint64_t most_hidden = 64 << 8;

    // What the guest has.
    Pages held() const noexcept;
    // What it may have: what is wanted, but for a little that it never had.
    Pages most() const noexcept;
    Pages reserve(const xpv_balloon_sample& sample) const noexcept;
    void look(uint64_t now) noexcept;
    void read_target() noexcept;
    void read_limit() noexcept;
    void read_gauge(uint64_t now) noexcept;
    void accept(uint64_t kib, const char* who) noexcept;
    void keep_stock(uint64_t now) noexcept;
    void decide(uint64_t now) noexcept;
    Pages wanted_now(uint64_t now) const noexcept;
    Pages move(Pages goal) noexcept;
    uint32_t wait(Pages moved, Pages goal, uint64_t now) noexcept;
    uint32_t back_off(uint64_t now) noexcept;
    void publish(uint64_t now) noexcept;

    xpv_balloon_os* const os_;
    xpv_balloon_settings settings_;
    xpv_balloon_counters counters_{};
    Extents extents_{os_, counters_};
    Controller controller_;
    Gauge gauge_{};
    Decision decision_{};
    Budget budget_{};
    xpv_balloon_stock stock_{};

    Pages hidden_ = 0;       // of memory/target, none of the kernel's memory
    Pages wanted_ = 0;       // as the toolstack has it
    uint64_t limit_kib_ = 0; // memory/static-max; 0: unknown
    Pages eased_ = 0;        // not below, until eased_until_
    uint64_t eased_until_ = 0;
    uint64_t next_tick_ = 0;
    uint64_t next_publish_ = 0;
    Pages published_ = ~Pages{0};
    uint32_t backoff_ms_ = 0;
    bool still_ = false;     // Linux's driver
    bool seen_ = false;      // the toolstack's nodes were read
    bool reclaimed_ = false; // since the last tick, by us
    bool rests_ = false;     // held what it was to hold at the last turn
    bool told_floor_ = false;
    bool held_module_ = false;
};

} // namespace xpv::balloon

// The name that abi.h gives it.
struct xpv_balloon : xpv::balloon::Balloon {
    using Balloon::Balloon;
};
