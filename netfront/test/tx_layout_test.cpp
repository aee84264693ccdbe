// SPDX-License-Identifier: GPL-2.0-only
// netfront/tx.cpp: the granted pages that packets are copied into.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::fill;
using fake::Frontend;
using fake::packet_bytes;
using fake::poll_tx;
using fake::seen;
using fake::send;
using fake::Wire;
using test::each;

namespace {

constexpr uint32_t sent = XPV_NETFRONT_TX_SENT;
constexpr uint32_t dropped = XPV_NETFRONT_TX_DROPPED;

} // namespace

// A steady stream stays in few pages.
TEST(netfront_tx_layout_reuses_pages) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 5000; ++i) {
        CHECK_EQ(send(vif, packet_bytes, 1514), sent);
        wire.serve_tx();
    }
    CHECK(vif.counters().tx_buffers <= 64);
    const uint32_t grants = vif.world.account.calls(Call::Grant);
    for (uint32_t i = 0; i < 5000; ++i) {
        CHECK_EQ(send(vif, packet_bytes, 1514), sent);
        wire.serve_tx();
    }
    CHECK_EQ(vif.world.account.calls(Call::Grant), grants);
    CHECK_EQ(vif.world.account.calls(Call::End), 0u);
    CHECK_EQ(vif.counters().tx_packets, 10000u);
    CHECK_EQ(vif.counters().tx_bytes, 15140000u);
}

// Small packets lie side by side, so that the backend copies many from one grant.
TEST(netfront_tx_layout_shares_pages) {
    struct Size {
        uint32_t bytes, in_a_page;
    };
    for (const Size size : each(Size{14, 16}, Size{256, 16}, Size{257, 2}, Size{2048, 2},
                                Size{2049, 1}, Size{4096, 1})) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 64; ++i)
            CHECK_EQ(send(vif, packet_bytes, size.bytes), sent);
        CHECK_EQ(vif.counters().tx_buffers, 64 / size.in_a_page);
        uint32_t grants = 0;
        for (uint32_t last = 0; wire.tx.requests() > 0;) {
            const auto request = wire.tx.take<net::TxRequest>();
            CHECK(request.offset + request.size <= 4096);
            grants += request.gref != last;
            last = request.gref;
        }
        CHECK_EQ(grants, 64 / size.in_a_page);
    }
}

// As many packets of mixed sizes as there is room for, each read when all are there.
TEST(netfront_tx_layout_packets_keep_apart) {
    constexpr uint32_t sizes[] = {60, 256, 257, 1514, 14, 2048, 2049, 90, 4096, 700};
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t round = 0; round < 30; ++round) {
        uint32_t count = 0;
        for (uint32_t result = sent; result == sent && count < 256; ++count) {
            __builtin_memset(packet_bytes, static_cast<int>(count), sizeof(packet_bytes));
            result = send(vif, packet_bytes, sizes[(count + round) % 10]);
        }
        static Wire::Packet packets[256];
        for (uint32_t i = 0; i < count; ++i) {
            CHECK(wire.take_packet(packets[i], seen));
            CHECK_EQ(packets[i].length, sizes[(i + round) % 10]);
            for (uint32_t k = 0; k < packets[i].length; ++k)
                if (seen[k] != static_cast<uint8_t>(i))
                    CHECK_EQ(seen[k], static_cast<uint8_t>(i));
        }
        for (bool third : each(true, false)) // in an order of its own
            for (uint32_t i = 0; i < count; ++i)
                if ((i % 3 == round % 3) == third)
                    wire.answer(packets[i]);
        wire.publish_tx();
        CHECK(poll_tx(vif));
    }
}

// XSA-403: no byte in a granted page but what was sent to this backend.
TEST(netfront_tx_layout_shows_only_packets) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    constexpr uint8_t secret = 0xa7;
    __builtin_memset(packet_bytes, secret, sizeof(packet_bytes));
    __builtin_memset(packet_bytes + 100, 1, 5000); // the packet, amid other things
    for (uint32_t i = 0; i < 60; ++i)
        CHECK_EQ(send(vif, packet_bytes + 100, 60 + i * 80), sent);
    uint32_t leaked = 0;
    uint32_t pages = 0;
    for (; wire.tx.requests() > 0; ++pages) {
        const xpv_page* page = vif.world.grants.page(wire.tx.take<net::TxRequest>().gref);
        for (uint32_t i = 0; i < 4096; ++i)
            leaked += page->bytes[i] != 0 && page->bytes[i] != 1;
    }
    CHECK(pages > 60);
    CHECK_EQ(leaked, 0u);
}

TEST(netfront_tx_layout_without_memory) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    fill(1);
    uint32_t failures = 0;
    for (uint32_t nth = 1; nth <= 16; ++nth) {
        const auto drops = vif.counters().tx_drops;
        vif.world.account.fail(Call::PageAlloc, nth);
        const uint32_t result = send(vif, packet_bytes, 65535);
        const bool failed = vif.world.account.injected() > failures;
        failures += failed;
        vif.world.account.fail_nothing();
        CHECK_EQ(result, failed ? dropped : sent);
        CHECK_EQ(vif.counters().tx_drops, drops + failed);
        wire.serve_tx();
    }
    CHECK(failures >= 4);
    (void)poll_tx(vif);
    xpv_netfront_rings rings;
    CHECK(xpv_netfront_view(vif.device, 0, &rings));
    CHECK_EQ(rings.tx.in_flight, 0u); // ids
    CHECK_EQ(send(vif, packet_bytes, 65535), sent);
    for (uint32_t i = 0; i < 500; ++i) {
        wire.serve_tx();
        CHECK_EQ(send(vif, packet_bytes, 65535), sent); // no id was lost
    }
}

// The backend keeps pages mapped: on disconnecting exactly those are deferred.
TEST(netfront_tx_layout_still_mapped) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 10; ++i)
        CHECK_EQ(send(vif, packet_bytes, 4000), sent);
    uint32_t held = 0;
    while (wire.tx.requests() > 0) {
        const auto request = wire.tx.take<net::TxRequest>();
        if (request.id % 2 == 0) {
            vif.world.grants.hold(request.gref);
            ++held;
        }
    }
    vif.world.ends.on_wait(nullptr, nullptr);
    vif.remove();
    CHECK_EQ(held, 5u);
    CHECK_EQ(vif.world.account.deferred.outstanding(), held + 2); // and the rings
}
