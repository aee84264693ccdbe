// SPDX-License-Identifier: GPL-2.0-only
// core/ring.hpp and a peer that writes what it likes over the shared indices.
#include "kunit/core/ring_fixture.hpp"

using namespace xpv;
using namespace xpv::test;

TEST(ring_hostile_back_refuses_impossible_indices) {
    for (RingIndex start : starts)
        for (uint32_t claim : each(slots + 1, 0x80000000u, 0xffffffffu)) {
            Shared page;
            fake::RawRing raw{page.get(), tx_slot, slots};
            raw.rsp_prod(start);
            raw.req_prod(start + claim);
            TxBack back;
            const Result<void> attached = back.attach(page.get(), page_size);
            CHECK(!attached.ok());
            CHECK_EQ(attached.error(), Error::Protocol);
            CHECK(!back.attached());
        }
}

// The peer of a front claims responses that cannot be.
TEST(ring_hostile_front_producer_overflow) {
    for (RingIndex start : starts)
        for (uint32_t flying : each(0u, 1u, 7u, slots)) {
            Shared page;
            TxFront front;
            front.attach_at(page.get(), page_size, start);
            for (uint32_t i = 0; i < flying; ++i)
                front.put(request(i));
            (void)front.publish();
            // Put but not shown: no response may cover it.
            if (flying < slots)
                front.put(request(flying));
            fake::RawRing raw{page.get(), tx_slot, slots};
            for (uint32_t claim :
                 each(flying + 1, slots + 1, flying + slots, 0x80000000u, 0xffffffffu)) {
                raw.rsp_prod(start + claim);
                const Result<uint32_t> pending = front.pending();
                CHECK(!pending.ok());
                CHECK_EQ(pending.error(), Error::Protocol);
            }
            raw.rsp_prod(start + flying);
            CHECK_EQ(front.pending().value_or(99999), flying);
        }
}

// An index that was believed and then goes backwards, by one or by all.
TEST(ring_hostile_front_producer_goes_backwards) {
    Shared page;
    TxFront front;
    front.attach(page.get(), page_size);
    for (uint32_t i = 0; i < 10; ++i)
        front.put(request(i));
    (void)front.publish();
    fake::RawRing raw{page.get(), tx_slot, slots};
    raw.rsp_prod(4);
    CHECK_EQ(front.pending().value_or(99999), 4u);
    for (uint32_t i = 0; i < 4; ++i)
        (void)front.take();
    for (uint32_t back_to : each(3u, 0u)) {
        raw.rsp_prod(back_to);
        CHECK(!front.pending().ok());
        CHECK(front.arm()); // no sleep on it: the next look must see the fault
    }
}

TEST(ring_hostile_back_producer_overflow) {
    for (RingIndex start : starts)
        for (uint32_t busy : each(0u, 1u, 7u, slots)) {
            Shared page;
            fake::PeerFront front{page.get(), tx_slot, slots, start};
            TxBack back;
            CHECK(back.attach(page.get(), page_size).ok());
            for (uint32_t i = 0; i < busy; ++i)
                front.push(request(i));
            (void)front.publish();
            for (uint32_t i = 0; i < busy; ++i)
                (void)back.take();
            CHECK_EQ(back.in_service(), busy);
            // Requests in service keep their slots.
            const uint32_t room = slots - busy;
            for (uint32_t claim : each(room + 1, slots + 1, 0x80000000u, 0xffffffffu)) {
                front.raw.req_prod(start + busy + claim);
                const Result<uint32_t> pending = back.pending();
                CHECK(!pending.ok());
                CHECK_EQ(pending.error(), Error::Protocol);
            }
            front.raw.req_prod(start + busy + room);
            CHECK_EQ(back.pending().value_or(99999), room);
        }
}

// Nothing that the peer can write is read back: indices and slots of ours that it
// scribbles over change nothing.
TEST(ring_hostile_front_ignores_scribbles) {
    Shared page;
    TxFront front;
    front.attach(page.get(), page_size);
    fake::PeerBack back{page.get(), tx_slot, slots};
    for (uint32_t i = 0; i < 5; ++i)
        front.put(request(i));
    back.raw.req_prod(77);
    back.raw.rsp_event(99);
    (void)front.publish();
    CHECK_EQ(back.raw.req_prod(), 5u);
    back.raw.req_prod(0);
    CHECK_EQ(front.in_flight(), 5u);
    CHECK_EQ(front.free(), slots - 5);
    front.put(request(5));
    (void)front.publish();
    CHECK_EQ(back.raw.req_prod(), 6u);
}

TEST(ring_hostile_back_ignores_scribbles) {
    Shared page;
    fake::PeerFront front{page.get(), tx_slot, slots, 100};
    TxBack back;
    CHECK(back.attach(page.get(), page_size).ok());
    for (uint32_t i = 0; i < 5; ++i)
        front.push(request(i));
    (void)front.publish();
    CHECK_EQ(back.pending().value_or(99999), 5u);
    (void)back.take();
    front.raw.rsp_prod(4242);
    front.raw.req_event(4242);
    back.put(response(0));
    (void)back.publish();
    CHECK_EQ(front.raw.rsp_prod(), 101u);
    CHECK_EQ(back.pending().value_or(99999), 4u);
}
