// SPDX-License-Identifier: GPL-2.0-only
// core/ring.hpp against a peer that plays through raw memory: contents and order
// over the wrap-around of indices, what the peer's indices may claim, accounting.
#include "kunit/core/ring_fixture.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xen/io/blkif.h>
#pragma GCC diagnostic pop

using namespace xpv;
using namespace xpv::test;
using net::ExtraInfo;
using net::RxRequest;
using net::RxResponse;

namespace {

// How many slots a round moves: everything from one to a full ring.
constexpr uint32_t round_size(uint32_t round) noexcept { return 1 + (round * 97) % slots; }

void front_carries(RingIndex start) {
    Shared page;
    TxFront front;
    front.attach_at(page.get(), page_size, start);
    fake::PeerBack back{page.get(), tx_slot, slots};
    uint32_t sent = start;
    uint32_t received = start;
    for (uint32_t round = 0; round < 12; ++round) {
        const uint32_t n = round_size(round);
        CHECK_EQ(front.free(), slots);
        for (uint32_t i = 0; i < n; ++i)
            front.put(request(sent++));
        CHECK_EQ(front.free(), slots - n);
        CHECK_EQ(front.in_flight(), 0u); // nothing shown yet
        CHECK_EQ(front.unpublished(), n);
        CHECK_EQ(back.requests(), 0u);
        (void)front.publish();
        CHECK_EQ(front.in_flight(), n);
        CHECK_EQ(front.unpublished(), 0u);
        CHECK_EQ(back.requests(), n);
        for (uint32_t i = 0; i < n; ++i, ++received) {
            CHECK(same(back.take<TxRequest>(), request(received)));
            back.push(response(received));
        }
        CHECK_EQ(front.pending().value_or(99999), 0u);
        (void)back.publish();
        CHECK_EQ(front.pending().value_or(99999), n);
        for (uint32_t i = 0; i < n; ++i) {
            const TxResponse r = front.take().raw();
            CHECK_EQ(r.id, response(received - n + i).id);
            CHECK_EQ(r.status, response(received - n + i).status);
        }
        CHECK_EQ(front.in_flight(), 0u);
        CHECK_EQ(front.response_index(), received);
        CHECK_EQ(front.request_index(), sent);
    }
}

void back_serves(RingIndex start) {
    Shared page;
    fake::PeerFront front{page.get(), tx_slot, slots, start};
    TxBack back;
    CHECK(back.attach(page.get(), page_size).ok());
    CHECK_EQ(back.request_index(), start);
    uint32_t served = start;
    for (uint32_t round = 0; round < 12; ++round) {
        const uint32_t n = round_size(round);
        CHECK_EQ(front.free(), slots);
        for (uint32_t i = 0; i < n; ++i)
            front.push(request(served + i));
        CHECK_EQ(back.pending().value_or(99999), 0u);
        (void)front.publish();
        CHECK_EQ(back.pending().value_or(99999), n);
        for (uint32_t i = 0; i < n; ++i)
            CHECK(same(back.take().raw(), request(served + i)));
        CHECK_EQ(back.in_service(), n);
        CHECK_EQ(back.pending().value_or(99999), 0u);
        for (uint32_t i = 0; i < n; ++i)
            back.put(response(served + i));
        CHECK_EQ(back.in_service(), 0u);
        CHECK_EQ(back.unpublished(), n);
        CHECK_EQ(front.responses(), 0u);
        (void)back.publish();
        CHECK_EQ(back.unpublished(), 0u);
        CHECK_EQ(front.responses(), n);
        for (uint32_t i = 0; i < n; ++i)
            CHECK_EQ(front.take<TxResponse>().id, response(served + i).id);
        served += n;
        CHECK_EQ(back.response_index(), served);
    }
}

} // namespace

TEST(ring_slots_in_bytes) {
    CHECK_EQ(RingTypes<netif_tx_sring>::slots(4096), 256u);
    CHECK_EQ(RingTypes<netif_rx_sring>::slots(4096), 256u);
    CHECK_EQ(RingTypes<blkif_sring>::slots(4096), 32u);
    CHECK_EQ(RingTypes<blkif_sring>::slots(2 * 4096), 64u);
    CHECK_EQ(RingTypes<blkif_sring>::slots(4 * 4096), 128u);
    CHECK_EQ(RingTypes<blkif_sring>::slots(16 * 4096), 512u);
    CHECK_EQ(RingTypes<netif_tx_sring>::slots(4 * 4096), 1024u);
}

TEST(ring_front_wraps) {
    for (RingIndex start : starts)
        front_carries(start);
}

TEST(ring_back_wraps) {
    for (RingIndex start : starts)
        back_serves(start);
}

TEST(ring_front_initialises) {
    Shared page;
    TxFront front;
    CHECK(!front.attached());
    front.attach(page.get(), page_size);
    CHECK(front.attached());
    CHECK_EQ(front.size(), slots);
    const fake::RawRing raw{page.get(), tx_slot, slots};
    CHECK_EQ(raw.req_prod(), 0u);
    CHECK_EQ(raw.rsp_prod(), 0u);
    CHECK_EQ(raw.req_event(), 1u);
    CHECK_EQ(raw.rsp_event(), 1u);
    front.detach();
    CHECK(!front.attached());
}

// Slots land where the header says, the last one of the page included.
TEST(ring_slots_stay_in_their_page) {
    Shared page;
    TxFront front;
    front.attach(page.get(), page_size);
    for (uint32_t i = 0; i < slots; ++i)
        front.put(request(i));
    CHECK_EQ(front.free(), 0u);
    const auto* bytes = static_cast<const uint8_t*>(page.get());
    for (uint32_t i = 0; i < slots; ++i) {
        TxRequest r;
        __builtin_memcpy(&r, bytes + 64 + i * tx_slot, sizeof(r));
        CHECK(same(r, request(i)));
    }
}

// A backend takes over where the last one's responses ended.
TEST(ring_back_attaches_in_the_middle) {
    for (RingIndex start : starts)
        for (uint32_t waiting : each(0u, 1u, slots)) {
            Shared page;
            fake::PeerFront front{page.get(), tx_slot, slots, start};
            for (uint32_t i = 0; i < waiting; ++i)
                front.push(request(i));
            (void)front.publish();
            TxBack back;
            CHECK(back.attach(page.get(), page_size).ok());
            CHECK_EQ(back.pending().value_or(99999), waiting);
            for (uint32_t i = 0; i < waiting; ++i)
                CHECK(same(back.take().raw(), request(i)));
        }
}

// An extra lies over a request and leaves the rest of the slot alone.
TEST(ring_extra_over_a_slot) {
    Shared page;
    TxFront front;
    front.attach(page.get(), page_size);
    fake::RawRing raw{page.get(), tx_slot, slots};
    for (uint32_t i = 0; i < tx_slot; ++i)
        raw.slot(1)[i] = 0xee;
    front.put(request(1));
    front.put(net::gso_extra(XEN_NETIF_GSO_TYPE_TCPV6, 1448, true));
    (void)front.publish();
    CHECK_EQ(raw.slot(1)[0], XEN_NETIF_EXTRA_TYPE_GSO);
    CHECK_EQ(raw.slot(1)[1], XEN_NETIF_EXTRA_FLAG_MORE);
    CHECK_EQ(raw.slot(1)[2] + 256 * raw.slot(1)[3], 1448);
    CHECK_EQ(raw.slot(1)[4], XEN_NETIF_GSO_TYPE_TCPV6);
    for (uint32_t i = sizeof(ExtraInfo); i < tx_slot; ++i)
        CHECK_EQ(raw.slot(1)[i], 0xee);

    TxBack back;
    CHECK(back.attach(page.get(), page_size).ok());
    CHECK_EQ(back.pending().value_or(99999), 2u);
    CHECK(same(back.take().raw(), request(1)));
    const auto extra = back.take<ExtraInfo>().raw();
    CHECK_EQ(extra.u.gso.size, 1448);
    CHECK_EQ(back.in_service(), 2u);
}

// A response lies in its request's slot.
TEST(ring_rx_response_in_its_requests_slot) {
    Shared page;
    fake::PeerFront front{page.get(), 8, slots, 0xfffffffe};
    BackRing<netif_rx_sring> back;
    CHECK(back.attach(page.get(), page_size).ok());
    for (uint16_t i = 0; i < 4; ++i)
        front.push(RxRequest{i, 0, uint32_t{40} + i});
    (void)front.publish();
    CHECK_EQ(back.pending().value_or(99999), 4u);
    for (uint16_t i = 0; i < 4; ++i) {
        const uint32_t slot = back.slot_of(back.request_index());
        CHECK_EQ(slot, (0xfffffffeu + i) % slots);
        CHECK_EQ(back.take().raw().gref, 40u + i);
        RxResponse r{};
        r.id = i;
        r.status = 60;
        CHECK_EQ(back.slot_of(back.response_index()), slot);
        back.put(r);
    }
    (void)back.publish();
    for (uint16_t i = 0; i < 4; ++i)
        CHECK_EQ(front.take<RxResponse>().id, i);
}

// publish() asks for a notification when the event index lies in (old, new], and
// only then; by counting, over every distance.
TEST(ring_publish_notifies_by_the_event_index) {
    for (RingIndex start : each(0u, 0xfffffffcu, 0x7ffffffeu))
        for (uint32_t n = 0; n <= 6; ++n)
            for (uint32_t event = 0; event <= 12; ++event) {
                Shared page;
                TxFront front;
                front.attach_at(page.get(), page_size, start);
                fake::RawRing raw{page.get(), tx_slot, slots};
                const RingIndex wanted = start - 3 + event;
                raw.req_event(wanted);
                bool expected = false;
                for (uint32_t i = 1; i <= n; ++i)
                    expected = expected || RingIndex(start + i) == wanted;
                for (uint32_t i = 0; i < n; ++i)
                    front.put(request(i));
                CHECK_EQ(front.publish(), expected);
                CHECK_EQ(front.publish(), false); // nothing new

                TxBack back;
                CHECK(back.attach(page.get(), page_size).ok());
                CHECK_EQ(back.pending().value_or(99999), n);
                raw.rsp_event(wanted);
                for (uint32_t i = 0; i < n; ++i) {
                    (void)back.take();
                    back.put(response(i));
                }
                CHECK_EQ(back.publish(), expected);
                CHECK_EQ(back.publish(), false);
            }
}

// Sleep until n more are there: the event index names the nth, and arm() says
// whether that many already wait.
TEST(ring_waits_for_n) {
    for (RingIndex start : each(0u, 0xfffffffdu))
        for (uint32_t more : each(1u, 2u, 3u, 18u, slots))
            for (uint32_t there : each(0u, 1u, 2u, 3u, 17u, 18u, 19u, slots)) {
                Shared page;
                fake::PeerFront front{page.get(), tx_slot, slots, start};
                TxBack back;
                CHECK(back.attach(page.get(), page_size).ok());
                for (uint32_t i = 0; i < there; ++i)
                    front.push(request(i));
                (void)front.publish();
                CHECK_EQ(back.arm(more), there >= more);
                CHECK_EQ(front.raw.req_event(), start + more);

                Shared other;
                TxFront ours;
                ours.attach_at(other.get(), page_size, start);
                for (uint32_t i = 0; i < slots; ++i)
                    ours.put(request(i));
                (void)ours.publish();
                fake::RawRing raw{other.get(), tx_slot, slots};
                raw.rsp_prod(start + there);
                CHECK_EQ(ours.arm(more), there >= more);
                CHECK_EQ(raw.rsp_event(), start + more);
            }
}

// A ring of several pages, as block uses it.
TEST(ring_of_many_pages) {
    constexpr uint32_t pages = 4;
    Shared memory{pages * page_size};
    FrontRing<blkif_sring> front;
    front.attach_at(memory.get(), pages * page_size, 0xffffffc0);
    CHECK_EQ(front.size(), 128u);
    fake::PeerBack back{memory.get(), sizeof(blkif_request_t), 128};
    CHECK_EQ(sizeof(blkif_request_t), 112u);
    for (uint32_t i = 0; i < 128; ++i) {
        blkif_request_t r{};
        r.id = 1000 + i;
        r.sector_number = i * 8;
        front.put(r);
    }
    CHECK_EQ(front.free(), 0u);
    CHECK(front.publish());
    CHECK_EQ(back.requests(), 128u);
    for (uint32_t i = 0; i < 128; ++i) {
        const auto r = back.take<blkif_request_t>();
        CHECK_EQ(r.id, 1000u + i);
        CHECK_EQ(r.sector_number, i * 8u);
    }
}
