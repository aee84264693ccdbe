// SPDX-License-Identifier: GPL-2.0-only
// A rate with a burst: what a peer can make us do over and over is paid from here.
#pragma once

#include "core/std.hpp"

namespace xpv {

class TokenBucket {
public:
    // Full at first: `burst` tokens, a new one each token_ms milliseconds.
    constexpr TokenBucket(uint32_t burst, uint32_t token_ms) noexcept
        : burst_ms_{uint64_t{burst} * token_ms}, token_ms_{token_ms} {}

    // Takes a token: 0. None there: nothing is taken, and it is that many milliseconds
    // until there is one. now_ms never goes back.
    uint32_t take(uint64_t now_ms) noexcept {
        const uint64_t after = max(spent_until_, now_ms) + token_ms_;
        if (after > now_ms + burst_ms_)
            return static_cast<uint32_t>(after - now_ms - burst_ms_);
        spent_until_ = after;
        return 0;
    }

    // Takes tokens whether they are there or not: the next take() waits for them too.
    void charge(uint64_t now_ms, uint32_t tokens) noexcept {
        spent_until_ = max(spent_until_, now_ms) + uint64_t{tokens} * token_ms_;
    }

private:
    uint64_t burst_ms_;
    uint32_t token_ms_;
    uint64_t spent_until_ = 0; // when the bucket is full again
};

} // namespace xpv
