// SPDX-License-Identifier: GPL-2.0-only
// The pressure gauge's value as it stands in xenstore, for both sides of the contract:
// gauge/ writes it, the balloon reads it. docs/GAUGE.md says what it promises.
#pragma once

#include "core/result.hpp"

namespace xpv::balloon {

// How scarce memory is on the host, in thousandths: 0 plenty, 1000 none left.
using Level = uint32_t;
inline constexpr Level level_max = 1000;
// The daemon publishes these and no others: i * 1000 / 7, rounded, i of 0..7.
inline constexpr uint32_t level_count = 8;
constexpr Level level_of(uint32_t step) noexcept { return (step * 2000 + 7) / 14; }

struct GaugeWord {
    static constexpr uint32_t version = 1;
    static constexpr uint32_t ttl_max = 3600; // seconds; 1 is the least
    static constexpr uint32_t size = 48;      // characters with the NUL, of any word

    Level level = 0;
    uint64_t sequence = 0; // grows with each word that a daemon writes
    uint32_t ttl_s = 0;    // the word says nothing after as many seconds
};

// "1 0.286 1234 60": exactly that form, LEVEL with three decimals, single spaces.
// Error::NoEntry for no text, Error::Unsupported for another version, Error::Range for
// a number outside its range, Error::Invalid for anything else.
Result<GaugeWord> parse_gauge(const char* text, uint32_t length) noexcept;
// Characters written, without the NUL that follows them.
uint32_t format_gauge(const GaugeWord& word, char (&out)[GaugeWord::size]) noexcept;

// What a guest believes: the last word until it expires by the guest's own clock, then
// less each second until nothing is left.
class Gauge {
public:
    // A word was read, or none could be: that ends the word that we have, and its error is
    // handed back. An old sequence is refused (Error::Invalid) while that word lives: a
    // daemon that was started again is believed once it is over.
    Result<void> hear(const Result<GaugeWord>& word, uint64_t now_ms) noexcept;
    // Whether a word was ever heard: what Controller::tick() wants to know.
    bool known() const noexcept { return known_; }
    Level level(uint64_t now_ms) const noexcept;
    // Whether level() will change by itself: somebody has to look again.
    bool fades(uint64_t now_ms) const noexcept;

private:
    GaugeWord word_{};
    uint64_t until_ms_ = 0; // then it is over
    bool known_ = false;
};

} // namespace xpv::balloon
