// SPDX-License-Identifier: GPL-2.0-only
// core/ring_page.hpp: the ring's pages come back, or the deferred list has them, whatever
// fails and whatever the backend holds.
#include "core/ring_page.hpp"
#include "kunit/fake/world.hpp"
#include "kunit/core/ring_fixture.hpp"

using namespace xpv;
using fake::Call;
using fake::World;
using xpv::test::each;
using State = fake::OurGrants::State;

namespace {

constexpr uint16_t peer = World::peer_domid;
using TxRing = RingPage<netif_tx_sring>;

} // namespace

// Every page is shared, writable, zeroed but for what a ring starts with, and the next one
// in memory follows.
TEST(ring_page_is_shared_in_order) {
    for (uint32_t order = 0; order <= RingMemory::max_order; ++order) {
        World world;
        TxRing ring;
        CHECK_EQ(ring.pages(), 0u);
        CHECK(ring.open(peer, order).ok());
        CHECK_EQ(ring.pages(), 1u << order);
        CHECK_EQ(ring->size(), RingTypes<netif_tx_sring>::slots(page_size << order));
        const uint8_t* const first = world.grants.page(ring.refs()[0].number())->bytes;
        for (uint32_t i = 0; i < ring.pages(); ++i) {
            const uint32_t ref = ring.refs()[i].number();
            CHECK(world.grants.page(ref)->bytes == first + i * page_size);
            CHECK_EQ(world.grants.domid(ref), peer);
            CHECK(!world.grants.readonly(ref));
            for (uint32_t at = i == 0 ? 16 : 0; at < page_size; ++at)
                CHECK_EQ(first[i * page_size + at], 0);
        }
        ring.close();
        CHECK_EQ(ring.pages(), 0u);
        CHECK_EQ(world.account.outstanding(), 0u);
        ring.close();
    }
}

TEST(ring_page_shows_both_ends) {
    World world;
    TxRing ring;
    CHECK(ring.open(peer).ok());
    fake::PeerBack back{world.grants.page(ring.refs()[0].number())->bytes, test::tx_slot,
                        test::slots};
    for (uint32_t i = 0; i < 3; ++i)
        ring->put(test::request(i));
    (void)ring->publish();
    for (uint32_t i = 0; i < 2; ++i) {
        (void)back.take<net::TxRequest>();
        back.push(test::response(i));
    }
    (void)back.publish();
    (void)ring->take();
    ring->put(test::request(3));
    (void)ring->arm(7);
    uint32_t* const words =
        reinterpret_cast<uint32_t*>(world.grants.page(ring.refs()[0].number())->bytes);
    words[1] = 77;
    xpv_ring_view view{};
    ring.view(view);
    CHECK_EQ(view.size, test::slots);
    CHECK_EQ(view.pages, 1u);
    CHECK_EQ(view.ref, ring.refs()[0].number());
    CHECK_EQ(view.req, 4u);
    CHECK_EQ(view.rsp, 1u);
    CHECK_EQ(view.shared_req_prod, 3u);
    CHECK_EQ(view.shared_req_event, 77u);
    CHECK_EQ(view.shared_rsp_prod, 2u);
    CHECK_EQ(view.shared_rsp_event, 8u);
}

// The same words from the other side.
TEST(ring_page_of_the_other_end) {
    test::Shared page;
    test::TxFront front;
    front.attach(page.get(), page_size);
    test::TxBack back;
    for (uint32_t i = 0; i < 5; ++i)
        front.put(test::request(i));
    (void)front.publish();
    CHECK(back.attach(page.get(), page_size).ok());
    for (uint32_t i = 0; i < 4; ++i)
        (void)back.take();
    back.put(test::response(0));
    (void)back.publish();
    back.put(test::response(1));
    (void)back.arm(3);
    (void)front.arm(2);
    xpv_ring_view view{};
    back.view(view);
    CHECK_EQ(view.size, test::slots);
    CHECK_EQ(view.req, 4u);
    CHECK_EQ(view.rsp, 2u);
    CHECK_EQ(view.shared_req_prod, 5u);
    CHECK_EQ(view.shared_req_event, 7u);
    CHECK_EQ(view.shared_rsp_prod, 1u);
    CHECK_EQ(view.shared_rsp_event, 2u);
}

// A backend that is asked again and again: what it lets go of comes back at once, the rest
// when it lets go of that, and nothing is deferred meanwhile.
TEST(ring_page_waits_for_a_backend) {
    World world;
    TxRing ring;
    CHECK(ring.open(peer, 2).ok());
    const uint32_t held[] = {ring.refs()[1].number(), ring.refs()[3].number()};
    for (const uint32_t ref : held)
        world.grants.hold(ref);
    ring.detach();
    CHECK(!ring.ended());
    CHECK(!ring.ended());
    CHECK_EQ(world.account.pages.outstanding(), 2u);
    CHECK_EQ(world.account.deferred.outstanding(), 0u);
    CHECK_EQ(world.grants.loud, 0u);
    world.grants.let_go(held[0]);
    CHECK(!ring.ended());
    CHECK_EQ(world.account.pages.outstanding(), 1u);
    world.grants.let_go(held[1]);
    CHECK(ring.ended());
    CHECK(ring.ended());
    CHECK_EQ(world.account.outstanding(), 0u);
    CHECK(ring.open(peer, 1).ok());
}

// One that never lets go: by close(), by the next open(), at the end of the object.
TEST(ring_page_is_deferred) {
    for (uint32_t way : each(0u, 1u, 2u, 3u)) {
        World world;
        {
            TxRing ring;
            CHECK(ring.open(peer, 1).ok());
            const uint32_t held = ring.refs()[1].number();
            world.grants.hold(held);
            if (way == 1)
                CHECK(!ring.ended());
            if (way <= 1)
                ring.close();
            if (way == 2) {
                CHECK(ring.open(peer).ok());
                CHECK(ring.refs()[0].number() != held);
                ring.close();
            }
            if (way <= 2)
                CHECK_EQ(world.grants.state(held), State::Deferred);
        }
        CHECK_EQ(world.account.deferred.outstanding(), 1u);
        CHECK_EQ(world.account.pages.outstanding(), 1u);
        CHECK_EQ(world.account.refs.outstanding(), 1u);
        CHECK(world.clean());
    }
}

TEST(ring_page_nothing_leaks_wherever_it_fails) {
    for (bool hold : each(false, true)) {
        uint32_t failures = 0;
        for (uint32_t nth = 1;; ++nth) {
            World world;
            world.account.fail_nth(nth);
            world.grants.hold_all = hold; // from the moment that a page is shared
            TxRing ring;
            const Result<void> opened = ring.open(peer, 3);
            CHECK_EQ(opened.ok(), world.account.injected() == 0);
            if (!opened.ok()) {
                CHECK(opened.error() == (nth == 1 ? Error::NoMemory : Error::NoSpace));
                CHECK_EQ(ring.pages(), 0u);
                CHECK_EQ(world.account.deferred.outstanding(), hold && nth > 1 ? nth - 2 : 0u);
                CHECK(ring.ended());
            }
            ring.close();
            CHECK(world.clean());
            if (opened.ok())
                break;
            ++failures;
        }
        CHECK_EQ(failures, 9u); // the pages, and eight references
    }
}
