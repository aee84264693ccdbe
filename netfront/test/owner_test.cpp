// SPDX-License-Identifier: GPL-2.0-only
// netfront/tx.cpp: packets that somebody counts until they are gone, and how they come
// back, whatever the backend and the link do.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Context;
using fake::Frontend;
using fake::idle;
using fake::In;
using fake::packet_bytes;
using fake::poll_tx;
using fake::seen;
using fake::send;
using fake::send_owned;
using fake::Wire;
using test::each;

namespace {

constexpr uint32_t sent = XPV_NETFRONT_TX_SENT;
constexpr uint32_t dropped = XPV_NETFRONT_TX_DROPPED;

uint32_t wait_ms(Frontend& vif) noexcept { return xpv_netfront_tx_wait_ms(vif.queue()); }

void release(Frontend& vif) noexcept {
    const In in{vif.world.account, Context::Softirq};
    xpv_netfront_tx_release(vif.queue());
}

} // namespace

// A backend that answers nothing keeps no packet longer than about a second; each wait is
// twice the one before, and only a whole wait counts.
TEST(netfront_owner_waits_are_bounded) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    CHECK_EQ(wait_ms(vif), 0u);
    CHECK_EQ(send(vif, packet_bytes, 60), sent);
    CHECK_EQ(wait_ms(vif), 0u); // nobody's
    for (uintptr_t i = 1; i <= 5; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i), sent);
    CHECK_EQ(wait_ms(vif), 2u);
    for (uint32_t round = 0; round < 3; ++round) {
        uint32_t sum = 0;
        uint32_t last = 0;
        while (vif.os.held.outstanding() != 0 && sum < 3000) {
            const uint32_t wait = wait_ms(vif);
            CHECK(round > 0 || wait == (last == 0 ? 2 : 2 * last));
            last = wait;
            sum += wait;
            for (uint32_t i = 0; i < 10; ++i)
                poll_tx(vif); // the receiver's, say
            CHECK_EQ(wait_ms(vif), wait);
            poll_tx(vif, 0, true);
        }
        // It need not prove itself dead again.
        CHECK(round == 0 ? sum >= 1000 && sum <= 1100 : sum <= 512);
        CHECK_EQ(vif.os.held.outstanding(), 0u);
        CHECK_EQ(wait_ms(vif), 0u);
        CHECK_EQ(vif.counters().tx_overdue, 5 + round);
        CHECK_EQ(vif.os.done_bytes, (6 + round) * 60u); // BQL lets others through
        CHECK_EQ(send_owned(vif, packet_bytes, 60, 100 + round), sent);
    }
    // It comes round: each answer is taken once, and the waits are short again.
    CHECK_EQ(wire.serve_tx(), 9u);
    poll_tx(vif, 0, true);
    CHECK_EQ(vif.os.held.outstanding(), 0u);
    CHECK_EQ(vif.os.done_bytes, 9 * 60u);
    CHECK_EQ(send_owned(vif, packet_bytes, 60, 1), sent);
    CHECK_EQ(wait_ms(vif), 2u);
}

// What fills BQL's limit may be nobody's, forwarded packets say: who waits behind it waits no
// longer for that.
TEST(netfront_owner_behind_nobodys_packets) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 5; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, 0, i == 4), sent);
    uint32_t looks = 0;
    while (vif.os.done_bytes == 0 && looks < 20) {
        poll_tx(vif, 0, true);
        ++looks;
    }
    CHECK(looks > 1 && looks <= 10);
    CHECK_EQ(vif.os.done_bytes, 5 * 60u);
    CHECK_EQ(wire.serve_tx(), 5u);
    poll_tx(vif, 0, true);
    CHECK_EQ(vif.os.done_bytes, 5 * 60u);
}

// A backend that answers, however slowly, is waited for.
TEST(netfront_owner_slow_backend) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uintptr_t i = 1; i <= 100; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i), sent);
    for (uint32_t left = 100; left > 0;) {
        for (uint32_t waits = 0; waits < 8; ++waits)
            poll_tx(vif, 0, true);
        CHECK_EQ(vif.os.held.outstanding(), left);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        wire.answer(packet);
        wire.publish_tx();
        poll_tx(vif, 0, true);
        CHECK_EQ(vif.os.held.outstanding(), --left);
        CHECK_EQ(wait_ms(vif), left == 0 ? 0u : 2u);
    }
    CHECK_EQ(vif.counters().tx_overdue, 0u);
}

// The link goes down: owners get what they have, once, and what is answered later finds
// the ring in order.
TEST(netfront_owner_link_down) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t round = 0; round < 5; ++round) {
        vif.os.done_count = 0;
        vif.os.done_bytes = 0;
        for (uintptr_t i = 1; i <= 150; ++i)
            CHECK_EQ(send_owned(vif, packet_bytes, 1000, i), sent);
        release(vif);
        CHECK_EQ(vif.os.held.outstanding(), 0u);
        CHECK_EQ(vif.os.done_count, 150u);
        CHECK_EQ(vif.os.done_bytes, 0u);
        release(vif);
        CHECK_EQ(vif.os.done_count, 150u);
        CHECK_EQ(send_owned(vif, packet_bytes, 60, 151), sent);
        CHECK_EQ(wire.serve_tx(), 151u);
        poll_tx(vif);
        CHECK_EQ(vif.os.done_count, 151u);
        CHECK_EQ(vif.os.done[150], 151);
        CHECK_EQ(vif.os.done_bytes, 150 * 1000u + 60);
        (void)idle(vif);
    }
    xpv_netfront_rings rings;
    CHECK(xpv_netfront_view(vif.device, 0, &rings));
    CHECK_EQ(rings.tx.in_flight, 0u);
}

// A backend that is told to go may keep its rings for long; owners do not wait for that.
TEST(netfront_owner_while_the_backend_closes) {
    Frontend vif;
    CHECK(vif.connect());
    for (uintptr_t i = 1; i <= 10; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i), sent);
    vif.peer_state(XenbusStateClosing);
    vif.handle(XPV_CHANGED);
    CHECK(vif.os.stopped && vif.os.started);
    CHECK_EQ(vif.os.held.outstanding(), 0u);
}

// Every byte that was sent is answered once: what BQL adds up, over packets of all sizes,
// owned or not, in any order.
TEST(netfront_owner_bytes) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint64_t bytes = 0;
    uint32_t random = 7;
    for (uint32_t round = 0; round < 400; ++round) {
        for (uint32_t i = 0; i < 6; ++i) {
            random = random * 1664525 + 1013904223;
            const uint32_t size = 14 + (random >> 8) % (i == 0 ? 65000 : 3000);
            const uint32_t result =
                i % 2 == 0 ? send(vif, packet_bytes, size) : send_owned(vif, packet_bytes, size, i);
            bytes += result & dropped ? 0 : size;
        }
        CHECK_EQ(send(vif, packet_bytes, 13), dropped);
        Wire::Packet packets[6];
        uint32_t count = 0;
        while (count < 6 && wire.take_packet(packets[count], seen))
            ++count;
        while (count > 0)
            wire.answer(packets[--count]);
        wire.publish_tx();
        CHECK(vif.os.done_bytes <= bytes);
    }
    wire.serve_tx();
    poll_tx(vif);
    CHECK_EQ(vif.os.done_bytes, bytes);
    CHECK_EQ(send(vif, packet_bytes, 5000), sent);
    vif.remove();
    CHECK_EQ(vif.os.done_bytes, bytes); // what nobody answered is BQL's to forget
}

// At a limit that is nobody's packet: BQL has stopped the queue.
TEST(netfront_owner_nobody_at_the_limit) {
    for (const bool split : each(true, false)) {
        Frontend vif;
        vif.settings.net.split = split;
        CHECK(vif.connect());
        Wire wire{vif};
        const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
        CHECK_EQ(send(vif, packet_bytes, 60), sent);
        wire.serve_tx();
        poll_tx(vif);
        (void)idle(vif);
        const uint32_t before = channel->raised;
        for (uint32_t i = 0; i < 3; ++i) {
            const In in{vif.world.account, Context::Softirq};
            const xpv_bytes run{packet_bytes, 60};
            CHECK_EQ(xpv_netfront_tx(vif.queue(), &run, 1, 60, {}, {nullptr, i == 2, false, false}),
                     sent);
        }
        CHECK(xpv_netfront_tx_due(vif.queue()));
        CHECK_EQ(vif.counters().tx_limits, 1u);
        CHECK_EQ(wire.serve_tx(), 3u);
        CHECK_EQ(channel->raised, before + 1);
        CHECK(xpv_netfront_tx_due(vif.queue()));
        CHECK(!poll_tx(vif));
        CHECK_EQ(vif.os.done_bytes, 240u);
        CHECK(idle(vif));
        CHECK_EQ(channel->spurious, 0u);
        CHECK(!xpv_netfront_tx_due(vif.queue()));
    }
}

// Events are asked for until the packet that met the limit is answered, not for ever.
TEST(netfront_owner_limit_is_over) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    for (uintptr_t i = 1; i <= 10; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i, i == 10), sent);
    uint32_t at_ten = 0;
    for (uintptr_t i = 11; i <= 2000; ++i) { // a stream that never runs dry
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i), sent);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        wire.answer(packet);
        wire.publish_tx();
        if (channel->silent)
            poll_tx(vif);
        (void)idle(vif);
        if (i == 20)
            at_ten = channel->raised;
    }
    CHECK(at_ten >= 1);
    CHECK_EQ(channel->raised, at_ten);
}

// What a packet needs was negotiated, or it does not go out: it may have been queued while
// another backend was connected.
TEST(netfront_owner_nothing_unnegotiated) {
    struct Row {
        const char* node;
        const char* text;
        xpv_offload offload;
        bool ipv6;
    };
    const xpv_offload v4{XPV_CSUM_BLANK, XPV_GSO_TCPV4, 1448};
    const xpv_offload v6{XPV_CSUM_BLANK, XPV_GSO_TCPV6, 1428};
    const xpv_offload blank{XPV_CSUM_BLANK, XPV_GSO_NONE, 0};
    for (const Row& row :
         each(Row{"feature-no-csum-offload", "1", blank, false},
              Row{"feature-ipv6-csum-offload", "0", blank, true},
              Row{"feature-gso-tcpv4", "0", v4, false}, Row{"feature-gso-tcpv6", "0", v6, true})) {
        for (const bool lacking : each(false, true)) {
            Frontend vif;
            if (lacking)
                vif.world.bus.peer.set(row.node, row.text);
            CHECK(vif.connect());
            const uint32_t fate = lacking ? dropped : sent;
            CHECK_EQ(send(vif, packet_bytes, 3000, row.offload, false, 0, row.ipv6), fate);
            CHECK_EQ(vif.counters().tx_drops, lacking);
            // The other protocol's packets, and those that need nothing, go out.
            const bool gso = row.offload.gso != XPV_GSO_NONE;
            CHECK_EQ(send(vif, packet_bytes, 3000, gso ? (row.ipv6 ? v4 : v6) : blank, false, 0,
                          !row.ipv6),
                     sent);
            CHECK_EQ(send(vif, packet_bytes, 3000, {XPV_CSUM_VALIDATED, XPV_GSO_NONE, 0}, false, 0,
                          row.ipv6),
                     sent);
        }
    }
}
