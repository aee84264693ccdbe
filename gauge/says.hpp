// SPDX-License-Identifier: GPL-2.0-only
// What a guest writes into data/xpv-balloon/: for show, and decides nothing. It may be
// anything, so it is short, of known form, or not there.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace xpv::gauge {

struct GuestSays {
    static constexpr std::array<const char*, 3> nodes{"features", "held", "floor"};
    static constexpr size_t text_max = 64; // characters of any of them

    std::string features;                // words of a-z, 0-9 and -, single spaces between
    std::optional<uint64_t> held, floor; // KiB
    uint32_t refused = 0;                // nodes that are none of this

    void hear(size_t node, std::string_view text);
};

} // namespace xpv::gauge
