// SPDX-License-Identifier: GPL-2.0-only
// Guest-TX with a frontend that means well: every shape of packet arrives byte for
// byte, every slot is answered once, in few hypercalls.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

// Does the packet consist of the Sender's pages 0, 1, 2..., from offset 0 each?
bool bytes_are(const Sender& sender, const Received& packet, const uint32_t* slots, uint32_t n) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; ++i) {
        if (at + slots[i] > packet.total ||
            __builtin_memcmp(packet.bytes + at, sender.bytes[i % Sender::page_count], slots[i]) !=
                0)
            return false;
        at += slots[i];
    }
    return at == packet.total;
}

} // namespace

TEST(netback_tx_one_slot) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t size : each(14u, 15u, 60u, 1514u, 1600u, 1601u, 4095u, 4096u)) {
        sender.packet(&size, 1);
        CHECK(sender.ring.publish());
        CHECK(world.events.raise(c.guest.rings[0].tx_port));
        CHECK_EQ(c.vif.queues[0].scheduled, uint32_t{XPV_NETBACK_TX});
        c.vif.tx_poll();
        CHECK_EQ(c.vif.received, 1u);
        CHECK(bytes_are(sender, c.vif.packet(0), &size, 1));
        CHECK_EQ(c.vif.packet(0).offload.csum, XPV_CSUM_NONE);
        c.vif.forget();
        CHECK_EQ(sender.answers().okay, 1u);
    }
    CHECK(!c.vif.world.ends.any_due());
}

TEST(netback_tx_checksum_states) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t size = 100;
    sender.packet(&size, 1, NETTXF_csum_blank | NETTXF_data_validated);
    sender.packet(&size, 1, NETTXF_data_validated);
    sender.packet(&size, 1, 0);
    (void)sender.ring.publish();
    c.vif.tx_poll();
    CHECK_EQ(c.vif.received, 3u);
    CHECK_EQ(c.vif.packet(0).offload.csum, XPV_CSUM_BLANK);
    CHECK_EQ(c.vif.packet(1).offload.csum, XPV_CSUM_VALIDATED);
    CHECK_EQ(c.vif.packet(2).offload.csum, XPV_CSUM_NONE);
}

// Chains of every length, with and without an extra slot, of slots of many sizes.
TEST(netback_tx_chains) {
    World world;
    Connected c{world, 1, true, 0xffffff80};
    Sender sender{c.guest};
    constexpr uint32_t most = 34;
    for (uint32_t gso : each(0u, 1u, 2u))
        for (uint32_t n = 1; n <= most; ++n)
            for (uint32_t size : each(1u, 2u, 13u, 54u, 66u, 700u, 1900u)) {
                uint32_t slots[most];
                for (uint32_t i = 0; i < n; ++i)
                    slots[i] = i == 0 ? 20 + size : size;
                sender.packet(slots, n, NETTXF_csum_blank, gso);
                (void)sender.ring.publish();
                c.vif.tx_poll();
                const Sender::Answers a = sender.answers();
                CHECK_EQ(a.null, gso != 0 ? 1u : 0u);
                CHECK_EQ(a.all(), n + a.null);
                if (n > 32) { // more than anyone needs: dropped, not fatal
                    CHECK_EQ(a.error, n);
                    CHECK_EQ(c.vif.received, 0u);
                    continue;
                }
                CHECK_EQ(a.okay, n);
                CHECK_EQ(c.vif.received, 1u);
                CHECK(bytes_are(sender, c.vif.packet(0), slots, n));
                CHECK_EQ(c.vif.packet(0).offload.gso, gso);
                CHECK_EQ(c.vif.packet(0).offload.gso_size, gso != 0 ? 1400 : 0);
                c.vif.forget();
            }
    CHECK(!c.vif.world.ends.any_due());
}

// The largest packet there is, and all headers in its head whatever the slots are.
TEST(netback_tx_large_packets) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t total : each(1601u, 4097u, 9014u, 65534u, 65535u))
        for (uint32_t first : each(1u, 13u, 14u, 53u, 54u, 100u, 512u, 513u, 4095u, 4096u)) {
            uint32_t slots[17];
            uint32_t n = 0;
            for (uint32_t left = total; left > 0; left -= slots[n++])
                slots[n] = min(left, n == 0 ? first : 4096);
            sender.packet(slots, n);
            (void)sender.ring.publish();
            c.vif.tx_poll();
            CHECK_EQ(c.vif.received, 1u);
            CHECK(bytes_are(sender, c.vif.packet(0), slots, n));
            CHECK(c.vif.packet(0).head >= 54);
            CHECK_EQ(sender.answers().okay, n);
            c.vif.forget();
        }
    // A total that 16 bits do not hold: dropped, not misread.
    uint32_t slots[18];
    for (uint32_t& s : slots)
        s = 4096;
    sender.packet(slots, 18);
    (void)sender.ring.publish();
    c.vif.tx_poll();
    CHECK_EQ(sender.answers().error, 18u);
    CHECK_EQ(c.vif.received, 0u);
    CHECK(!c.vif.world.ends.any_due());
}

// A batch costs one hypercall for each 64 operations and one notification.
TEST(netback_tx_is_batched) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t size = 60;
    for (uint32_t i = 0; i < 64; ++i)
        sender.packet(&size, 1);
    (void)sender.ring.publish();
    const uint32_t notified = world.events.notified();
    CHECK_EQ(c.vif.tx_batch(), 64u);
    CHECK_EQ(world.events.notified(), notified + 1);
    CHECK_EQ(c.vif.counters().tx_copy_calls, 1u);
    CHECK_EQ(c.vif.counters().tx_copy_ops, 64u);
    CHECK_EQ(c.vif.counters().tx_packets, 64u);
    CHECK_EQ(c.vif.counters().tx_bytes, 64u * 60);
    CHECK_EQ(sender.answers().okay, 64u);
    // Nothing is asked for: nobody is told.
    sender.packet(&size, 1);
    (void)sender.ring.publish();
    CHECK_EQ(c.vif.tx_batch(), 1u);
    CHECK_EQ(world.events.notified(), notified + 1);
    // A full slot each: one operation a slot and one for the header.
    const uint32_t slots[] = {66, 4096, 4096, 4096, 4096};
    c.vif.forget();
    sender.packet(slots, 5);
    (void)sender.ring.publish();
    const uint64_t before = c.vif.counters().tx_copy_ops;
    CHECK_EQ(c.vif.tx_batch(), 1u);
    CHECK_EQ(c.vif.counters().tx_copy_ops - before, 5u);
    CHECK(bytes_are(sender, c.vif.packet(0), slots, 5));
}

TEST(netback_tx_without_memory) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    c.vif.starve = true;
    const uint32_t slots[] = {100, 200, 300};
    for (uint32_t i = 0; i < 3; ++i)
        sender.packet(slots, 3, 0, 1);
    (void)sender.ring.publish();
    c.vif.tx_poll();
    const Sender::Answers a = sender.answers();
    CHECK_EQ(a.dropped, 9u);
    CHECK_EQ(a.null, 3u);
    CHECK_EQ(c.vif.counters().tx_drops, 3u);
    CHECK_EQ(c.vif.received, 0u);
}

// One operation after another fails: that packet is lost and no other.
TEST(netback_tx_copy_failures) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t slots[] = {66, 4096, 3000, 1};
    constexpr uint32_t packets = 6;
    constexpr uint32_t ops = packets * 5; // the head lies across a boundary, or not
    for (uint32_t nth = 1; nth <= ops; ++nth) {
        for (uint32_t i = 0; i < packets; ++i)
            sender.packet(slots, 4);
        (void)sender.ring.publish();
        const uint32_t injected = world.account.injected();
        world.account.fail(Call::Copy, nth);
        c.vif.tx_poll();
        world.account.fail_nothing();
        const Sender::Answers a = sender.answers();
        const uint32_t lost = world.account.injected() - injected;
        CHECK_EQ(a.error, lost * 4);
        CHECK_EQ(a.okay, (packets - lost) * 4);
        CHECK_EQ(c.vif.received, packets - lost);
        for (uint32_t i = 0; i < c.vif.received; ++i)
            CHECK(bytes_are(sender, c.vif.packet(i), slots, 4));
        c.vif.forget();
    }
    CHECK(!c.vif.world.ends.any_due());
}

// What the guest does not grant it does not send; the others' packets pass.
TEST(netback_tx_bad_references) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    const uint32_t size = 500;
    for (uint32_t ref : each(0u, 1u, 0xffffffffu, 8191u)) {
        sender.packet(&size, 1);
        netif_tx_request r = sender.request(0, 0, size, 0);
        r.gref = ref;
        sender.put(r);
        sender.packet(&size, 1);
        (void)sender.ring.publish();
        c.vif.tx_poll();
        const Sender::Answers a = sender.answers();
        CHECK_EQ(a.okay, 2u);
        CHECK_EQ(a.error, 1u);
        CHECK_EQ(c.vif.received, 2u);
        c.vif.forget();
    }
    CHECK(!c.vif.world.ends.any_due());
}

// The ring as full as it gets, again and again over the indices' wrap-around.
TEST(netback_tx_full_ring_wraps) {
    World world;
    Connected c{world, 1, false, 0xfffffe00};
    Sender sender{c.guest};
    const uint32_t slots[] = {40, 40};
    for (uint32_t round = 0; round < 4; ++round) {
        while (sender.ring.free() >= 2)
            sender.packet(slots, 2);
        CHECK_EQ(sender.ring.free(), 0u);
        (void)sender.ring.publish();
        c.vif.tx_poll();
        CHECK_EQ(c.vif.received, 128u);
        CHECK(bytes_are(sender, c.vif.packet(127), slots, 2));
        c.vif.forget();
        CHECK_EQ(sender.answers().okay, 256u);
    }
    CHECK(!c.vif.world.ends.any_due());
}
