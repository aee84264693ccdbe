// SPDX-License-Identifier: GPL-2.0-only
// gauged.conf, and what a guest says of itself.
#include "gauge/config.hpp"
#include "gauge/says.hpp"
#include "gauge/test/check.hpp"

using namespace xpv::gauge;

namespace {

std::string parse(std::string_view text) {
    Config config;
    return parse_config(text, "f", config);
}

} // namespace

TEST(config_is_read) {
    Config config;
    CHECK_EQ(parse_config("# all of it\n[host]\nlow = 2%\nband=4G # wide\n\tinterval = 2\n"
                          "jitter = 0\r\nttl = 30\n\n[guest web 1]\nweight = 200\nfloor = 512M\n"
                          "[guest 11111111-2222-3333-4444-5555555555AB]\nfloor = 1G",
                          "f", config),
             "");
    CHECK_EQ(config.low.of(1000000), 20000u);
    CHECK_EQ(config.band.of(1000000), 4u << 20);
    CHECK_EQ(config.interval_s, 2u);
    CHECK_EQ(config.jitter_s, 0u);
    CHECK_EQ(config.ttl_s, 30u);
    CHECK_EQ(config.rule("web 1", "x").weight, 200u);
    CHECK_EQ(config.rule("web 1", "x").floor, 512u << 10);
    CHECK_EQ(config.rule("web", "x").weight, 100u);
    CHECK_EQ(config.rule("web", "x").floor, 0u);
    // A UUID stands above a name, in either case.
    CHECK_EQ(config.rule("web 1", "11111111-2222-3333-4444-5555555555ab").floor, 1u << 20);
    CHECK_EQ(parse(""), "");
}

TEST(config_errors_say_where_and_what) {
    CHECK_EQ(parse("[host]\nlow = 0%"), "f:2: low = 0%: must be 1% to 20%, or 64M to 16384G");
    CHECK_EQ(parse("[host]\nlow = 63M\n"), "f:2: low = 63M: must be 1% to 20%, or 64M to 16384G");
    CHECK_EQ(parse("[host]\n\nband = 51%\n"),
             "f:3: band = 51%: must be 2% to 50%, or 64M to 16384G");
    for (const char* value : {"", "M", "G", "-1M", "1", "1K", "1.5G", "16385G", "0x10M", "1 G",
                              "99999999999999999999G", "%", "-1%", "10 %", "nan"})
        CHECK(!parse(std::string("[host]\nband = ") + value).empty());
    CHECK_EQ(parse("[guest a]\nweight = 500"), "f:2: weight = 500: must be 25 to 400");
    CHECK_EQ(parse("[guest a]\nweight = 24"), "f:2: weight = 24: must be 25 to 400");
    CHECK_EQ(parse("[guest a]\nfloor = -1M"), "f:2: floor = -1M: must be 0M to 16384G");
    CHECK_EQ(parse("[guest a]\nlow = 1%"), "f:2: low = 1%: no such key: weight or floor");
    CHECK_EQ(parse("[host]\nweight = 1"),
             "f:2: weight = 1: no such key: low, band, interval, jitter or ttl");
    CHECK_EQ(parse("[host]\ninterval = 0"), "f:2: interval = 0: must be 1 to 600 (seconds)");
    CHECK_EQ(parse("[host]\nttl = 3601"), "f:2: ttl = 3601: must be 6 to 3600 (seconds)");
    CHECK_EQ(parse("[host]\ninterval = 30"),
             "f:2: ttl: must be at least twice interval and jitter together");
    CHECK_EQ(parse("low = 1%"),
             "f:1: low = 1%: stands before any section, [host] or [guest NAME-OR-UUID]");
    CHECK_EQ(parse("[host]\nlow"), "f:2: low: neither a section nor KEY = VALUE");
    CHECK_EQ(parse("[host"), "f:1: [host: a section ends with ]");
    CHECK_EQ(parse("["), "f:1: [: a section ends with ]");
    for (const char* head : {"[]", "[guest]", "[guest ]", "[Host]", "[guests a]"})
        CHECK_EQ(parse(head),
                 std::string("f:1: ") + head + ": a section is [host] or [guest NAME-OR-UUID]");
    CHECK_EQ(parse("[guest a]\n[guest a]"), "f:2: [guest a]: this guest has a section already");
}

TEST(says_is_strict) {
    GuestSays said;
    said.hear(0, "gauge-1 order9");
    said.hear(1, "1048576");
    said.hear(2, "0");
    CHECK_EQ(said.features, "gauge-1 order9");
    CHECK_EQ(said.held.value_or(7), 1048576u);
    CHECK_EQ(said.floor.value_or(7), 0u);
    CHECK_EQ(said.refused, 0u);
    const std::string longer(65, 'a');
    const std::string_view nul{"a\0b", 3};
    for (const std::string_view text :
         {std::string_view{""}, std::string_view{"A"}, std::string_view{" a"},
          std::string_view{"a "}, std::string_view{"a  b"}, std::string_view{"a\n"},
          std::string_view{"\x1b[2J"}, nul, std::string_view{longer}}) {
        GuestSays other;
        other.hear(0, text);
        CHECK_EQ(other.features, "");
        CHECK_EQ(other.refused, 1u);
    }
    for (const std::string_view text : {"", "-1", "+1", " 1", "1 ", "0x1", "1e9", "nan",
                                        "17179869185", "18446744073709551616", "1.0"}) {
        GuestSays other;
        other.hear(1, text);
        CHECK(!other.held);
        CHECK_EQ(other.refused, 1u);
    }
    said.hear(1, "rubbish"); // and what it said before is gone
    CHECK(!said.held);
}
