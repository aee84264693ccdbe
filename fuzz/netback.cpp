// SPDX-License-Identifier: GPL-2.0-only
// Target: the backend in service, with a guest that puts anything on its rings at any
// time, takes grants back, floods events, while memory and grants fail here and there.
#include "fuzz/input.hpp"
#include "netback/test/fake.hpp"

namespace xpv::fuzz {
namespace {

using namespace xpv::fake;

constexpr uint32_t data_pages = 8;

struct Scene {
    Input& in;
    World& world;
    Guest& guest;
    Backend& vif;
    PeerFront tx;
    PeerFront rx;
    uint32_t refs[data_pages];
    uint8_t* ours; // what guest-RX packets are made of
};

uint32_t any_ref(Scene& s) noexcept {
    const uint8_t how = s.in.u8();
    return how < 240 ? s.refs[how % data_pages] : s.in.near(s.refs[0]);
}

uint16_t size(Scene& s) noexcept {
    static constexpr uint16_t matter[] = {0,    1,    13,   14,   60,   256,   1448,
                                          2048, 4095, 4096, 4097, 9000, 65535, 128};
    const uint8_t how = s.in.u8();
    return how < 200 ? matter[how % (sizeof(matter) / sizeof(matter[0]))] : s.in.u16();
}

netif_tx_request tx_request(Scene& s) noexcept {
    netif_tx_request r{};
    r.gref = any_ref(s);
    r.size = size(s);
    r.offset = s.in.flag() ? 0 : s.in.u16() % 5000;
    const uint8_t flags = s.in.u8();
    r.flags = flags < 200 ? flags & 0xf : s.in.u16();
    r.id = s.in.u16();
    return r;
}

// What a frontend that means well sends: a chain whose first slot has the total.
void tx_packet(Scene& s) noexcept {
    const uint32_t count = 1 + s.in.below(20);
    const bool gso = s.in.below(4) == 0;
    uint32_t sizes[20];
    uint32_t total = 0;
    for (uint32_t i = 0; i < count; ++i)
        total += sizes[i] = 1 + s.in.u16() % 4096;
    for (uint32_t i = 0; i < count; ++i) {
        netif_tx_request r{};
        r.gref = s.refs[i % data_pages];
        r.size = static_cast<uint16_t>(i == 0 ? total : sizes[i]);
        r.flags = i + 1 < count ? NETTXF_more_data : 0;
        if (i == 0 && gso)
            r.flags |= NETTXF_extra_info | NETTXF_csum_blank | NETTXF_data_validated;
        r.id = static_cast<uint16_t>(i);
        s.tx.push(r);
        if (i == 0 && gso) {
            netif_extra_info e{};
            e.type = s.in.u8() % 6;
            e.u.gso.type = static_cast<uint8_t>(s.in.below(4));
            e.u.gso.size = s.in.u16();
            s.tx.push(e);
        }
    }
}

void send(Scene& s) noexcept {
    static xpv_netback_piece pieces[XPV_NETBACK_RX_PIECES];
    xpv_netback_rx_packet packet{};
    packet.piece = pieces;
    const uint32_t count = 1 + s.in.below(XPV_NETBACK_RX_PIECES);
    const uint64_t gfn = xpv_gfn_of(s.ours);
    for (uint32_t i = 0; i < count && packet.total < 61000; ++i) {
        xpv_netback_piece& p = pieces[packet.pieces++];
        p = xpv_netback_piece{};
        p.length = static_cast<uint16_t>(1 + s.in.u16() % 4096);
        p.offset = static_cast<uint16_t>(s.in.u16() % (4097 - p.length));
        p.foreign = s.in.below(8) == 0;
        p.domid = World::peer_domid;
        if (p.foreign)
            p.ref = any_ref(s);
        else
            p.gfn = gfn;
        packet.total += p.length;
    }
    packet.offload.csum = static_cast<uint8_t>(s.in.below(3));
    packet.offload.gso = static_cast<uint8_t>(s.in.below(3));
    packet.offload.gso_size = packet.offload.gso != 0 ? 1 + s.in.u16() % 1500 : 0;
    EXPECT(s.vif.rx_send(&packet, 1) <= 1);
}

// Between two upcalls of ours, too.
void other_cpu(void* context, Call) noexcept {
    Scene& s = *static_cast<Scene*>(context);
    if (s.in.left() == 0 || s.in.u8() > 40)
        return;
    void* const page = s.in.flag() ? s.guest.rings[0].tx_page : s.guest.rings[0].rx_page;
    const uint32_t at = s.in.flag() ? s.in.below(16) : 64 + s.in.u16() % 512;
    static_cast<volatile uint8_t*>(page)[at] = s.in.u8();
}

void step(Scene& s) {
    Input& in = s.in;
    switch (in.below(16)) {
    case 0:
    case 1:
        tx_packet(s);
        break;
    case 2:
        s.tx.push(tx_request(s));
        break;
    case 3: {
        netif_extra_info e{};
        e.type = in.u8() % 6;
        e.flags = in.u8() % 4;
        e.u.gso.type = static_cast<uint8_t>(in.below(4));
        e.u.gso.size = in.u16();
        s.tx.push(e);
        break;
    }
    case 4:
    case 5:
        s.tx.publish();
        if (s.vif.running && !s.vif.world.ends.any_due())
            s.vif.tx_poll();
        break;
    case 6:
        s.tx.raw.req_prod(in.near(s.tx.raw.rsp_prod()));
        break;
    case 7:
        for (uint32_t n = in.below(64); n != 0; --n)
            s.rx.push(netif_rx_request{0, 0, any_ref(s)});
        s.rx.publish();
        break;
    case 8:
    case 9:
        if (s.vif.running)
            send(s);
        break;
    case 10:
        if (!s.vif.running)
            break;
        s.world.now_ms += in.u16();
        if (in.flag())
            (void)s.vif.rx_starved(in.u16());
        (void)s.vif.rx_idle(in.flag());
        break;
    case 11:
        s.rx.raw.req_prod(in.near(s.rx.raw.rsp_prod()));
        break;
    case 12:
        s.world.events.raise(in.flag() ? s.guest.rings[0].tx_port : s.guest.rings[0].rx_port);
        break;
    case 13:
        (void)s.world.peers.revoke(s.refs[in.below(data_pages)]);
        s.refs[in.below(data_pages)] = s.world.peers.share(World::peer_domid, in.flag());
        break;
    case 14:
        s.world.account.fail_nth(1 + in.below(64));
        s.vif.starve = in.below(4) == 0;
        break;
    default:
        s.vif.hold = in.flag();
        if (in.flag())
            s.vif.all_done();
        if (s.vif.world.ends.any_due())
            s.vif.run_poke();
    }
}

} // namespace

void one(Input& in) {
    World world;
    Guest guest{world};
    Backend vif{world};
    vif.settings.map = in.flag();
    vif.map_above = vif.settings.map ? in.u16() : 65536;
    guest.offer(1, in.flag(), in.flag() ? 0xffffff80 : 0);
    guest.hotplug();
    if (!vif.create())
        return;
    auto* const ours = static_cast<uint8_t*>(world.memory.buffer(page_size));
    Scene scene{in, world, guest, vif, guest.tx(), guest.rx(), {}, ours};
    // As attached by the backend, whatever was written since.
    for (uint32_t& ref : scene.refs)
        ref = world.peers.share(World::peer_domid);
    if (in.flag())
        world.account.at_each_call(other_cpu, &scene);
    for (uint32_t steps = 0; in.left() != 0 && steps < 200 && vif.queue_count != 0; ++steps)
        step(scene);
    world.account.at_each_call(nullptr, nullptr);
    world.account.fail_nothing();
    vif.all_done();
    vif.remove();
    vif.reap_retired();
    world.memory.buffer_free(ours, page_size);
}

} // namespace xpv::fuzz
