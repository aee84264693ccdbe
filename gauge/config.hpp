// SPDX-License-Identifier: GPL-2.0-only
// /etc/xpv/gauged.conf: packaging/gauged/gauged.conf documents it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gauge/meter.hpp"

namespace xpv::gauge {

// So many KiB, or a part of the host.
struct Size {
    Kib kib = 0;
    uint32_t percent = 0;

    Kib of(Kib total) const noexcept { return percent != 0 ? total / 100 * percent : kib; }
};

struct GuestRule {
    std::string who; // a name or a UUID
    uint32_t weight = 100;
    Kib floor = 0;
};

struct Config {
    Size low{0, 1}; // and 64 MiB at least
    Size band{0, 10};
    bool widen = true; // the band, as stability asks; only gauge-sim looks past that border
    uint32_t interval_s = 5, jitter_s = 5, ttl_s = 60;
    std::vector<GuestRule> guests;

    // By UUID, else by name, else what holds without a rule.
    GuestRule rule(std::string_view name, std::string_view uuid) const;
};

// An empty text: all is well. Else "FILE:LINE: KEY = VALUE: what it must be".
std::string parse_config(std::string_view text, std::string_view file, Config& config);

} // namespace xpv::gauge
