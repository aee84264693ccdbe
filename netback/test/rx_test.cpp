// SPDX-License-Identifier: GPL-2.0-only
// Guest-RX: our packets in the frontend's buffers, byte for byte, each response in
// its request's own slot; and a frontend that offers bad buffers or none.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

// Posts buffers and puts packets back together.
struct Receiver : NoCopy {
    explicit Receiver(Guest& guest) noexcept : ring{guest.rx()}, world{guest.world} {
        for (uint32_t i = 0; i < 256; ++i) {
            void* address = nullptr;
            refs[i] = world.peers.share(World::peer_domid, false, &address);
            bytes[i] = static_cast<uint8_t*>(address);
        }
    }

    // Buffer i for the slot of request index i.
    void post(uint32_t n) noexcept {
        for (uint32_t i = 0; i < n; ++i) {
            netif_rx_request r{};
            r.id = static_cast<uint16_t>(ring.req_prod * 7);
            r.gref = refs[ring.req_prod % 256];
            ring.push(r);
        }
        (void)ring.publish();
    }

    struct Packet {
        bool error;
        uint32_t total, slots, gso, gso_size;
        uint16_t flags; // of the first
    };
    // Take one packet; its bytes go to out[0..65536).
    Packet take() noexcept {
        Packet p{};
        for (bool more = true; more;) {
            if (!EXPECT(ring.responses() > 0))
                return p;
            const uint32_t slot = ring.rsp_cons;
            const auto r = ring.take<netif_rx_response>();
            EXPECT_EQ(r.id, static_cast<uint16_t>(slot * 7));
            EXPECT_EQ(r.offset, 0);
            if (p.slots == 0)
                p.flags = r.flags;
            ++p.slots;
            if (r.status <= 0) {
                p.error = true;
            } else if (EXPECT(r.status <= 4096 && p.total + r.status <= 65536)) {
                __builtin_memcpy(out + p.total, bytes[slot % 256], static_cast<uint32_t>(r.status));
                p.total += static_cast<uint32_t>(r.status);
            }
            more = (r.flags & NETRXF_more_data) != 0;
            if (p.slots == 1 && (r.flags & NETRXF_extra_info)) {
                const auto e = ring.take<netif_extra_info>();
                EXPECT_EQ(e.type, XEN_NETIF_EXTRA_TYPE_GSO);
                EXPECT_EQ(e.flags, 0);
                p.gso = e.u.gso.type;
                p.gso_size = e.u.gso.size;
                ++p.slots;
            }
        }
        return p;
    }

    PeerFront ring;
    World& world;
    uint32_t* refs = static_cast<uint32_t*>(xpv_test_alloc(256 * sizeof(uint32_t)));
    uint8_t** bytes = static_cast<uint8_t**>(xpv_test_alloc(256 * sizeof(uint8_t*)));
    uint8_t* out = static_cast<uint8_t*>(xpv_test_alloc(65536));
    ~Receiver() {
        xpv_test_free(refs);
        xpv_test_free(bytes);
        xpv_test_free(out);
    }
};

// A packet of `total` bytes in pieces of at most `piece` bytes, each somewhere in
// a page of its own.
struct Packet : NoCopy {
    Packet(World& in, uint32_t total, uint32_t piece, const xpv_offload& offload = {}) noexcept
        : world{in} {
        xpv_netback_piece* list = pieces;
        for (uint32_t at = 0; at < total; ++count) {
            const uint32_t length = min(piece, total - at);
            page[count] = static_cast<uint8_t*>(world.memory.buffer(page_size));
            const uint32_t offset = (count * 13) % (page_size - length + 1);
            for (uint32_t i = 0; i < length; ++i)
                page[count][offset + i] = byte(at + i);
            list[count] = xpv_netback_piece{};
            list[count].gfn = reinterpret_cast<uintptr_t>(page[count]) / page_size;
            list[count].offset = static_cast<uint16_t>(offset);
            list[count].length = static_cast<uint16_t>(length);
            at += length;
        }
        rx = xpv_netback_rx_packet{pieces, count, total, offload};
    }
    ~Packet() {
        for (uint32_t i = 0; i < count; ++i)
            world.memory.buffer_free(page[i], page_size);
        xpv_test_free(page);
        xpv_test_free(pieces);
    }
    static uint8_t byte(uint32_t at) noexcept {
        return static_cast<uint8_t>(at * 3 + at / 4096 + 1);
    }
    static bool good(const uint8_t* bytes, uint32_t total) noexcept {
        for (uint32_t i = 0; i < total; ++i)
            if (bytes[i] != byte(i))
                return false;
        return true;
    }

    World& world;
    uint32_t count = 0;
    uint8_t** page =
        static_cast<uint8_t**>(xpv_test_alloc(XPV_NETBACK_RX_PIECES * sizeof(uint8_t*)));
    xpv_netback_piece* pieces = static_cast<xpv_netback_piece*>(
        xpv_test_alloc(XPV_NETBACK_RX_PIECES * sizeof(xpv_netback_piece)));
    xpv_netback_rx_packet rx;
};

// The same packet many times.
struct Batch : NoCopy {
    Batch(const Packet& packet, uint32_t count) noexcept
        : list{static_cast<xpv_netback_rx_packet*>(
              xpv_test_alloc(count * sizeof(xpv_netback_rx_packet)))} {
        for (uint32_t i = 0; i < count; ++i)
            list[i] = packet.rx;
    }
    ~Batch() { xpv_test_free(list); }
    xpv_netback_rx_packet* list;
};

constexpr uint32_t slots_for(uint32_t total, uint32_t gso) noexcept {
    return (total + 4095) / 4096 + (gso != 0 ? 1 : 0);
}

} // namespace

TEST(netback_rx_sizes) {
    World world;
    Connected c{world, 1, true, 0xffffff00};
    Receiver receiver{c.guest};
    for (uint32_t gso : each(0u, 1u, 2u))
        for (uint32_t total :
             each(14u, 60u, 1514u, 4095u, 4096u, 4097u, 8192u, 8193u, 30000u, 65534u, 65535u))
            for (uint32_t piece : each(1100u, 1500u, 4095u, 4096u)) {
                if (total > 64 * piece)
                    continue;
                xpv_offload offload{};
                offload.csum = gso != 0 ? XPV_CSUM_BLANK : XPV_CSUM_NONE;
                offload.gso = static_cast<uint8_t>(gso);
                offload.gso_size = gso != 0 ? 1448 : 0;
                const Packet packet{world, total, piece, offload};
                receiver.post(receiver.ring.free());
                CHECK_EQ(c.vif.rx_send(&packet.rx, 1), 1u);
                CHECK_EQ(receiver.ring.responses(), slots_for(total, gso));
                const Receiver::Packet got = receiver.take();
                CHECK(!got.error);
                CHECK_EQ(got.total, total);
                CHECK_EQ(got.slots, slots_for(total, gso));
                CHECK_EQ(got.gso, gso);
                CHECK_EQ(got.gso_size, offload.gso_size);
                CHECK(Packet::good(receiver.out, total));
                CHECK_EQ((got.flags & NETRXF_csum_blank) != 0, gso != 0);
                CHECK_EQ((got.flags & NETRXF_data_validated) != 0, gso != 0);
            }
    CHECK(!c.vif.world.ends.any_due());
}

TEST(netback_rx_validated_checksum) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    xpv_offload offload{};
    offload.csum = XPV_CSUM_VALIDATED;
    const Packet packet{world, 100, 100, offload};
    receiver.post(1);
    CHECK_EQ(c.vif.rx_send(&packet.rx, 1), 1u);
    CHECK_EQ(receiver.take().flags, NETRXF_data_validated);
}

// Many packets, one hypercall for each 64 operations, one notification.
TEST(netback_rx_is_batched) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    receiver.post(256);
    const Packet packet{world, 60, 60};
    const Batch batch{packet, 64};
    const uint32_t notified = world.events.notified();
    CHECK_EQ(c.vif.rx_send(batch.list, 64), 64u);
    CHECK_EQ(world.events.notified(), notified + 1);
    CHECK_EQ(c.vif.counters().rx_copy_calls, 1u);
    CHECK_EQ(c.vif.counters().rx_copy_ops, 64u);
    CHECK_EQ(c.vif.counters().rx_packets, 64u);
    CHECK_EQ(c.vif.counters().rx_bytes, 64u * 60);
    for (uint32_t i = 0; i < 64; ++i)
        CHECK_EQ(receiver.take().total, 60u);
    // It did not ask for more.
    CHECK_EQ(c.vif.rx_send(batch.list, 10), 10u);
    CHECK_EQ(world.events.notified(), notified + 1);
}

// XSA-392: too few buffers: what fits goes, the rest waits for exactly as many.
TEST(netback_rx_waits_for_buffers) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    xpv_offload gso{};
    gso.gso = XPV_GSO_TCPV4;
    gso.gso_size = 1448;
    const Packet small{world, 100, 100};
    const Packet large{world, 65535, 4096, gso}; // 17 slots
    const xpv_netback_rx_packet batch[] = {small.rx, large.rx};
    receiver.post(1 + 16);
    CHECK_EQ(c.vif.rx_send(batch, 2), 1u);
    CHECK_EQ(c.vif.rx_send(batch + 1, 1), 0u);
    CHECK_EQ(c.vif.rx_idle(true), false);
    CHECK_EQ(receiver.ring.raw.req_event(), 1u + 17);
    receiver.post(0); // no news
    CHECK_EQ(c.vif.rx_send(batch + 1, 1), 0u);
    receiver.post(1);
    CHECK(c.vif.rx_idle(true)); // the final check sees it
    CHECK_EQ(c.vif.rx_send(batch + 1, 1), 1u);
    CHECK_EQ(receiver.take().total, 100u);
    CHECK_EQ(receiver.take().total, 65535u);
    CHECK_EQ(receiver.ring.responses(), 0u);
}

// One operation after another fails: that packet is marked and no other.
TEST(netback_rx_copy_failures) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    const Packet packet{world, 9000, 2500};
    constexpr uint32_t packets = 20;
    const Batch batch{packet, packets};
    for (uint32_t nth = 1; nth <= packets * 6; ++nth) {
        receiver.post(receiver.ring.free());
        const uint32_t injected = world.account.injected();
        world.account.fail(Call::Copy, nth);
        CHECK_EQ(c.vif.rx_send(batch.list, packets), packets);
        world.account.fail_nothing();
        const uint32_t lost = world.account.injected() - injected;
        uint32_t errors = 0;
        for (uint32_t i = 0; i < packets; ++i) {
            const Receiver::Packet got = receiver.take();
            CHECK_EQ(got.slots, 3u);
            errors += got.error;
            if (!got.error)
                CHECK(got.total == 9000 && Packet::good(receiver.out, 9000));
            else
                CHECK_EQ(got.total, 0u); // all of its slots say so
        }
        CHECK_EQ(errors, lost);
    }
    CHECK(!c.vif.world.ends.any_due());
}

// XSA-361, 362, 367: buffers that we may not write to; each costs its packet only.
TEST(netback_rx_bad_references) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    const uint32_t readonly = world.peers.share(World::peer_domid, true);
    const Packet packet{world, 60, 60};
    for (uint32_t ref : each(0u, 0xffffffffu, 8191u, readonly)) {
        receiver.post(1);
        netif_rx_request r{};
        r.id = static_cast<uint16_t>(receiver.ring.req_prod * 7);
        r.gref = ref;
        receiver.ring.push(r);
        receiver.post(1);
        const xpv_netback_rx_packet batch[] = {packet.rx, packet.rx, packet.rx};
        CHECK_EQ(c.vif.rx_send(batch, 3), 3u);
        CHECK(!receiver.take().error);
        CHECK(receiver.take().error);
        CHECK(!receiver.take().error);
    }
    CHECK_EQ(c.vif.counters().rx_errors, 4u);
    CHECK(!c.vif.world.ends.any_due());
}

// A packet whose bytes another guest granted goes straight from its page.
TEST(netback_rx_from_another_guest) {
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    void* address = nullptr;
    const uint32_t ref = world.peers.share(99, true, &address);
    for (uint32_t i = 0; i < 1000; ++i)
        static_cast<uint8_t*>(address)[500 + i] = Packet::byte(i);
    xpv_netback_piece piece{};
    piece.ref = ref;
    piece.domid = 99;
    piece.foreign = true;
    piece.offset = 500;
    piece.length = 1000;
    const xpv_netback_rx_packet packet{&piece, 1, 1000, {}};
    receiver.post(1);
    CHECK_EQ(c.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(receiver.take().total, 1000u);
    CHECK(Packet::good(receiver.out, 1000));
}

// XSA-39, 391: buffers that cannot be there.
TEST(netback_rx_impossible_index) {
    for (uint32_t ahead : each(257u, 0x80000000u, 0xffffffffu)) {
        for (const bool idle : each(false, true)) {
            World world;
            Connected c{world};
            Receiver receiver{c.guest};
            const Packet packet{world, 60, 60};
            receiver.ring.raw.req_prod(ahead);
            if (idle)
                CHECK_EQ(c.vif.rx_idle(false), false);
            else
                CHECK_EQ(c.vif.rx_send(&packet.rx, 1), 0u);
            CHECK_EQ(c.vif.world.ends.asked(XPV_BROKE), 1u);
            CHECK_EQ(c.vif.rx_send(&packet.rx, 1), 0u);
            CHECK_EQ(c.vif.world.ends.asked(XPV_BROKE), 1u);
            c.vif.run_poke();
            CHECK_EQ(world.bus.state(), uint32_t{XenbusStateClosing});
            CHECK(world.log.has("guest-RX ring: impossible request index"));
        }
    }
}

// XSA-155: buffers' requests are read once.
TEST(netback_rx_rewritten_requests) {
    struct Scribbler {
        Connected* c;
        static void run(void* context, Call call) {
            auto* me = static_cast<Scribbler*>(context);
            if (call != Call::Copy)
                return;
            RawRing raw{me->c->guest.rings[0].rx_page, 8, 256};
            for (uint32_t i = 0; i < 256 * 8; ++i)
                raw.slot(0)[i] = 0xee;
        }
    };
    World world;
    Connected c{world};
    Receiver receiver{c.guest};
    const Packet packet{world, 5000, 3000};
    receiver.post(100);
    const Batch batch{packet, 40};
    Scribbler scribbler{&c};
    world.account.at_each_call(Scribbler::run, &scribbler);
    const uint32_t sent = c.vif.rx_send(batch.list, 10);
    world.account.at_each_call(nullptr, nullptr);
    CHECK_EQ(sent, 10u);
    for (uint32_t i = 0; i < sent; ++i) {
        CHECK_EQ(receiver.take().total, 5000u);
        CHECK(Packet::good(receiver.out, 5000));
    }
}
