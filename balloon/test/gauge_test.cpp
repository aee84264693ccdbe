// SPDX-License-Identifier: GPL-2.0-only
// balloon/gauge.hpp: the word as text, and how long a guest believes it.
#include "balloon/gauge.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using namespace xpv::balloon;
using xpv::test::each;

namespace {

Result<GaugeWord> parse(const char* text) noexcept {
    return parse_gauge(text, static_cast<uint32_t>(__builtin_strlen(text)));
}

void refused(const char* text, Error error) noexcept {
    const Result<GaugeWord> word = parse(text);
    if (!EXPECT(!word.ok()) || !EXPECT_EQ(word.error(), error))
        EXPECT_STREQ(text, "is refused so");
}

constexpr GaugeWord word(Level level, uint64_t sequence, uint32_t ttl_s = 60) noexcept {
    GaugeWord made;
    made.level = level;
    made.sequence = sequence;
    made.ttl_s = ttl_s;
    return made;
}

} // namespace

TEST(gauge_word_is_read) {
    const Result<GaugeWord> one = parse("1 0.286 1234 60");
    CHECK(one.ok());
    CHECK_EQ(one.value().level, 286u);
    CHECK_EQ(one.value().sequence, 1234u);
    CHECK_EQ(one.value().ttl_s, 60u);
    const Result<GaugeWord> most = parse("1 1.000 18446744073709551615 3600");
    CHECK(most.ok());
    CHECK_EQ(most.value().level, 1000u);
    CHECK_EQ(most.value().sequence, UINT64_MAX);
    CHECK_EQ(most.value().ttl_s, 3600u);
    const Result<GaugeWord> least = parse("1 0.000 0 1");
    CHECK(least.ok());
    CHECK_EQ(least.value().level, 0u);
    CHECK_EQ(parse("1 0.005 7 60").value().level, 5u);
}

TEST(gauge_word_is_refused) {
    refused("", Error::NoEntry);
    refused("2 0.286 1234 60", Error::Unsupported);
    refused("0 0.286 1234 60", Error::Unsupported);
    refused("2 nan", Error::Unsupported);
    for (const char* text : each("1.001", "2.000", "10.000", "99999999999999999999.000")) {
        char line[64] = "1 ";
        const size_t length = __builtin_strlen(text);
        __builtin_memcpy(line + 2, text, length);
        __builtin_memcpy(line + 2 + length, " 1 60", sizeof(" 1 60"));
        refused(line, Error::Range);
    }
    refused("1 0.286 1234 0", Error::Range);
    refused("1 0.286 1234 3601", Error::Range);
    refused("1 0.286 1234 4294967356", Error::Range); // 60 in 32 bits
    refused("1 0.286 1234 99999999999999999999", Error::Range);
    refused("1 0.286 18446744073709551616 60", Error::Range);
    for (const char* text :
         each("1", "1 ", "nan", "1e9", "1 nan 1 60", "1 1e9 1 60", "1 inf 1 60", "-1 0.286 1 60",
              "1 -0.286 1 60", "1 +0.286 1 60", "1 0.28 1 60", "1 0.2860 1 60", "1 .286 1 60",
              "1 0 1 60", "1 1 1 60", "1 0,286 1 60", "1 0.286", "1 0.286 ", "1 0.286 1",
              "1 0.286 1 ", "1 0.286 1 60 ", "1 0.286 1 60\n", "1 0.286 1 60 x", " 1 0.286 1 60",
              "1  0.286 1 60", "1 0.286 1  60", "1\t0.286 1 60", "1 00.286 1 60", "01 0.286 1 60",
              "1 0.286 01 60", "1 0.286 1 060", "1 0.286 1 -60", "1 0.286 0x1 60", "1 0.286 1 60s",
              "1 0.2x6 1 60"))
        refused(text, Error::Invalid);
    // A NUL is a character like others, and nobody looks behind the length.
    const char nul[] = {'1', ' ', '0', '.', '2', '8', '6', '\0', '1', ' ', '6'};
    CHECK_EQ(parse_gauge(nul, sizeof(nul)).error(), Error::Invalid);
    CHECK_EQ(parse_gauge("1 0.286 1 60", 11).value().ttl_s, 6u);
    char longer[GaugeWord::size + 1] = "1 0.286 ";
    for (uint32_t i = 8; i < GaugeWord::size; ++i)
        longer[i] = '9';
    CHECK_EQ(parse_gauge(longer, GaugeWord::size).error(), Error::Invalid);
}

TEST(gauge_word_is_written_as_it_is_read) {
    char text[GaugeWord::size];
    CHECK_EQ(format_gauge(word(286, 1234), text), 15u);
    CHECK_STREQ(text, "1 0.286 1234 60");
    format_gauge(word(5, 0, 1), text);
    CHECK_STREQ(text, "1 0.005 0 1");
    for (uint32_t step = 0; step < level_count; ++step)
        for (const uint64_t sequence : each(uint64_t{0}, uint64_t{10}, UINT64_MAX)) {
            const GaugeWord wrote = word(level_of(step), sequence, GaugeWord::ttl_max);
            const uint32_t length = format_gauge(wrote, text);
            CHECK(length < GaugeWord::size);
            CHECK_EQ(text[length], '\0');
            const Result<GaugeWord> read = parse_gauge(text, length);
            CHECK(read.ok());
            CHECK_EQ(read.value().level, wrote.level);
            CHECK_EQ(read.value().sequence, sequence);
            CHECK_EQ(read.value().ttl_s, wrote.ttl_s);
        }
    // The most that the fields hold still fits.
    CHECK(format_gauge(word(UINT32_MAX, UINT64_MAX, UINT32_MAX), text) < GaugeWord::size);
}

TEST(gauge_levels) {
    static constexpr Level levels[] = {0, 143, 286, 429, 571, 714, 857, 1000};
    for (uint32_t step = 0; step < level_count; ++step)
        CHECK_EQ(level_of(step), levels[step]);
}

TEST(gauge_word_lives_for_its_ttl) {
    Gauge gauge;
    CHECK(!gauge.known());
    CHECK_EQ(gauge.level(5), 0u);
    CHECK(!gauge.fades(5));
    CHECK(gauge.hear(word(571, 10), 1000).ok());
    CHECK(gauge.known());
    CHECK_EQ(gauge.level(1000), 571u);
    CHECK_EQ(gauge.level(60999), 571u);
    CHECK(gauge.fades(1000));
    CHECK_EQ(gauge.level(61000), 571u);
    CHECK_EQ(gauge.level(62000), 561u); // a hundredth per second
    CHECK_EQ(gauge.level(71999), 471u);
    CHECK_EQ(gauge.level(118000), 1u);
    CHECK(gauge.fades(118000));
    CHECK_EQ(gauge.level(119000), 0u);
    CHECK(!gauge.fades(119000));
    CHECK_EQ(gauge.level(UINT64_MAX), 0u);
    CHECK(gauge.known());           // a gauge that is silent, not a host without one
    CHECK_EQ(gauge.level(0), 571u); // a clock that goes back
}

TEST(gauge_word_does_not_get_younger) {
    Gauge gauge;
    CHECK(gauge.hear(word(571, 10), 0).ok());
    CHECK(gauge.hear(word(571, 10), 59000).ok()); // a watch fires, nobody has written
    CHECK_EQ(gauge.level(70000), 471u);
    CHECK(gauge.hear(word(571, 10), 70000).ok());
    CHECK_EQ(gauge.level(70000), 471u);
    // The same number and another word: not by the daemon that we know.
    CHECK_EQ(gauge.hear(word(572, 10), 70000).error(), Error::Invalid);
    CHECK_EQ(gauge.hear(word(571, 10, 61), 70000).error(), Error::Invalid);
    CHECK_EQ(gauge.level(70000), 471u);
}

TEST(gauge_old_words) {
    Gauge gauge;
    CHECK(gauge.hear(word(571, 10), 0).ok());
    CHECK_EQ(gauge.hear(word(0, 9), 59999).error(), Error::Invalid);
    CHECK_EQ(gauge.level(59999), 571u);
    CHECK(gauge.hear(word(714, 11), 59999).ok());
    CHECK_EQ(gauge.level(119998), 714u);
    CHECK_EQ(gauge.hear(word(143, 1), 119998).error(), Error::Invalid);
    // A daemon that was started again counts from anywhere.
    CHECK(gauge.hear(word(143, 1), 119999).ok());
    CHECK_EQ(gauge.level(119999), 143u);
    CHECK(gauge.hear(word(1000, 2), 120000).ok());
    CHECK_EQ(gauge.level(120000), 1000u);
}

TEST(gauge_that_is_gone) {
    Gauge gauge;
    CHECK_EQ(gauge.hear(Error::NoEntry, 0).error(), Error::NoEntry);
    CHECK(!gauge.known());
    CHECK(gauge.hear(word(571, 10, 60), 0).ok());
    CHECK_EQ(gauge.hear(Error::NoEntry, 10000).error(), Error::NoEntry);
    CHECK_EQ(gauge.level(10000), 571u);
    CHECK_EQ(gauge.level(20000), 471u);
    CHECK_EQ(gauge.hear(Error::NoEntry, 20000).error(), Error::NoEntry); // no longer by that
    CHECK_EQ(gauge.level(30000), 371u);
    // Removed by the old daemon, so the new one is believed at once.
    CHECK(gauge.hear(word(286, 1), 30000).ok());
    CHECK_EQ(gauge.level(30000), 286u);
    CHECK_EQ(gauge.hear(parse("1 nan 2 60"), 31000).error(), Error::Invalid);
    CHECK_EQ(gauge.level(33000), 266u);
}
