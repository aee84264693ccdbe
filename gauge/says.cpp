// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/says.hpp"

#include <algorithm>
#include <charconv>

namespace xpv::gauge {
namespace {

constexpr uint64_t kib_max = uint64_t{1} << 34; // 16 TiB

std::optional<uint64_t> number(std::string_view text) {
    uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || at != end || value > kib_max)
        return {};
    return value;
}

bool words(std::string_view text) {
    char last = ' ';
    for (const char c : text) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!letter && (c != ' ' || last == ' '))
            return false;
        last = c;
    }
    return last != ' ';
}

} // namespace

void GuestSays::hear(size_t node, std::string_view text) {
    if (text.size() <= text_max) {
        if (node == 0 && words(text)) {
            features = text;
            return;
        }
        if (node != 0) {
            auto& value = node == 1 ? held : floor;
            value = number(text);
            if (value)
                return;
        }
    }
    ++refused;
}

} // namespace xpv::gauge
