// SPDX-License-Identifier: GPL-2.0-only
// What the ring suites share: memory for a ring, slots that can be told apart.
#pragma once

#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/ring.hpp"
#include "net/netif.hpp"

namespace xpv::test {

using net::TxRequest;
using net::TxResponse;

using TxFront = FrontRing<netif_tx_sring>;
using TxBack = BackRing<netif_tx_sring>;

inline constexpr uint32_t tx_slot = 12;
inline constexpr uint32_t slots = 256;

// Where indices start: on both sides of what could overflow.
inline constexpr RingIndex starts[] = {0,          1,          slots - 1,   0x7fffff80, 0x7fffffff,
                                       0x80000000, 0xfffffe00, 0xffffff00u, 0xffffff01, 0xffffffff};

class Shared : NoCopy {
public:
    explicit Shared(size_t bytes = page_size) noexcept : memory_{xpv_test_alloc(bytes)} {}
    ~Shared() { xpv_test_free(memory_); }
    void* get() const noexcept { return memory_; }

private:
    void* memory_;
};

inline TxRequest request(uint32_t n) noexcept {
    TxRequest r{};
    r.gref = n * 7 + 1;
    r.offset = static_cast<uint16_t>(n & 0xfff);
    r.flags = static_cast<uint16_t>(n & 0xf);
    r.id = static_cast<uint16_t>(n);
    r.size = static_cast<uint16_t>(n >> 3);
    return r;
}

inline bool same(const TxRequest& a, const TxRequest& b) noexcept {
    return a.gref == b.gref && a.offset == b.offset && a.flags == b.flags && a.id == b.id &&
           a.size == b.size;
}

inline TxResponse response(uint32_t n) noexcept {
    TxResponse r{};
    r.id = static_cast<uint16_t>(n);
    r.status = static_cast<int16_t>(n % 5) - 2;
    return r;
}

} // namespace xpv::test
