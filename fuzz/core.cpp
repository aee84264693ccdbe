// SPDX-License-Identifier: GPL-2.0-only
// Target: core/ over rings that the peer writes at will, ids that it makes up, and
// texts that it leaves in xenstore.
#include "core/ids.hpp"
#include "core/xenbus_state.hpp"
#include "core/xenstore.hpp"
#include "fuzz/input.hpp"
#include "kunit/check.hpp"
#include "kunit/fake/ring.hpp"
#include "kunit/fake/world.hpp"
#include "net/netif.hpp"

namespace xpv::fuzz {
namespace {

using fake::RawRing;

// The peer scribbles over indices and slots.
void scribble(Input& in, RawRing& raw, uint32_t ours) noexcept {
    const uint32_t value = in.near(ours);
    switch (in.below(5)) {
    case 0:
        return raw.req_prod(value);
    case 1:
        return raw.rsp_prod(value);
    case 2:
        return raw.req_event(value);
    case 3:
        return raw.rsp_event(value);
    default:
        raw.write(value, in.u32());
    }
}

void front_ring(Input& in) {
    void* page = xpv_test_alloc(page_size);
    FrontRing<netif_tx_sring> ring;
    ring.attach_at(page, page_size, in.near(0));
    RawRing raw{page, 12, 256};
    uint32_t flying = 0;
    uint32_t put = 0;
    while (in.left() != 0) {
        switch (in.below(4)) {
        case 0:
            for (uint32_t n = in.below(256); n != 0 && ring.free() != 0; --n, ++put)
                ring.put(net::TxRequest{});
            break;
        case 1:
            (void)ring.publish();
            flying += put;
            put = 0;
            EXPECT_EQ(raw.req_prod(), ring.request_index());
            break;
        case 2:
            if (const Result<uint32_t> pending = ring.pending(); pending.ok()) {
                EXPECT(pending.value() <= flying);
                for (uint32_t n = pending.value(); n != 0; --n, --flying)
                    (void)ring.take();
            }
            (void)ring.arm(1 + in.below(256));
            break;
        default:
            scribble(in, raw, ring.response_index());
        }
        EXPECT_EQ(ring.in_flight(), flying);
        EXPECT_EQ(ring.unpublished(), put);
        EXPECT_EQ(ring.free(), 256 - flying - put);
    }
    xpv_test_free(page);
}

void back_ring(Input& in) {
    void* page = xpv_test_alloc(page_size);
    RawRing raw{page, 8, 256};
    const uint32_t start = in.near(0);
    raw.initialise(start);
    raw.req_prod(start + in.near(0));
    BackRing<netif_rx_sring> ring;
    if (!ring.attach(page, page_size).ok()) {
        EXPECT(raw.req_prod() - start > 256);
        raw.req_prod(start);
        EXPECT(ring.attach(page, page_size).ok());
    }
    uint32_t serving = 0;
    while (in.left() != 0) {
        switch (in.below(3)) {
        case 0:
            if (const Result<uint32_t> pending = ring.pending(); pending.ok()) {
                EXPECT(pending.value() + serving <= 256);
                for (uint32_t n = pending.value(); n != 0; --n, ++serving)
                    (void)ring.take();
            }
            (void)ring.arm(1 + in.below(256));
            break;
        case 1:
            for (uint32_t n = in.below(256); n != 0 && serving != 0; --n, --serving)
                ring.put(net::RxResponse{});
            (void)ring.publish();
            EXPECT_EQ(raw.rsp_prod(), ring.response_index());
            break;
        default:
            scribble(in, raw, ring.request_index());
        }
        EXPECT_EQ(ring.in_service(), serving);
    }
    xpv_test_free(page);
}

void ids(Input& in) {
    IdPool<RequestId, 64> pool;
    uint64_t out = 0;
    while (in.left() != 0) {
        if (in.flag()) {
            const RequestId taken = pool.take();
            EXPECT_EQ(taken == RequestId::none(), out == ~uint64_t{0});
            if (taken != RequestId::none()) {
                const uint32_t id = taken.number();
                EXPECT(id < 64 && !(out >> id & 1));
                out |= uint64_t{1} << id;
            }
        } else {
            const uint32_t id = in.near(in.below(64));
            const bool taken = id < 64 && (out >> id & 1);
            EXPECT_EQ(pool.find(id).ok(), taken);
            EXPECT_EQ(pool.give(RequestId{id}).ok(), taken);
            if (taken)
                out &= ~(uint64_t{1} << id);
        }
        EXPECT_EQ(pool.in_use(), static_cast<uint32_t>(__builtin_popcountll(out)));
    }
}

// A number is what a wide and simple reader says it is.
void numbers(Input& in) {
    char text[64];
    in.text(text, sizeof(text));
    const Result<uint32_t> number = parse_number(text);
    bool valid = text[0] != '\0';
    uint64_t value = 0;
    for (const char* c = text; *c != '\0' && valid; ++c) {
        valid = *c >= '0' && *c <= '9';
        value = value * 10 + static_cast<uint64_t>(*c - '0');
        valid = valid && value <= 0xffffffff;
    }
    EXPECT_EQ(number.ok(), valid);
    if (valid)
        EXPECT_EQ(number.value(), value);

    fake::World world;
    world.bus.peer.set("n", text);
    const uint32_t low = in.u32();
    const uint32_t high = in.u32();
    const Result<uint32_t> node = Xenstore{&world.bus}.require(XPV_XS_PEER, "n", low, high);
    EXPECT(!node.ok() || (node.value() >= low && node.value() <= high));
}

// A peer may show anything at any time: rings are made and given up in turn.
void states(Input& in) {
    const Role role = in.flag() ? Role::Front : Role::Back;
    Phase phase = Phase::Initialising;
    bool rings = false;
    bool traffic = false;
    Event event = Event::Changed;
    while (in.left() != 0) {
        if (event != Event::Remove) // which goes on to its end
            event = static_cast<Event>(in.below(4));
        const Step step = next(role, phase, peer_state(in.u8() % 16), event, in.flag());
        if (step.actions & (action_quiesce | action_disconnect))
            traffic = false;
        if (step.actions & action_disconnect)
            rings = false;
        if (step.actions & action_connect) {
            EXPECT(!rings);
            rings = traffic = true;
        }
        EXPECT(!(step.actions & action_announce) || rings);
        phase = step.to;
        const bool in_use = phase == Phase::Attached || phase == Phase::Connected;
        EXPECT(in_use == traffic);
        // A frontend keeps silent rings until its backend is Closed.
        const bool may_keep = role == Role::Front && phase != Phase::Initialising;
        EXPECT(!rings || in_use || may_keep);
        EXPECT(rings || !in_use);
    }
}

} // namespace

void one(Input& in) {
    switch (in.below(5)) {
    case 0:
        return front_ring(in);
    case 1:
        return back_ring(in);
    case 2:
        return ids(in);
    case 3:
        return numbers(in);
    default:
        return states(in);
    }
}

} // namespace xpv::fuzz
