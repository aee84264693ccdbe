// SPDX-License-Identifier: GPL-2.0-only
// core/token_bucket.hpp: a burst, then a rate; who waits as long as told is served.
#include "core/token_bucket.hpp"
#include "kunit/check.hpp"

using namespace xpv;

TEST(token_bucket_burst_then_rate) {
    TokenBucket bucket{4, 250};
    for (uint32_t i = 0; i < 4; ++i)
        CHECK_EQ(bucket.take(7), 0u);
    CHECK_EQ(bucket.take(7), 250u);
    CHECK_EQ(bucket.take(107), 150u); // a refusal costs nothing
    CHECK_EQ(bucket.take(256), 1u);
    CHECK_EQ(bucket.take(257), 0u);
    CHECK_EQ(bucket.take(257), 250u);
    // However long nobody came, the burst is no larger.
    for (uint32_t i = 0; i < 4; ++i)
        CHECK_EQ(bucket.take(1000000), 0u);
    CHECK_EQ(bucket.take(1000000), 250u);
}

TEST(token_bucket_charges) {
    TokenBucket bucket{2, 100};
    bucket.charge(1000, 1);
    CHECK_EQ(bucket.take(1000), 0u);
    CHECK_EQ(bucket.take(1000), 100u);
    bucket.charge(1000, 3); // more than there are
    CHECK_EQ(bucket.take(1000), 400u);
    CHECK_EQ(bucket.take(1399), 1u);
    CHECK_EQ(bucket.take(1400), 0u);
}
