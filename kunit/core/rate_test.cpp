// SPDX-License-Identifier: GPL-2.0-only
// core/rate.hpp: what a rate is, that it holds over any time and for all who share it together,
// and that nobody who shares it goes without.
#include "core/rate.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using test::each;

namespace {

constexpr uint64_t second = 1'000'000'000;
constexpr uint64_t ms = 1'000'000;

Rate rate_of(const char* text) {
    const Result<Rate> rate = Rate::parse(text);
    EXPECT(rate.ok());
    return rate.value_or(Rate{});
}

// Packets of size bytes for so long: how many bytes pass at a bucket of its own, whose user waits
// as told and late_ns longer.
uint64_t pass(RateTurn& turn, uint64_t& now, uint64_t for_ns, uint32_t size, uint64_t late_ns = 0) {
    uint64_t bytes = 0;
    const uint64_t end = now + for_ns;
    while (now < end) {
        if (const uint64_t wait = turn.wait_ns(now); wait != 0) {
            EXPECT(wait <= RateTurn::longest_ns);
            now += wait + late_ns;
            continue;
        }
        turn.charge(now, size);
        bytes += size;
    }
    return bytes;
}

} // namespace

TEST(rate_is_read) {
    const Rate rate = rate_of("62500,50000");
    CHECK(rate.limited());
    CHECK_EQ(rate.bytes(), 62500u);
    CHECK_EQ(rate.period_us(), 50000u);
    CHECK(!Rate{}.limited());
    for (const char* good : each("1,1", "8,1000000", "18446744073709551615,4294967295",
                                 "18446744073709551615,1", "34360,4294967295"))
        CHECK(rate_of(good).limited());
}

TEST(rate_is_refused) {
    for (const char* bad :
         each("", ",", "1", "1,", ",1", "a,1", "1,a", "1,1,1", " 1,1", "1, 1", "+1,1", "-1,1",
              "1,-1", "10Mb/s", "0x10,1", "123456789012345678901234567890,1")) {
        const Result<Rate> rate = Rate::parse(bad);
        CHECK(!rate.ok() && rate.error() == Error::Invalid);
    }
    for (const char* bad :
         each("0,1", "1,0", "0,0", "18446744073709551616,1", "1,4294967296",
              "99999999999999999999,1", "1,125001", "7,1000000", "34359,4294967295")) {
        const Result<Rate> rate = Rate::parse(bad);
        CHECK(!rate.ok() && rate.error() == Error::Range);
    }
}

// A period's bytes at once, then the rate, whatever the packets' size and the period.
TEST(rate_burst_then_rate) {
    for (const uint32_t size : each(60u, 1514u, 65535u))
        for (const char* text : each("62500,50000", "1250,1000", "1250000,1000000", "2,1")) {
            RateBucket bucket;
            uint64_t holds = 0;
            bucket.set(rate_of(text));
            RateTurn turn{bucket, holds};
            uint64_t now = 77 * second;
            const uint64_t at_once = pass(turn, now, 1, size);
            const uint64_t per_second = text[0] == '2' ? 2000000 : 1250000;
            const uint64_t burst =
                max<uint64_t>(per_second * rate_of(text).period_us() / 1000000, per_second / 100);
            CHECK(at_once >= burst && at_once <= burst + size);
            now = 77 * second;
            const uint64_t total = at_once + pass(turn, now, 10 * second, size);
            CHECK(total <= burst + 10 * per_second + size);
            CHECK(total >= burst + 10 * per_second - per_second / 500 - size);
            CHECK(holds > 0);
            // However long nobody came, the burst is no larger, but for a slice that is paid.
            now += 3600 * second;
            CHECK(pass(turn, now, 1, size) <= burst + per_second / 1000 + 2 * size);
        }
}

// A poller that comes late loses nothing, as long as it is less than a burst late.
TEST(rate_bears_late_pollers) {
    for (const uint64_t late : each(100 * ms / 1000, 2 * ms, 8 * ms)) {
        RateBucket bucket;
        uint64_t holds = 0;
        bucket.set(rate_of("1,1")); // a period of a microsecond
        RateTurn turn{bucket, holds};
        uint64_t now = second;
        const uint64_t bytes = pass(turn, now, 20 * second, 1514, late);
        CHECK(bytes >= 19'900'000 && bytes <= 20'000'000 + 10'000 + 1514);
    }
}

// A packet that is larger than the burst passes, and is paid for by those after it.
TEST(rate_packet_larger_than_the_burst) {
    RateBucket bucket;
    uint64_t holds = 0;
    bucket.set(rate_of("100,10000")); // 10,000 bytes per second
    RateTurn turn{bucket, holds};
    CHECK_EQ(turn.wait_ns(second), 0u);
    turn.charge(second, 60000);
    CHECK_EQ(turn.wait_ns(second), RateTurn::longest_ns);
    CHECK_EQ(turn.wait_ns(second + 5 * second), RateTurn::longest_ns - 10 * ms + ms + 1);
    CHECK_EQ(turn.wait_ns(second + 5991 * ms + 1), 0u);
}

// The slowest and the fastest, with the largest packets, of many at once: nothing overflows.
TEST(rate_extremes) {
    RateBucket bucket;
    uint64_t holds = 0;
    RateTurn turn{bucket, holds};
    bucket.set(rate_of("34360,4294967295")); // 8 bytes per second, a burst of an hour
    uint64_t now = uint64_t{1} << 62;
    for (uint32_t i = 0; i < 1000; ++i)
        bucket.spend(now,
                     bucket.cost_ns(65535)); // without a look, as pollers do that looked before
    CHECK_EQ(turn.wait_ns(now), RateTurn::longest_ns);
    const uint64_t wait = bucket.wait_ns(now);
    CHECK(wait > 8191ull * 1000 * second - 4295 * second - second);
    CHECK(wait < 8192ull * 1000 * second);
    CHECK_EQ(bucket.wait_ns(now + wait), 0u);

    bucket.set(rate_of("18446744073709551615,1"));
    for (uint32_t i = 0; i < 100000; ++i) {
        CHECK_EQ(turn.wait_ns(now), 0u);
        turn.charge(now, 65535);
    }
}

// A clock that goes back, or another CPU's that is behind, makes no credit.
TEST(rate_time_goes_back) {
    RateBucket bucket;
    uint64_t holds = 0;
    bucket.set(rate_of("62500,50000"));
    RateTurn turn{bucket, holds};
    uint64_t now = 100 * second;
    (void)pass(turn, now, 1, 1514);
    RateTurn other{bucket, holds};
    CHECK_EQ(other.wait_ns(50 * second), RateTurn::longest_ns);
    now = 100 * second;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < 100; ++i) { // back and forth
        now += i % 2 == 0 ? 30 * ms : -20 * ms;
        while (turn.wait_ns(now) == 0) {
            turn.charge(now, 1514);
            bytes += 1514;
        }
    }
    CHECK(bytes <= 1250 * 530 + 1514);
}

// A change counts at once, for who waits on debt of the old rate, too.
TEST(rate_changes_live) {
    RateBucket bucket;
    uint64_t holds = 0;
    RateTurn turn{bucket, holds};
    CHECK(!bucket.limited() && !turn.limited());
    bucket.set(rate_of("8,1000000"));
    CHECK(turn.limited());
    uint64_t now = 5 * second;
    CHECK_EQ(pass(turn, now, 1, 65535), 65535u);
    CHECK_EQ(turn.wait_ns(now), RateTurn::longest_ns);
    bucket.set(rate_of("62500,50000"));
    CHECK_EQ(turn.wait_ns(now), 0u);
    uint64_t bytes = pass(turn, now, 10 * second, 1514);
    CHECK(bytes > 12'400'000 && bytes < 12'600'000);
    bucket.set(rate_of("125000,50000"));
    bytes = pass(turn, now, 10 * second, 1514);
    CHECK(bytes > 24'900'000 && bytes < 25'200'000);
    bucket.set(Rate{});
    CHECK(!turn.limited());
    CHECK_EQ(turn.wait_ns(now), 0u);
    turn.charge(now, 65535); // by one who looked before
    CHECK_EQ(turn.wait_ns(now), 0u);
}

// Four who all want more than there is, woken at any time besides: together they keep the rate,
// and each has a quarter.
TEST(rate_turns_are_fair) {
    for (const bool woken : each(false, true)) {
        RateBucket bucket;
        uint64_t holds = 0;
        bucket.set(rate_of("62500,50000"));
        RateTurn turns[4] = {{bucket, holds}, {bucket, holds}, {bucket, holds}, {bucket, holds}};
        const uint32_t sizes[4] = {1514, 1514, 1514, 1514};
        uint64_t due[4] = {}, bytes[4] = {}, total = 0;
        const uint64_t start = second, end = start + 20 * second;
        for (uint64_t now = start; now < end; now += 10'000) {
            for (uint32_t i = 0; i < 4; ++i) {
                // The first one is always there: its packets come all the time.
                if (now < due[i] && !(woken && i == 0))
                    continue;
                while ((due[i] = turns[i].wait_ns(now)) == 0) {
                    turns[i].charge(now, sizes[i]);
                    bytes[i] += sizes[i];
                    total += sizes[i];
                }
                due[i] += now;
            }
        }
        CHECK(total <= 25'000'000 + 62'500 + 4 * 1514);
        CHECK(total >= 24'800'000);
        for (const uint64_t share : bytes)
            CHECK(share > total / 4 * 9 / 10 && share < total / 4 * 11 / 10);
    }
}
