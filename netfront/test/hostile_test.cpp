// SPDX-License-Identifier: GPL-2.0-only
// A frontend whose backend breaks the protocol: the device stops, says why once,
// gives everything back, and connects again.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::Context;
using fake::Frontend;
using fake::In;
using fake::Poll;
using fake::send;
using fake::Wire;
using test::each;

namespace {

const uint8_t bytes[65536] = {};

// The device noticed; what it does from here on.
void is_broken(Frontend& vif, uint32_t index = 0) noexcept {
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 1u);
    const uint32_t eois = vif.world.account.calls(Call::Eoi);
    const uint32_t sends = vif.world.account.calls(Call::Notify);
    CHECK_EQ(send(vif, bytes, 60, {}, false, index), XPV_NETFRONT_TX_DROPPED);
    CHECK_EQ(Poll::run(vif, index).packets, 0u);
    CHECK(!fake::poll_tx(vif, index, true));
    CHECK(fake::idle(vif, index));
    // Silent: no EOI lets further events in, no word in the log yet.
    CHECK_EQ(vif.world.account.calls(Call::Eoi), eois);
    CHECK_EQ(vif.world.account.calls(Call::Notify), sends);
    CHECK_EQ(vif.world.log.errors, 0u);
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 1u);

    // The work that it asked for.
    vif.handle(XPV_BROKE);
    CHECK_EQ(vif.world.log.errors, 1u);
    CHECK(vif.world.log.has("the other end broke the protocol"));
    CHECK(!vif.os.started);
    CHECK_EQ(vif.world.bus.state(), 5u);
    vif.world.settle(); // what the backend held
    CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
    CHECK_EQ(vif.world.account.pages.outstanding(), 0u);
    CHECK_EQ(vif.world.account.channels.outstanding(), 0u);

    // A backend that comes round finds a working frontend.
    CHECK(vif.settle_down());
    Poll::run(vif, index);
    Wire wire{vif, index};
    CHECK_EQ(send(vif, bytes, 5000, {}, false, index), XPV_NETFRONT_TX_SENT);
    CHECK_EQ(wire.serve_tx(), 1u);
    wire.give_packet(5000);
    wire.publish_rx();
    CHECK_EQ(Poll::run(vif, index).packets, 1u);
}

// The transmitter looks at the responses.
void look(Frontend& vif) noexcept { (void)fake::poll_tx(vif); }

} // namespace

TEST(netfront_hostile_tx_ids) {
    for (uint32_t id : each(255u, 254u, 200u, 256u, 0x8000u, 0xffffu)) { // in flight: 0..3
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 4; ++i)
            CHECK_EQ(send(vif, bytes, 60), XPV_NETFRONT_TX_SENT);
        wire.answer_tx(static_cast<uint16_t>(id), NETIF_RSP_OKAY);
        wire.publish_tx();
        look(vif);
        is_broken(vif);
    }
}

TEST(netfront_hostile_tx_id_twice) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 4; ++i)
        CHECK_EQ(send(vif, bytes, 60), XPV_NETFRONT_TX_SENT);
    const auto request = wire.tx.take<net::TxRequest>();
    wire.answer_tx(request.id, NETIF_RSP_OKAY);
    wire.answer_tx(request.id, NETIF_RSP_OKAY);
    wire.publish_tx();
    look(vif);
    is_broken(vif);
}

// Null responses are for extras: as many, and no id comes back by them.
TEST(netfront_hostile_tx_null) {
    for (uint32_t extras : each(0u, 1u, 2u)) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 5; ++i)
            CHECK_EQ(send(vif, bytes, 60, {XPV_CSUM_BLANK, i < extras, 500}), XPV_NETFRONT_TX_SENT);
        for (uint32_t i = 0; i < extras; ++i)
            wire.answer_tx(0, NETIF_RSP_NULL);
        wire.publish_tx();
        look(vif);
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
        wire.answer_tx(0, NETIF_RSP_NULL);
        wire.publish_tx();
        look(vif);
        is_broken(vif);
    }
}

// XSA-391: the producer ahead of all requests, or behind what was consumed.
TEST(netfront_hostile_tx_producer) {
    for (uint32_t wrong : each(1u, 2u, 256u, 257u, 0x7fffffffu, 0x80000000u, 0xffffffffu)) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 10; ++i)
            CHECK_EQ(send(vif, bytes, 60), XPV_NETFRONT_TX_SENT);
        CHECK_EQ(wire.serve_tx(), 10u);
        look(vif);
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
        wire.tx.raw.rsp_prod(10 + wrong);
        look(vif);
        is_broken(vif);
    }
}

TEST(netfront_hostile_rx_producer) {
    for (uint32_t wrong : each(257u, 300u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu)) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 10; ++i)
            wire.give_packet(60);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, 10u);
        wire.rx.raw.rsp_prod(10 + wrong);
        vif.world.events.raise(wire.rx_port);
        CHECK_EQ(Poll::run(vif).packets, 0u);
        is_broken(vif);
    }
}

// XSA-396: pages of a received packet that the backend keeps. None of them, nor of
// the others of that poll, goes up; they are freed when it lets go.
TEST(netfront_hostile_rx_keeps_pages) {
    for (uint32_t kept = 1; kept <= 16; kept *= 2) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        const uint32_t ref = wire.next_ref();
        wire.give_packet(65000);
        for (uint32_t i = 0; i < kept; ++i)
            vif.world.grants.hold(wire.rx.raw.read<net::RxRequest>(40 + i).gref);
        (void)ref;
        for (uint32_t i = 0; i < 60; ++i)
            wire.give_packet(1000);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, 0u);
        CHECK_EQ(vif.world.account.deferred.outstanding(), 0u);
        vif.handle(XPV_CHANGED); // an event of the backend's in between
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 1u);
        vif.handle(XPV_BROKE);
        CHECK_EQ(vif.world.account.deferred.outstanding(), kept + 2); // and the rings
        CHECK_EQ(vif.counters().grants_deferred, kept);
        vif.world.settle();
        CHECK_EQ(vif.world.account.pages.outstanding(), 0u);
    }
}

// Pages that are copied from never change hands, held or not.
TEST(netfront_hostile_rx_holds_copied_pages) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 256; ++i)
        vif.world.grants.hold(wire.rx.raw.read<net::RxRequest>(i).gref);
    for (uint32_t i = 0; i < 1000; ++i) {
        wire.give_packet(200);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, 1u);
    }
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
}

// Slots, sizes and flags of noise: never more than packets lost.
TEST(netfront_hostile_rx_noise) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t random = 99;
    for (uint32_t round = 0; round < 3000; ++round) {
        for (uint32_t i = 0; i < 40; ++i) {
            uint32_t words[2];
            for (uint32_t& word : words) {
                random = random * 1664525 + 1013904223;
                word = random ^ random >> 15;
            }
            if (round % 3 == 0) // often nearly right
                words[1] = (words[1] & 0xff0fu) | (words[1] & 0x0fff0000u);
            wire.rx.push(words);
        }
        wire.publish_rx();
        Poll::run(vif, 0, 64, false);
        Poll::run(vif, 0, 64, false);
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
    }
    CHECK(vif.counters().rx_errors > 0);
    CHECK(vif.counters().rx_packets > 0);
}

TEST(netfront_hostile_tx_noise) {
    uint32_t random = 5;
    uint32_t breaks = 0;
    for (uint32_t round = 0; round < 200; ++round) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t i = 0; i < 300 && vif.world.ends.asked(XPV_BROKE) == 0; ++i) {
            (void)send(vif, bytes, 60 + i * 20, {XPV_CSUM_BLANK, i % 3 == 0, 1000});
            random = random * 1664525 + 1013904223;
            const auto noise = static_cast<uint16_t>(random >> 16);
            if (noise % 4 == 0)
                wire.tx.raw.rsp_event(random); // ours: it must not matter
            static uint8_t seen[65536];
            Wire::Packet packet;
            while (wire.take_packet(packet, seen)) {
                if (noise % 64 == 1)
                    packet.ids[0] = noise >> 6;
                wire.answer(packet, static_cast<int16_t>(random % 5 - 2));
            }
            wire.publish_tx();
            look(vif);
        }
        breaks += vif.world.ends.asked(XPV_BROKE);
    }
    CHECK(breaks > 100);
}

// The backend's event indices only decide about notifications.
TEST(netfront_hostile_event_indices) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 500; ++i) {
        wire.tx.raw.req_event(i * 0x12345677u);
        wire.rx.raw.req_event(i * 0x76543211u);
        wire.tx.raw.req_prod(i * 77); // ours to write, theirs to scribble over
        wire.rx.raw.req_prod(i * 99);
        CHECK(send(vif, bytes, 60) != XPV_NETFRONT_TX_DROPPED);
        const auto request = wire.tx.take<net::TxRequest>();
        wire.answer_tx(request.id, NETIF_RSP_OKAY);
        wire.publish_tx();
        wire.give_packet(1000);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, 1u);
    }
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
}

// One queue is enough to break the device, and all of it comes back.
TEST(netfront_hostile_one_of_many_queues) {
    Frontend vif{4};
    CHECK(vif.connect());
    Wire good{vif, 0};
    Wire bad{vif, 2};
    good.give_packet(1000);
    good.publish_rx();
    CHECK_EQ(Poll::run(vif, 0).packets, 1u);
    bad.rx.raw.rsp_prod(1000);
    CHECK_EQ(Poll::run(vif, 2).packets, 0u);
    good.give_packet(1000);
    good.publish_rx();
    is_broken(vif, 0);
    CHECK(vif.world.log.has("queue 2"));
}

// Breaking it again and again leaks nothing, however often.
TEST(netfront_hostile_again_and_again) {
    Frontend vif{2};
    CHECK(vif.connect());
    for (uint32_t i = 0; i < 50; ++i) {
        Wire wire{vif, i % 2};
        wire.rx.raw.rsp_prod(257);
        Poll::run(vif, i % 2);
        CHECK_EQ(vif.world.ends.asked(XPV_BROKE), i + 1);
        vif.handle(XPV_BROKE);
        vif.world.settle();
        CHECK_EQ(vif.world.account.grants.outstanding(), 0u);
        vif.world.now_ms += 1000; // more often than that we do not come back
        CHECK(vif.settle_down());
        CHECK_EQ(vif.os.starts, i + 2);
        Poll::run(vif, 0);
        Poll::run(vif, 1);
    }
    CHECK_EQ(vif.world.log.errors, 50u);
}
