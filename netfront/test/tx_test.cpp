// SPDX-License-Identifier: GPL-2.0-only
// netfront/tx.cpp, against a backend that reads what was granted to it.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::Context;
using fake::fill;
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
constexpr uint32_t stop = XPV_NETFRONT_TX_STOP;

bool same(const uint8_t* a, const uint8_t* b, uint32_t length) noexcept {
    return __builtin_memcmp(a, b, length) == 0;
}

// Full to the point where the queue stops; the packets sent.
uint32_t fill_ring(Frontend& vif) noexcept {
    for (uint32_t n = 1; n < 400; ++n)
        if (send(vif, packet_bytes, 100) == stop)
            return n;
    return 0;
}

// A backend that takes and answers all there is, each time that it is notified.
class Answerer : NoCopy {
public:
    // It wants a notification when so many requests are there.
    Answerer(Frontend& vif, Wire& wire, uint32_t wanted) noexcept
        : vif_{vif}, wire_{wire}, wanted_{wanted} {
        vif.world.events.on_notify(
            [](void* context, uint32_t) { static_cast<Answerer*>(context)->answer(); }, this);
        (void)wire.tx.arm(wanted);
    }
    ~Answerer() { vif_.world.events.on_notify(nullptr, nullptr); }

private:
    void answer() noexcept {
        wire_.serve_tx();
        (void)wire_.tx.arm(wanted_);
    }

    Frontend& vif_;
    Wire& wire_;
    const uint32_t wanted_;
};

} // namespace

TEST(netfront_tx_sizes) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t seed = 0;
    for (uint32_t size : each(14u, 15u, 60u, 1514u, 4095u, 4096u, 4097u, 4110u, 8191u, 8192u, 8193u,
                              61440u, 61441u, 65534u, 65535u)) {
        fill(++seed);
        CHECK_EQ(send(vif, packet_bytes, size), sent);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        CHECK_EQ(packet.size, size);
        CHECK_EQ(packet.length, size);
        CHECK_EQ(packet.slots, (size + 4095) / 4096);
        CHECK_EQ(packet.extras, 0u);
        CHECK_EQ(packet.flags & ~NETTXF_more_data, 0);
        CHECK(same(packet_bytes, seen, size));
        CHECK_EQ(wire.tx.requests(), 0u);
        wire.answer(packet);
        wire.publish_tx();
    }
    CHECK_EQ(vif.counters().tx_packets, 15u);
    CHECK_EQ(vif.counters().tx_drops, 0u);
}

TEST(netfront_tx_refuses_sizes) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t drops = 0;
    for (uint32_t size : each(0u, 1u, 13u, 65536u, 65600u, 0xffffffffu)) {
        const In in{vif.world.account, Context::Softirq};
        const xpv_bytes run{packet_bytes, min<uint32_t>(size, sizeof(packet_bytes))};
        CHECK_EQ(xpv_netfront_tx(vif.queue(), &run, 1, size, {}, {}), dropped);
        CHECK_EQ(vif.counters().tx_drops, ++drops);
    }
    CHECK_EQ(wire.tx.requests(), 0u);
    CHECK_EQ(vif.counters().tx_buffers, 0u);
}

// However the packet lies in memory.
TEST(netfront_tx_runs) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    fill(3);
    uint32_t random = 12345;
    for (uint32_t round = 0; round < 300; ++round) {
        xpv_bytes runs[18];
        uint32_t total = 0;
        const uint32_t count = round % 18 + 1;
        for (uint32_t i = 0; i < count; ++i) {
            random = random * 1664525 + 1013904223;
            const uint32_t room = (65535 - total) / (count - i);
            uint32_t length = min<uint32_t>((random >> 8) % 4100 + 1, room);
            if (i == 0 && length < 14)
                length = 14;
            runs[i] = {packet_bytes + total, length};
            total += length;
        }
        const In in{vif.world.account, Context::Softirq};
        CHECK_EQ(xpv_netfront_tx(vif.queue(), runs, count, total, {}, {}), sent);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        CHECK_EQ(packet.length, total);
        CHECK(same(packet_bytes, seen, total));
        wire.answer(packet);
        wire.publish_tx();
    }
    CHECK_EQ(vif.counters().tx_drops, 0u);
}

TEST(netfront_tx_offloads) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint8_t csum : each<uint8_t>(XPV_CSUM_NONE, XPV_CSUM_VALIDATED, XPV_CSUM_BLANK)) {
        for (uint8_t gso : each<uint8_t>(XPV_GSO_NONE, XPV_GSO_TCPV4, XPV_GSO_TCPV6)) {
            for (uint32_t size : each(60u, 4096u, 4097u, 65535u)) {
                CHECK_EQ(send(vif, packet_bytes, size, {csum, gso, 1448}), sent);
                Wire::Packet packet;
                CHECK(wire.take_packet(packet, seen));
                CHECK_EQ(packet.size, size);
                const bool blank = packet.flags & NETTXF_csum_blank;
                const bool validated = packet.flags & NETTXF_data_validated;
                CHECK_EQ(blank, csum == XPV_CSUM_BLANK);
                CHECK_EQ(validated, csum != XPV_CSUM_NONE);
                CHECK_EQ(packet.extras, gso == XPV_GSO_NONE ? 0u : 1u);
                if (gso != XPV_GSO_NONE) {
                    CHECK_EQ(packet.extra.type, XEN_NETIF_EXTRA_TYPE_GSO);
                    CHECK_EQ(packet.extra.flags, 0);
                    CHECK_EQ(packet.extra.u.gso.type, gso);
                    CHECK_EQ(packet.extra.u.gso.size, 1448);
                    CHECK_EQ(packet.extra.u.gso.pad, 0);
                    CHECK_EQ(packet.extra.u.gso.features, 0);
                }
                wire.answer(packet);
                wire.publish_tx();
            }
        }
    }
}

TEST(netfront_tx_without_sg) {
    Frontend vif;
    vif.world.bus.peer.set("feature-sg", "0");
    CHECK(vif.connect());
    Wire wire{vif};
    CHECK_EQ(send(vif, packet_bytes, 4096), sent);
    CHECK_EQ(send(vif, packet_bytes, 4097), dropped);
    CHECK_EQ(wire.serve_tx(), 1u);
}

// Packets that follow each other are shown together and cost one notification.
TEST(netfront_tx_batches) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    CHECK(!wire.tx.arm());
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    for (uint32_t i = 0; i < 9; ++i)
        CHECK_EQ(send(vif, packet_bytes, 60, {}, true), sent);
    CHECK_EQ(wire.tx.requests(), 0u);
    CHECK_EQ(channel->notified, 0u);
    CHECK_EQ(send(vif, packet_bytes, 60), sent);
    CHECK_EQ(wire.tx.requests(), 10u);
    CHECK_EQ(channel->notified, 1u);
    // Nobody asked: no notification.
    CHECK_EQ(send(vif, packet_bytes, 60), sent);
    CHECK_EQ(channel->notified, 1u);
    CHECK_EQ(vif.counters().tx_notifies, 1u);
    // The last of a batch is lost: those before it are not.
    CHECK(wire.serve_tx() == 11u && !wire.tx.arm());
    CHECK_EQ(send(vif, packet_bytes, 60, {}, true), sent);
    CHECK_EQ(send(vif, packet_bytes, 13), dropped);
    CHECK_EQ(wire.tx.requests(), 1u);
    CHECK_EQ(channel->notified, 2u);
}

TEST(netfront_tx_stops_and_wakes) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    wire.serve_tx();
    vif.world.events.deliver();
    CHECK_EQ(fill_ring(vif), 256u - 18);
    CHECK_EQ(wire.tx.requests(), 238u); // published before it stops
    CHECK_EQ(vif.counters().tx_stops, 1u);
    CHECK(xpv_netfront_tx_due(vif.queue()));
    CHECK(!poll_tx(vif)); // nothing came yet
    // Half of the ring must be free before it is worth an event.
    Wire::Packet packet;
    for (uint32_t i = 0; i < 109; ++i) {
        CHECK(wire.take_packet(packet, seen));
        wire.answer(packet);
        wire.publish_tx();
    }
    CHECK_EQ(channel->raised, 0u);
    CHECK(wire.take_packet(packet, seen));
    wire.answer(packet);
    wire.publish_tx();
    CHECK_EQ(channel->raised, 1u);
    CHECK(vif.os.scheduled[0] > 0);
    CHECK(poll_tx(vif)); // wake the queue
    CHECK(idle(vif));
    CHECK_EQ(channel->eois, 1u);
    CHECK_EQ(channel->spurious, 0u);
    CHECK(!xpv_netfront_tx_due(vif.queue()));
    // It goes on, without events.
    wire.serve_tx();
    for (uint32_t i = 0; i < 2000; ++i) {
        CHECK_EQ(send(vif, packet_bytes, 9000), sent);
        CHECK_EQ(wire.serve_tx(), 1u);
    }
    CHECK_EQ(channel->raised, 1u);
}

// Owners get each packet back once, when the backend has answered it and not before.
TEST(netfront_tx_hands_packets_back) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (const uint32_t size : each(60u, 1514u, 9000u)) {
        vif.os.done_count = 0;
        for (uintptr_t i = 1; i <= 20; ++i)
            CHECK_EQ(send_owned(vif, packet_bytes, size, i), sent);
        CHECK(xpv_netfront_tx_due(vif.queue()));
        CHECK(!poll_tx(vif));
        CHECK_EQ(vif.os.done_count, 0u);
        Wire::Packet packets[20];
        for (auto& packet : packets)
            CHECK(wire.take_packet(packet, seen));
        // In another order than they were sent.
        for (uint32_t i = 0; i < 20; ++i) {
            wire.answer(packets[i * 7 % 20], i % 3 == 0 ? NETIF_RSP_ERROR : NETIF_RSP_OKAY);
            wire.publish_tx();
            poll_tx(vif);
            CHECK_EQ(vif.os.done_count, i + 1);
            CHECK_EQ(vif.os.done[i], i * 7 % 20 + 1);
        }
        CHECK(idle(vif));
        CHECK(!xpv_netfront_tx_due(vif.queue()));
    }
    CHECK_EQ(vif.os.held.outstanding(), 0u);
}

// Dropped packets stay the caller's; those that the backend never answers come back
// when the connection ends.
TEST(netfront_tx_hands_all_packets_back_at_the_end) {
    Frontend vif;
    CHECK(vif.connect());
    CHECK_EQ(send_owned(vif, packet_bytes, 13, 1), dropped);
    CHECK_EQ(vif.os.held.outstanding(), 0u);
    uint32_t n = 0;
    while (send_owned(vif, packet_bytes, 60, ++n) == sent)
        continue;
    CHECK_EQ(vif.os.held.outstanding(), n);
    vif.remove();
    CHECK_EQ(vif.os.done_count, n);
    for (uint32_t i = 0; i < n; ++i)
        CHECK(vif.os.done[i] >= 1 && vif.os.done[i] <= n);
    CHECK_EQ(vif.os.held.outstanding(), 0u);
}

// No event for owners who have room left; for one who has none an event each time that
// half is answered, until nobody waits.
TEST(netfront_tx_asks_for_owners_at_their_limit) {
    for (const uint32_t count : each(1u, 2u, 3u, 7u, 100u, 237u)) {
        for (const bool at_limit : each(false, true)) {
            Frontend vif;
            CHECK(vif.connect());
            Wire wire{vif};
            const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
            // A new ring asks for its first response.
            CHECK_EQ(send(vif, packet_bytes, 60), sent);
            wire.serve_tx();
            poll_tx(vif);
            for (uint32_t i = 1; i <= count; ++i)
                CHECK_EQ(send_owned(vif, packet_bytes, 60, i, at_limit && i == count), sent);
            uint32_t events = 0;
            for (uint32_t left = count; left > 0; --left) {
                const uint32_t before = channel->raised;
                Wire::Packet packet;
                CHECK(wire.take_packet(packet, seen));
                wire.answer(packet);
                wire.publish_tx();
                if (channel->raised == before)
                    continue;
                ++events;
                CHECK(xpv_netfront_tx_due(vif.queue()));
                CHECK(!poll_tx(vif));
                CHECK_EQ(vif.os.done_count, count - left + 1);
            }
            if (!at_limit)
                CHECK_EQ(events, 0u);
            else
                CHECK_EQ(vif.os.held.outstanding(), 0u); // by events alone
            CHECK(events <= 9);
            poll_tx(vif);
            CHECK_EQ(vif.os.held.outstanding(), 0u);
        }
    }
}

// The backend answers all in the moment in which an event is asked for.
TEST(netfront_tx_answers_while_it_asks) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const Answerer answerer{vif, wire, 1};
    for (uint32_t i = 1; i <= 500; ++i) {
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i, true), sent);
        CHECK_EQ(vif.os.held.outstanding(), 0u);
    }
}

// The backend answers in the moment in which the queue is about to stop.
TEST(netfront_tx_answers_while_it_stops) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    // It is told when the ring is as full as it gets, and answers all at once.
    const Answerer answerer{vif, wire, 238};
    for (uint32_t i = 0; i < 1000; ++i)
        CHECK_EQ(send(vif, packet_bytes, 60), sent);
    CHECK(vif.counters().tx_notifies > 0);
    CHECK_EQ(vif.counters().tx_stops, 0u);
}

// An event is no spurious one because the transmitter took its responses first.
TEST(netfront_tx_sends_before_it_polls) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    CHECK_EQ(send(vif, packet_bytes, 60), sent);
    wire.serve_tx();
    poll_tx(vif);
    const uint32_t before = channel->raised;
    CHECK_EQ(send_owned(vif, packet_bytes, 60, 1, true), sent);
    wire.serve_tx();
    CHECK_EQ(channel->raised, before + 1);
    for (uint32_t i = 0; i < 40; ++i)
        CHECK_EQ(send(vif, packet_bytes, 60), sent);
    CHECK_EQ(vif.os.held.outstanding(), 0u); // taken on the way
    CHECK(!poll_tx(vif));
    CHECK(idle(vif));
    CHECK_EQ(channel->eois, channel->handled);
    CHECK_EQ(channel->spurious, 0u);
}

// Asked for half; then the ring is full, and its own question is answered at once, by
// fewer than half: what was asked for first is asked for again.
TEST(netfront_tx_asks_again_after_it_nearly_stopped) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    CHECK_EQ(send(vif, packet_bytes, 60), sent);
    wire.serve_tx();
    poll_tx(vif);
    vif.world.events.on_notify(
        [](void* context, uint32_t) {
            auto* const backend = static_cast<Wire*>(context);
            Wire::Packet packet;
            for (uint32_t i = 0; i < 112 && backend->take_packet(packet, seen); ++i)
                backend->answer(packet);
            backend->publish_tx();
        },
        &wire);
    (void)wire.tx.arm(238);
    for (uint32_t i = 1; i <= 238; ++i)
        CHECK_EQ(send_owned(vif, packet_bytes, 60, i, i == 237), sent);
    vif.world.events.on_notify(nullptr, nullptr);
    CHECK_EQ(vif.os.held.outstanding(), 126u);
    const uint32_t before = channel->raised;
    wire.serve_tx();
    CHECK(channel->raised > before);
}

// A full ring is shown even when more packets were to follow.
TEST(netfront_tx_stops_within_a_batch) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t n = 0;
    while (send(vif, packet_bytes, 60, {}, true) == sent)
        CHECK(++n < 256);
    CHECK_EQ(wire.tx.requests(), n + 1);
    CHECK_EQ(wire.serve_tx(), n + 1);
    CHECK(poll_tx(vif));
}

TEST(netfront_tx_error_answers) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (int16_t status : each<int16_t>(NETIF_RSP_DROPPED, NETIF_RSP_ERROR, -32768, 2, 32767)) {
        CHECK_EQ(send(vif, packet_bytes, 5000), sent);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        wire.answer(packet, status);
        wire.publish_tx();
    }
    for (uint32_t i = 0; i < 64; ++i)
        CHECK_EQ(send(vif, packet_bytes, 60), sent); // they are looked at sometime
    CHECK_EQ(vif.counters().tx_errors, 10u);
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
}

TEST(netfront_tx_shared_channel) {
    Frontend vif;
    vif.settings.net.split = false;
    CHECK(vif.connect());
    Wire wire{vif};
    CHECK_EQ(wire.tx_port, wire.rx_port);
    const xpv_evtchn* channel = vif.world.events.at(wire.tx_port);
    CHECK(fill_ring(vif) > 0);
    wire.serve_tx();
    CHECK_EQ(channel->raised, 1u);
    CHECK(xpv_netfront_tx_due(vif.queue()));
    CHECK(poll_tx(vif));
    CHECK_EQ(channel->eois, 0u); // paid when the poller is idle
    fake::Poll::run(vif);
    CHECK(idle(vif));
    CHECK_EQ(channel->eois, 1u);
    CHECK_EQ(channel->spurious, 0u);
}

TEST(netfront_tx_many_queues) {
    Frontend vif{4};
    CHECK(vif.connect());
    for (uint32_t i = 0; i < 4; ++i) {
        fill(i);
        CHECK_EQ(send(vif, packet_bytes, 1000 + i, {}, false, i), sent);
    }
    for (uint32_t i = 0; i < 4; ++i) {
        Wire wire{vif, i};
        fill(i);
        Wire::Packet packet;
        CHECK(wire.take_packet(packet, seen));
        CHECK_EQ(packet.length, 1000 + i);
        CHECK(same(packet_bytes, seen, packet.length));
        CHECK_EQ(vif.counters(i).tx_packets, 1u);
    }
}
