// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/config.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace xpv::gauge {
namespace {

constexpr std::string_view blanks = " \t\r";
constexpr Kib mib = 1024, gib = 1024 * mib;
constexpr Kib size_max = 16384 * gib; // 16 TiB, Xen's own limit

std::string_view trim(std::string_view text) noexcept {
    const size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool number(std::string_view text, uint64_t low, uint64_t high, uint64_t& value) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size() && value >= low &&
           value <= high;
}

// "512M", "4G".
bool size(std::string_view text, Kib low, Kib& kib) noexcept {
    if (text.size() < 2)
        return false;
    const char unit = text.back();
    const Kib one = unit == 'M' ? mib : unit == 'G' ? gib : 0;
    uint64_t count = 0;
    if (one == 0 || !number(text.substr(0, text.size() - 1), 0, size_max / one, count))
        return false;
    kib = count * one;
    return kib >= low;
}

bool size_or_percent(std::string_view text, uint32_t least, uint32_t most, Size& to) noexcept {
    uint64_t percent = 0;
    if (!text.empty() && text.back() == '%') {
        if (!number(text.substr(0, text.size() - 1), least, most, percent))
            return false;
        to = {0, static_cast<uint32_t>(percent)};
        return true;
    }
    Kib kib = 0;
    if (!size(text, 64 * mib, kib))
        return false;
    to = {kib, 0};
    return true;
}

bool seconds(std::string_view text, uint64_t low, uint64_t high, uint32_t& to) noexcept {
    uint64_t value = 0;
    if (!number(text, low, high, value))
        return false;
    to = static_cast<uint32_t>(value);
    return true;
}

// What the value must be, nullptr if it is that.
const char* set_host(std::string_view key, std::string_view value, Config& config) noexcept {
    if (key == "low")
        return size_or_percent(value, 1, 20, config.low) ? nullptr
                                                         : "must be 1% to 20%, or 64M to 16384G";
    if (key == "band")
        return size_or_percent(value, 2, 50, config.band) ? nullptr
                                                          : "must be 2% to 50%, or 64M to 16384G";
    if (key == "interval")
        return seconds(value, 1, 600, config.interval_s) ? nullptr : "must be 1 to 600 (seconds)";
    if (key == "jitter")
        return seconds(value, 0, 600, config.jitter_s) ? nullptr : "must be 0 to 600 (seconds)";
    if (key == "ttl")
        return seconds(value, 6, balloon::GaugeWord::ttl_max, config.ttl_s)
                   ? nullptr
                   : "must be 6 to 3600 (seconds)";
    return "no such key: low, band, interval, jitter or ttl";
}

const char* set_guest(std::string_view key, std::string_view value, GuestRule& rule) noexcept {
    if (key == "weight")
        return seconds(value, 25, 400, rule.weight) ? nullptr : "must be 25 to 400";
    if (key == "floor")
        return size(value, 0, rule.floor) ? nullptr : "must be 0M to 16384G";
    return "no such key: weight or floor";
}

bool same_text(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace

GuestRule Config::rule(std::string_view name, std::string_view uuid) const {
    for (const GuestRule& rule : guests)
        if (same_text(rule.who, uuid))
            return rule;
    for (const GuestRule& rule : guests)
        if (rule.who == name)
            return rule;
    return {};
}

std::string parse_config(std::string_view text, std::string_view file, Config& config) {
    unsigned line_number = 0;
    enum class In { Nothing, Host, Guest } in = In::Nothing;
    std::string_view line;
    const auto error = [&](const char* what) {
        return std::string(file) + ":" + std::to_string(line_number) + ": " + std::string(line) +
               ": " + what;
    };
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        ++line_number;
        line = trim(line.substr(0, line.find('#')));
        if (line.empty())
            continue;
        if (line.front() == '[') {
            const std::string_view head = trim(line.substr(1, line.size() - 2));
            if (line.back() != ']')
                return error("a section ends with ]");
            if (head == "host") {
                in = In::Host;
                continue;
            }
            const std::string_view who = head.substr(0, 6) == "guest " ? trim(head.substr(6)) : "";
            if (who.empty())
                return error("a section is [host] or [guest NAME-OR-UUID]");
            for (const GuestRule& rule : config.guests)
                if (same_text(rule.who, who))
                    return error("this guest has a section already");
            in = In::Guest;
            config.guests.push_back({std::string(who)});
            continue;
        }
        const size_t equals = line.find('=');
        if (equals == std::string_view::npos)
            return error("neither a section nor KEY = VALUE");
        if (in == In::Nothing)
            return error("stands before any section, [host] or [guest NAME-OR-UUID]");
        const std::string_view key = trim(line.substr(0, equals));
        const std::string_view value = trim(line.substr(equals + 1));
        if (const char* what = in == In::Host ? set_host(key, value, config)
                                              : set_guest(key, value, config.guests.back()))
            return error(what);
    }
    if (config.ttl_s < 2 * (config.interval_s + config.jitter_s)) {
        line = "ttl";
        return error("must be at least twice interval and jitter together");
    }
    return {};
}

} // namespace xpv::gauge
