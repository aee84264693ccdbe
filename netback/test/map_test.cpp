// SPDX-License-Identifier: GPL-2.0-only
// Guest-TX without copying: the guest's pages are mapped while a packet travels,
// each exactly once, and unmapped before its slots are answered; also when a map
// fails, when the packet comes back late, and when the guest is long gone.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

// A connected device that maps whatever is larger than a head.
struct Mapping : NoCopy {
    explicit Mapping(World& world, uint32_t above = 0) noexcept : guest{world}, vif{world} {
        vif.settings.map = true;
        vif.map_above = above;
        guest.offer();
        guest.hotplug();
        EXPECT(vif.create());
    }
    Guest guest;
    Backend vif;
};

bool bytes_are(const Sender& sender, const Received& packet, const uint32_t* slots, uint32_t n) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; ++i) {
        if (__builtin_memcmp(packet.bytes + at, sender.bytes[i], slots[i]) != 0)
            return false;
        at += slots[i];
    }
    return at == packet.total;
}

} // namespace

TEST(netback_map_packets) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    for (uint32_t first : each(1u, 14u, 60u, 300u, 600u, 4096u))
        for (uint32_t n = 2; n <= 16; ++n) {
            uint32_t slots[16];
            for (uint32_t i = 0; i < n; ++i)
                slots[i] = i == 0 ? first : 4096 - i;
            sender.packet(slots, n, NETTXF_csum_blank, n % 2);
            (void)sender.ring.publish();
            m.vif.tx_poll();
            CHECK_EQ(m.vif.received, 1u);
            CHECK(bytes_are(sender, m.vif.packet(0), slots, n));
            CHECK_EQ(m.vif.packet(0).pages, 0u);
            CHECK_EQ(sender.answers().okay, n);
            CHECK_EQ(world.account.mappings.outstanding(), 0u);
            m.vif.forget();
        }
    CHECK(m.vif.counters().tx_map_ops > 0);
    CHECK_EQ(m.vif.counters().tx_map_ops, m.vif.counters().tx_unmap_ops);
    CHECK(!m.vif.world.ends.any_due());
}

TEST(netback_map_threshold) {
    World world;
    Mapping m{world, 5000};
    Sender sender{m.guest};
    for (uint32_t total : each(1500u, 4999u, 5000u, 5001u, 9000u)) {
        const uint32_t slots[] = {1000, total - 1000 > 4096 ? 4096 : total - 1000,
                                  total > 5096 ? total - 5096 : 0};
        const uint64_t before = m.vif.counters().tx_map_ops;
        sender.packet(slots, slots[2] != 0 ? 3 : 2);
        (void)sender.ring.publish();
        m.vif.tx_poll();
        CHECK_EQ(m.vif.counters().tx_map_ops > before, total > 5000);
    }
    CHECK_EQ(m.vif.received, 5u);
}

// A packet that is out keeps its slots; it is answered when it comes back.
TEST(netback_map_answers_afterwards) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    m.vif.hold = true;
    const uint32_t slots[] = {100, 4096, 4096, 2000};
    for (uint32_t i = 0; i < 10; ++i)
        sender.packet(slots, 4, 0, 1);
    (void)sender.ring.publish();
    m.vif.tx_poll();
    CHECK_EQ(m.vif.received, 10u);
    CHECK_EQ(sender.answers().all(), 0u);
    CHECK_EQ(world.account.mappings.outstanding(), 30u);
    // Out of order, some at a time.
    for (uint32_t i : each(7u, 3u, 9u))
        m.vif.done(i);
    m.vif.tx_poll();
    Sender::Answers a = sender.answers();
    CHECK_EQ(a.okay, 12u);
    CHECK_EQ(a.null, 3u);
    CHECK_EQ(world.account.mappings.outstanding(), 21u);
    // A copied packet overtakes them.
    const uint32_t small = 60;
    sender.packet(&small, 1);
    (void)sender.ring.publish();
    m.vif.tx_poll();
    CHECK_EQ(sender.answers().okay, 1u);
    m.vif.all_done();
    m.vif.tx_poll();
    a = sender.answers();
    CHECK_EQ(a.okay, 28u);
    CHECK_EQ(a.null, 7u);
    CHECK_EQ(world.account.mappings.outstanding(), 0u);
}

// No frames left: the rest is copied.
TEST(netback_map_runs_out) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    m.vif.hold = true;
    uint32_t slots[17];
    for (uint32_t& s : slots)
        s = 150;
    for (uint32_t i = 0; i < 15; ++i)
        sender.packet(slots, 17);
    (void)sender.ring.publish();
    m.vif.tx_poll();
    CHECK_EQ(m.vif.received, 15u);
    CHECK(sender.answers().okay < 255u);
    for (uint32_t i = 0; i < 15; ++i)
        CHECK(bytes_are(sender, m.vif.packet(i), slots, 17));
    m.vif.all_done();
    m.vif.tx_poll();
    CHECK_EQ(world.account.mappings.outstanding(), 0u);
}

// XSA-361, 362, 367: one map or copy after another fails.
TEST(netback_map_failures) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    const uint32_t slots[] = {66, 4096, 3000, 1000};
    constexpr uint32_t packets = 6;
    for (const Call call : each(Call::Map, Call::Copy))
        for (uint32_t nth = 1; nth <= packets * 3; ++nth) {
            for (uint32_t i = 0; i < packets; ++i)
                sender.packet(slots, 4);
            (void)sender.ring.publish();
            const uint32_t injected = world.account.injected();
            world.account.fail(call, nth);
            m.vif.tx_poll();
            world.account.fail_nothing();
            const uint32_t lost = world.account.injected() - injected;
            const Sender::Answers a = sender.answers();
            CHECK_EQ(a.error, lost * 4);
            CHECK_EQ(a.okay, (packets - lost) * 4);
            CHECK_EQ(m.vif.received, packets - lost);
            CHECK_EQ(world.account.mappings.outstanding(), 0u);
            m.vif.forget();
        }
}

TEST(netback_map_bad_references) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    for (uint32_t ref : each(0u, 0xffffffffu, 8191u)) {
        const uint32_t slots[] = {100, 4096};
        sender.packet(slots, 2);
        sender.put(sender.request(0, 0, 2100, NETTXF_more_data));
        netif_tx_request r = sender.request(1, 0, 2000, 0);
        r.gref = ref;
        sender.put(r);
        sender.packet(slots, 2);
        (void)sender.ring.publish();
        m.vif.tx_poll();
        const Sender::Answers a = sender.answers();
        CHECK_EQ(a.okay, 4u);
        CHECK_EQ(a.error, 2u);
        CHECK_EQ(world.account.mappings.outstanding(), 0u);
    }
}

TEST(netback_map_without_memory) {
    World world;
    Mapping m{world};
    Sender sender{m.guest};
    m.vif.starve = true;
    const uint32_t slots[] = {100, 4096};
    for (uint32_t i = 0; i < 100; ++i)
        sender.packet(slots, 2);
    (void)sender.ring.publish();
    m.vif.tx_poll();
    CHECK_EQ(sender.answers().dropped, 200u);
    m.vif.starve = false;
    sender.packet(slots, 2);
    (void)sender.ring.publish();
    m.vif.tx_poll();
    CHECK_EQ(m.vif.received, 1u);
    CHECK_EQ(sender.answers().okay, 2u);
}

// The guest leaves, or breaks the ring, with packets out: they come back later.
TEST(netback_map_outlives_the_guest) {
    for (const bool broken : each(false, true)) {
        World world;
        Mapping m{world};
        Sender sender{m.guest};
        m.vif.hold = true;
        const uint32_t slots[] = {100, 4096, 4096};
        for (uint32_t i = 0; i < 5; ++i)
            sender.packet(slots, 3);
        (void)sender.ring.publish();
        m.vif.tx_poll();
        CHECK_EQ(m.vif.received, 5u);
        m.vif.done(2); // unmapped by whoever comes next
        if (broken) {
            sender.packet(slots, 3);
            sender.put(sender.request(9, 0, 3000, NETTXF_more_data));
            (void)sender.ring.publish();
            CHECK_EQ(m.vif.tx_batch(), 0u);
            CHECK_EQ(m.vif.world.ends.asked(XPV_BROKE), 1u);
            m.vif.run_poke();
        } else {
            m.guest.state(6);
            m.vif.handle(XPV_CHANGED);
        }
        CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
        CHECK_EQ(world.account.mappings.outstanding(), 8u);
        m.vif.done(0);
        m.vif.reap_retired();
        CHECK_EQ(world.account.mappings.outstanding(), 6u);
        CHECK(world.account.map_pages.outstanding() > 0);
        m.vif.all_done();
        m.vif.reap_retired();
        CHECK_EQ(world.account.mappings.outstanding(), 0u);
        CHECK_EQ(world.account.map_pages.outstanding(), 0u);
    }
}

TEST(netback_map_connect_failures) {
    for (uint32_t nth = 1; nth < 200; ++nth) {
        World world;
        Backend vif{world};
        vif.settings.map = true;
        Guest guest{world};
        guest.offer(2);
        guest.hotplug();
        world.account.fail_nth(nth);
        (void)vif.create();
        world.account.fail_nothing();
        if (world.account.injected() == 0)
            return;
        vif.run_poke();
    }
    EXPECT(!"the sweep never ended");
}

// A guest that leaves a packet out with each of its connections does not collect frames
// of ours: it is copied after a while, and mapped again when its packets came back.
TEST(netback_map_reconnects) {
    World world;
    Mapping m{world};
    m.vif.hold = true;
    const uint32_t slots[] = {100, 4096, 4096};
    for (uint32_t i = 0; i < 30; ++i) {
        {
            Sender sender{m.guest};
            sender.packet(slots, 3);
            (void)sender.ring.publish();
            m.vif.tx_poll();
        }
        CHECK_EQ(m.vif.received, 1u);
        m.vif.forget();
        m.guest.state(6);
        m.vif.handle(XPV_CHANGED);
        CHECK_EQ(m.vif.retired_count(), i < 8 ? i + 1 : 8u);
        CHECK(world.account.map_pages.outstanding() <= 8 * 256u);
        m.guest.state(1);
        m.vif.handle(XPV_CHANGED);
        m.guest.offer();
        m.vif.world.ends.forget();
        m.vif.handle(XPV_CHANGED);
        m.vif.run_poke();
        CHECK_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    }
    m.vif.all_done();
    m.vif.reap_retired();
    CHECK_EQ(m.vif.retired_count(), 0u);
    m.guest.state(6);
    m.vif.handle(XPV_CHANGED);
    m.guest.state(1);
    m.vif.handle(XPV_CHANGED);
    m.guest.offer();
    m.vif.handle(XPV_CHANGED);
    m.vif.run_poke();
    CHECK_EQ(world.account.map_pages.outstanding(), 256u);
}
