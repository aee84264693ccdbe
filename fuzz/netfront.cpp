// SPDX-License-Identifier: GPL-2.0-only
// Target: the frontend in service, with a backend that answers anything at any time,
// keeps grants, floods events, while memory and grants fail here and there.
#include "fuzz/input.hpp"
#include "kunit/check.hpp"
#include "netfront/test/fake.hpp"

namespace xpv::fuzz {
namespace {

using namespace xpv::fake;

struct Scene {
    Input& in;
    Frontend& vif;
    Wire& wire;
};

void send_packet(Scene& s) {
    static uint8_t bytes[65536];
    static xpv_bytes runs[24];
    const uint32_t count = 1 + s.in.below(24);
    uint32_t total = 0;
    uint32_t used = 0;
    for (; used < count && total < 60000; ++used) {
        const uint32_t length = 1 + s.in.u16() % (s.in.flag() ? 5000 : 64);
        runs[used] = {bytes + s.in.below(256), length};
        total += length;
    }
    xpv_offload offload{};
    offload.csum = static_cast<uint8_t>(s.in.below(3));
    offload.gso = static_cast<uint8_t>(s.in.below(3));
    offload.gso_size = offload.gso != 0 ? 1 + s.in.u16() % 1500 : 0;
    const In softirq{s.vif.world.account, Context::Softirq};
    xpv_netfront_send how{};
    if (s.in.flag()) {
        how.packet = runs;
        how.at_limit = s.in.flag();
        s.vif.os.held.take();
    }
    how.more = s.in.flag();
    how.ipv6 = s.in.flag();
    const uint32_t result = xpv_netfront_tx(s.vif.queue(), runs, used, total, offload, how);
    if (how.packet != nullptr && (result & XPV_NETFRONT_TX_DROPPED))
        s.vif.os.held.give();
}

void poll_tx(Scene& s) {
    const In softirq{s.vif.world.account, Context::Softirq};
    if (xpv_netfront_tx_due(s.vif.queue()) || s.in.flag())
        (void)xpv_netfront_tx_poll(s.vif.queue(), s.in.flag());
    if (s.in.below(16) == 0)
        xpv_netfront_tx_release(s.vif.queue());
}

uint16_t rx_size(Input& in) noexcept {
    static constexpr int16_t matter[] = {-1, 0, 1, 13, 14, 60, 256, 1514, 4095, 4096, 4097, -32768};
    const uint8_t how = in.u8();
    return how < 220 ? static_cast<uint16_t>(matter[how % (sizeof(matter) / sizeof(matter[0]))])
                     : in.u16();
}

void other_cpu(void* context, Call) noexcept {
    Scene& s = *static_cast<Scene*>(context);
    if (s.in.left() == 0 || s.in.u8() > 40)
        return;
    RawRing& raw = s.in.flag() ? s.wire.tx.raw : s.wire.rx.raw;
    const uint32_t at = s.in.flag() ? s.in.below(16) : 64 + s.in.u16() % 512;
    (raw.slot(0) - 64)[at] = s.in.u8();
}

void step(Scene& s) {
    Input& in = s.in;
    Wire& wire = s.wire;
    switch (in.below(16)) {
    case 0:
    case 1:
        send_packet(s);
        break;
    case 2: // answer as asked
        for (uint32_t n = in.below(64); n != 0 && wire.tx.requests() - 1 < 256; --n)
            wire.answer_tx(wire.tx.take<net::TxRequest>().id, NETIF_RSP_OKAY);
        wire.publish_tx();
        break;
    case 3:
        wire.answer_tx(in.flag() ? in.u16() % 257 : in.u16(),
                       static_cast<int16_t>(in.u8() % 5 - 3));
        wire.publish_tx();
        break;
    case 4:
        poll_tx(s);
        break;
    case 5:
        wire.tx.raw.rsp_prod(in.near(wire.tx.rsp_prod));
        break;
    case 6:
    case 7: { // a packet
        uint32_t slots = 1 + in.below(20);
        if (wire.rx.rsp_prod + slots - wire.rx.raw.req_prod() - 1 < 0x80000000)
            slots = 1;
        for (uint32_t i = 0; i < slots; ++i) {
            net::RxResponse r{};
            r.status = static_cast<int16_t>(rx_size(in));
            r.offset = in.flag() ? 0 : in.u16() % 5000;
            r.flags = i + 1 < slots ? NETRXF_more_data : in.u8() & 0x1f;
            r.id = in.u16();
            wire.rx.push(r);
        }
        wire.publish_rx();
        break;
    }
    case 8: {
        net::ExtraInfo e{};
        e.type = in.u8() % 6;
        e.flags = in.u8() % 4;
        e.u.gso.type = static_cast<uint8_t>(in.below(4));
        e.u.gso.size = in.u16();
        wire.rx.push(e);
        break;
    }
    case 9:
    case 10:
        Poll::run(s.vif, 0, 1 + in.below(XPV_NETFRONT_BATCH), false);
        break;
    case 11:
        wire.rx.raw.rsp_prod(in.near(wire.rx.rsp_prod));
        break;
    case 12: {
        s.vif.world.events.raise(in.flag() ? wire.tx_port : wire.rx_port);
        (void)idle(s.vif);
        break;
    }
    case 13: // keeps what it is given
        if (in.flag())
            s.vif.world.grants.hold(s.in.near(wire.next_ref()));
        else
            s.vif.world.grants.hold_all = in.flag();
        break;
    case 14:
        s.vif.world.account.fail_nth(1 + in.below(64));
        break;
    default:
        s.vif.world.grants.poll_deferred();
        wire.tx.raw.req_event(in.near(wire.tx.raw.req_prod()));
        wire.rx.raw.req_event(in.near(wire.rx.raw.req_prod()));
    }
}

} // namespace

void one(Input& in) {
    Frontend vif;
    vif.settings.net.sg = in.below(4) != 0;
    vif.settings.net.gso = vif.settings.net.sg && in.below(4) != 0;
    vif.settings.net.split = in.flag();
    vif.settings.rx_copybreak = in.flag() ? 256 : in.u16() % 4097;
    if (!vif.connect())
        return;
    {
        Wire wire{vif};
        Scene scene{in, vif, wire};
        if (in.flag())
            vif.world.account.at_each_call(other_cpu, &scene);
        for (uint32_t steps = 0; in.left() != 0 && steps < 200; ++steps)
            step(scene);
        vif.world.account.at_each_call(nullptr, nullptr);
        vif.world.account.fail_nothing();
    }
    if (vif.world.ends.asked(XPV_BROKE) != 0) {
        vif.handle(XPV_BROKE);
        EXPECT(vif.world.log.errors > 0); // it said why
    }
    vif.remove();
}

} // namespace xpv::fuzz
