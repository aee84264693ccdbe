// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/report.hpp"

#include <cstdio>
#include <string_view>

namespace xpv::gauge {
namespace {

template <class... T> void add(std::string& to, const char* format, T... values) {
    char line[512];
    snprintf(line, sizeof(line), format, values...);
    to += line;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            (out += '\\') += c;
        else if (static_cast<unsigned char>(c) < ' ' || c == 0x7f)
            add(out, "\\u%04x", static_cast<unsigned char>(c));
        else
            out += c;
    }
    return out + '"';
}

unsigned long long big(uint64_t value) noexcept { return value; }

void add_optional(std::string& to, const char* key, const std::optional<uint64_t>& value) {
    if (value)
        add(to, ",\"%s\":%llu", key, big(*value));
}

} // namespace

std::string as_json(uint64_t time_ms, const Host& host, const Policy& policy, const Says& says) {
    std::string out;
    add(out,
        "{\"time_ms\":%llu,\"total_kib\":%llu,\"free_kib\":%llu,\"outstanding_kib\":%llu,"
        "\"lo_kib\":%llu,\"hi_kib\":%llu,\"pressure\":%u.%06u,\"guests\":[",
        big(time_ms), big(host.total), big(host.free), big(host.outstanding), big(policy.band().lo),
        big(policy.band().hi), policy.pressure() / full, policy.pressure() % full);
    const char* separator = "";
    for (const GuestView& guest : policy.guests()) {
        add(out, "%s{\"domid\":%u,\"name\":", separator, guest.domain.id);
        out += quoted(guest.domain.name) + ",\"uuid\":" + quoted(guest.domain.uuid);
        add(out,
            ",\"held_kib\":%llu,\"max_kib\":%llu,\"weight\":%u,\"floor_kib\":%llu,"
            "\"level\":%u.%03u,\"sequence\":%llu",
            big(guest.domain.held), big(guest.domain.max), guest.weight, big(guest.floor),
            guest.word.level / balloon::level_max, guest.word.level % balloon::level_max,
            big(guest.word.sequence));
        if (const auto said = says.find(guest.domain.id); said != says.end()) {
            out += ",\"says\":{\"features\":" + quoted(said->second.features);
            add_optional(out, "held_kib", said->second.held);
            add_optional(out, "floor_kib", said->second.floor);
            add(out, ",\"refused\":%u}", said->second.refused);
        }
        out += '}';
        separator = ",";
    }
    return out + "]}\n";
}

std::string as_table(const Host& host, const Policy& policy, const Says& says) {
    std::string out;
    add(out,
        "host: %llu MiB free of %llu, scarce below %llu, none left at %llu; pressure %u.%03u\n",
        big(host.available() / 1024), big(host.total / 1024), big(policy.band().hi / 1024),
        big(policy.band().lo / 1024), policy.pressure() / full, policy.pressure() % full / 1000);
    add(out, "%5s  %-24s %8s %8s %8s %6s  %s\n", "domid", "name", "has", "max", "floor", "weight",
        "level");
    for (const GuestView& guest : policy.guests()) {
        const auto said = says.find(guest.domain.id);
        add(out, "%5u  %-24.24s %8llu %8llu %8llu %6u  %u.%03u%s\n", guest.domain.id,
            guest.domain.name.c_str(), big(guest.domain.held / 1024), big(guest.domain.max / 1024),
            big(guest.floor / 1024), guest.weight, guest.word.level / balloon::level_max,
            guest.word.level % balloon::level_max,
            said != says.end() && !said->second.features.empty() ? "  listens" : "");
    }
    return out;
}

} // namespace xpv::gauge
