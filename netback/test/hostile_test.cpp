// SPDX-License-Identifier: GPL-2.0-only
// Guest-TX with a frontend that means harm: the advisories, one test each. A packet
// that is merely wrong is answered with an error; a ring that makes no sense ends
// the connection, once, with a reason, and nothing else of the kernel.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

// The connection has ended: the reason once, quiet afterwards, free to come again.
void check_ended(World& world, Connected& c, const char* why) {
    CHECK_EQ(c.vif.world.ends.asked(XPV_BROKE), 1u);
    CHECK(c.vif.world.ends.any_due());
    const uint32_t eois = world.events.owed();
    c.vif.tx_poll();
    (void)c.vif.rx_idle(false);
    CHECK_EQ(c.vif.received, 0u);
    CHECK_EQ(world.events.owed(), eois); // no EOI once it is broken
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    c.vif.run_poke();
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateClosing});
    CHECK_EQ(world.bus.reports, 1u);
    CHECK(world.log.has(why));
    CHECK(!c.vif.running && !c.vif.carrier);
    CHECK_EQ(world.account.ring_mappings.outstanding(), 0u);
    CHECK_EQ(world.account.channels.outstanding(), 0u);
    // The frontend closes, starts again, and is served.
    c.guest.state(6);
    c.vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateClosed});
    c.guest.state(1);
    c.vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateInitWait});
    c.guest.offer();
    c.vif.handle(XPV_CHANGED);
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    Sender again{c.guest};
    const uint32_t size = 60;
    again.packet(&size, 1);
    (void)again.ring.publish();
    c.vif.tx_poll();
    CHECK_EQ(c.vif.received, 1u);
    c.vif.forget();
}

// Run what is in the ring with an event owed, as it would be.
void run(World& world, Connected& c, Sender& sender) {
    (void)sender.ring.publish();
    (void)world.events.raise(c.guest.rings[0].tx_port);
    c.vif.tx_poll();
}

} // namespace

// XSA-39: more requests than a ring has, and one that goes backwards.
TEST(netback_hostile_request_index) {
    for (uint32_t ahead : each(257u, 258u, 0x10000u, 0x80000000u, 0xffffffffu)) {
        World world;
        Connected c{world, 1, true, 0xfffffff0};
        Sender sender{c.guest};
        sender.ring.raw.req_prod(0xfffffff0 + ahead);
        CHECK(world.events.raise(c.guest.rings[0].tx_port));
        c.vif.tx_poll();
        check_ended(world, c, "guest-TX ring: impossible request index");
    }
}

// XSA-39: a packet that never ends; it is not waited for.
TEST(netback_hostile_open_chain) {
    for (uint32_t n : each(1u, 2u, 17u, 40u)) {
        World world;
        Connected c{world};
        Sender sender{c.guest};
        const uint32_t size = 60;
        sender.packet(&size, 1); // given up with the rest
        for (uint32_t i = 0; i < n; ++i)
            sender.put(sender.request(i, 0, i == 0 ? 2000 : 20, NETTXF_more_data));
        run(world, c, sender);
        check_ended(world, c, "guest-TX packet ends in the middle of its slots");
    }
}

// Sizes of segments that the protocol has, but that no packet needs: one segment per
// few bytes, and what Linux takes for something else. They cost the packet alone.
TEST(netback_hostile_segment_sizes) {
    struct Case {
        uint16_t size;
        bool good;
    };
    for (const Case& t : each(Case{1, false}, Case{47, false}, Case{48, true}, Case{1448, true},
                              Case{65534, true}, Case{65535, false})) {
        World world;
        Connected c{world};
        Sender sender{c.guest};
        netif_tx_request r = sender.request(0, 0, 3000, NETTXF_csum_blank | NETTXF_extra_info);
        netif_extra_info e{};
        e.type = XEN_NETIF_EXTRA_TYPE_GSO;
        e.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
        e.u.gso.size = t.size;
        sender.put(r);
        sender.put(e);
        (void)sender.ring.publish();
        c.vif.tx_poll();
        CHECK_EQ(c.vif.received, t.good ? 1u : 0u);
        CHECK_EQ(c.vif.counters().tx_errors, t.good ? 0u : 1u);
        const Sender::Answers a = sender.answers();
        CHECK_EQ(a.okay, t.good ? 1u : 0u);
        CHECK_EQ(a.error, t.good ? 0u : 1u);
        CHECK_EQ(a.null, 1u);
        CHECK(!c.vif.world.ends.any_due());
    }
}

TEST(netback_hostile_long_chain) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t i = 0; i < 250; ++i)
        sender.put(sender.request(i, 0, i == 0 ? 60000 : 20, NETTXF_more_data));
    run(world, c, sender);
    check_ended(world, c, "guest-TX packet of too many slots");
}

// 33 to 64 slots: nobody needs them, but they only cost their own sender.
TEST(netback_hostile_too_many_slots) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t n : each(33u, 64u)) {
        uint32_t slots[64];
        for (uint32_t& s : slots)
            s = 30;
        const uint32_t good = 100;
        sender.packet(slots, n);
        sender.packet(&good, 1);
        run(world, c, sender);
        const Sender::Answers a = sender.answers();
        CHECK_EQ(a.error, n);
        CHECK_EQ(a.okay, 1u);
        CHECK_EQ(c.vif.received, 1u);
        c.vif.forget();
    }
    CHECK(!c.vif.world.ends.any_due());
}

// XSA-90: a slot that reaches over its page.
TEST(netback_hostile_crosses_page) {
    for (uint32_t which = 0; which < 3; ++which)
        for (uint32_t offset : each(1u, 4000u, 4095u, 4096u, 65535u)) {
            World world;
            Connected c{world};
            Sender sender{c.guest};
            for (uint32_t i = 0; i < 3; ++i) {
                netif_tx_request r =
                    sender.request(i, i == which ? offset : 0, i == which ? 4096 : 100,
                                   i < 2 ? NETTXF_more_data : 0);
                if (i == 0)
                    r.size = 4096 + 200;
                sender.put(r);
            }
            run(world, c, sender);
            check_ended(world, c, "guest-TX slot reaches over its page");
        }
}

// XSA-155: whatever the guest writes once a slot was taken is not looked at.
TEST(netback_hostile_rewrites_slots) {
    struct Scribbler {
        Connected* c;
        uint8_t value;
        uint32_t times;
        static void run(void* context, Call) {
            auto* me = static_cast<Scribbler*>(context);
            if (!me->c->vif.running)
                return;
            RawRing raw{me->c->guest.rings[0].tx_page, 12, 256};
            for (uint32_t i = 0; i < 256 * 12; ++i)
                raw.slot(0)[i] = me->value;
            ++me->times;
        }
    };
    for (uint32_t value : each(0x00u, 0xffu, 0x55u)) {
        World world;
        Connected c{world};
        Sender sender{c.guest};
        const uint32_t slots[] = {66, 4096, 1000};
        for (uint32_t i = 0; i < 20; ++i)
            sender.packet(slots, 3, NETTXF_csum_blank, 1);
        (void)sender.ring.publish();
        Scribbler scribbler{&c, static_cast<uint8_t>(value), 0};
        world.account.at_each_call(Scribbler::run, &scribbler);
        // Each slot is rewritten at the first copy, long before the answers.
        CHECK_EQ(c.vif.tx_batch(), 20u);
        world.account.at_each_call(nullptr, nullptr);
        CHECK(scribbler.times > 0);
        CHECK_EQ(c.vif.received, 20u);
        for (uint32_t i = 0; i < 20; ++i) {
            CHECK_EQ(c.vif.packet(i).total, 66u + 4096 + 1000);
            CHECK(__builtin_memcmp(c.vif.packet(i).bytes + 66, sender.bytes[1], 4096) == 0);
            CHECK_EQ(c.vif.packet(i).offload.csum, XPV_CSUM_BLANK);
        }
        CHECK(!c.vif.world.ends.any_due());
    }
}

// XSA-423: headers spread over slots of a few bytes still arrive in the head.
TEST(netback_hostile_header_in_pieces) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t first = 1; first <= 14; ++first) {
        const uint32_t slots[] = {first, 1, 5, 4096, 4096};
        sender.packet(slots, 5);
        run(world, c, sender);
        CHECK_EQ(c.vif.received, 1u);
        CHECK(c.vif.packet(0).head >= 128);
        CHECK(__builtin_memcmp(c.vif.packet(0).bytes + first + 1 + 5, sender.bytes[3], 4096) == 0);
        CHECK_EQ(sender.answers().okay, 5u);
        c.vif.forget();
    }
}

// XSA-432: as many slots as there may be, all of them inside the head.
TEST(netback_hostile_tiny_slots) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t n : each(14u, 17u, 18u, 19u, 32u)) {
        uint32_t slots[32];
        for (uint32_t& s : slots)
            s = 1;
        sender.packet(slots, n);
        run(world, c, sender);
        CHECK_EQ(c.vif.received, 1u);
        CHECK_EQ(c.vif.packet(0).total, n);
        CHECK_EQ(sender.answers().okay, n);
        c.vif.forget();
    }
}

// XSA-448: a slot of no bytes, at each place.
TEST(netback_hostile_empty_slot) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    for (uint32_t n = 1; n <= 18; ++n)
        for (uint32_t empty = 0; empty < n; ++empty) {
            uint32_t slots[18];
            for (uint32_t i = 0; i < n; ++i)
                slots[i] = i == empty ? 0 : 200;
            sender.packet(slots, n);
            run(world, c, sender);
            CHECK_EQ(sender.answers().error, n);
        }
    CHECK_EQ(c.vif.received, 0u);
    CHECK(!c.vif.world.ends.any_due());
}

// The first slot's total against the others' sizes.
TEST(netback_hostile_totals) {
    World world;
    Connected c{world};
    Sender sender{c.guest};
    struct Case {
        uint32_t total, later;
    };
    for (const Case& t : each(Case{0, 0}, Case{1, 0}, Case{13, 0}, Case{100, 100}, Case{100, 101},
                              Case{100, 4096}, Case{0, 4096}, Case{1, 4096})) {
        netif_tx_request r = sender.request(0, 0, t.total, t.later != 0 ? NETTXF_more_data : 0);
        sender.put(r);
        if (t.later != 0)
            sender.put(sender.request(1, 0, t.later, 0));
        run(world, c, sender);
        CHECK_EQ(sender.answers().error, t.later != 0 ? 2u : 1u);
    }
    CHECK_EQ(c.vif.received, 0u);
    CHECK(!c.vif.world.ends.any_due());
}

TEST(netback_hostile_extras) {
    struct Case {
        uint32_t count; // extra slots in the ring
        uint8_t type, gso_type;
        uint16_t gso_size;
        bool more; // the last one promises another
        const char* why;
    };
    static constexpr char unknown[] = "guest-TX extra slot of unknown type";
    static constexpr char segmentation[] = "guest-TX segmentation type or size is wrong";
    for (const Case& t :
         each(Case{0, 0, 0, 0, false, "guest-TX packet ends in the middle of its extra slots"},
              Case{1, 0, 0, 0, false, unknown}, Case{1, 5, 0, 0, false, unknown},
              Case{1, 255, 0, 0, false, unknown}, Case{1, 1, 0, 1400, false, segmentation},
              Case{1, 1, 3, 1400, false, segmentation}, Case{1, 1, 1, 0, false, segmentation},
              Case{1, 1, 1, 1400, true, "guest-TX packet ends in the middle of its extra slots"},
              Case{5, 1, 1, 1400, false, "guest-TX packet with too many extra slots"},
              Case{200, 1, 1, 1400, true, "guest-TX packet with too many extra slots"})) {
        World world;
        Connected c{world};
        Sender sender{c.guest};
        sender.put(sender.request(0, 0, 1000, NETTXF_extra_info));
        for (uint32_t i = 0; i < t.count; ++i) {
            netif_extra_info e{};
            e.type = t.type;
            e.u.gso.type = t.gso_type;
            e.u.gso.size = t.gso_size;
            if (i + 1 < t.count || t.more)
                e.flags = XEN_NETIF_EXTRA_FLAG_MORE;
            sender.put(e);
        }
        run(world, c, sender);
        check_ended(world, c, t.why);
    }
}

// Requests for a service that was not offered, and segmentation that was refused.
TEST(netback_hostile_unoffered) {
    World world;
    Guest guest{world};
    Backend vif{world};
    vif.settings.net.gso = false;
    guest.offer();
    guest.hotplug();
    CHECK(vif.create());
    Sender sender{guest};
    for (uint32_t type : each(1u, 2u, 3u)) {
        sender.put(sender.request(0, 0, 60, NETTXF_extra_info));
        netif_extra_info e{};
        e.type = static_cast<uint8_t>(type);
        if (type == 1) {
            e.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
            e.u.gso.size = 1400;
        }
        sender.put(e);
        (void)sender.ring.publish();
        vif.tx_poll();
        const Sender::Answers a = sender.answers();
        CHECK_EQ(a.error, 1u);
        CHECK_EQ(a.null, 1u);
    }
    CHECK_EQ(vif.received, 0u);
    CHECK(!vif.world.ends.any_due());
}

// XSA-39, 332: nothing but rubbish, for ever: each look at it is bounded.
TEST(netback_hostile_rubbish_is_bounded) {
    struct Flood {
        Sender* sender;
        static void run(void* context, Call) {
            auto* me = static_cast<Flood*>(context);
            if (me->sender->ring.raw.req_prod() - me->sender->ring.raw.rsp_prod() < 200)
                me->sender->ring.raw.req_prod(me->sender->ring.raw.rsp_prod() + 200);
        }
    };
    World world;
    Connected c{world};
    Sender sender{c.guest};
    Flood flood{&sender}; // slots of zeroes: packets of no bytes
    world.account.at_each_call(Flood::run, &flood);
    for (uint32_t i = 0; i < 50; ++i) {
        Flood::run(&flood, Call::Eoi);
        CHECK_EQ(c.vif.tx_batch(), 0u);
    }
    world.account.at_each_call(nullptr, nullptr);
    CHECK(!c.vif.world.ends.any_due());
}
