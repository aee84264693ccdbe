// SPDX-License-Identifier: GPL-2.0-only
// A frontend that posts no guest-RX buffers: packets wait for a while, then all are
// dropped, then the vif goes offline; and it comes back when there are buffers.
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

constexpr uint32_t drain_ms = 10000;
constexpr uint32_t stall_ms = 60000;

// A connected vif, packets for it, and what the guest-RX poller does with them.
struct Scene : NoCopy {
    explicit Scene(World& in, uint32_t queues = 1) noexcept
        : world{in}, c{in, queues}, memory{static_cast<uint8_t*>(in.memory.buffer(page_size))} {
        piece.gfn = xpv_gfn_of(memory);
        piece.length = 1500;
        void* address = nullptr;
        ref = world.peers.share(World::peer_domid, false, &address);
        rx = c.guest.rx();
    }
    ~Scene() { world.memory.buffer_free(memory, page_size); }

    // Guest-RX packets of one piece, and of as many as 64 KiB need.
    xpv_netback_rx_packet small() const noexcept { return {&piece, 1, 1500, {}}; }
    uint32_t send(uint32_t queue = 0) noexcept {
        const xpv_netback_rx_packet packet = small();
        return c.vif.rx_send(&packet, 1, queue);
    }
    void post(uint32_t count) noexcept {
        for (uint32_t i = 0; i < count; ++i)
            rx.push(netif_rx_request{static_cast<uint16_t>(i), 0, ref});
        (void)rx.publish();
    }
    const xpv_netback_rest& stop(bool waiting, uint32_t queue = 0) noexcept {
        (void)c.vif.rx_idle(waiting, queue);
        return c.vif.rest;
    }
    // What the poller does with one packet that waited for so long: sent, dropped, waits.
    enum class Fate { Sent, Dropped, Waits };
    Fate offer(uint32_t waited_ms, uint32_t queue = 0) noexcept {
        const bool drop = draining;
        if (!drop && send(queue) == 1) {
            draining = stop(false, queue).draining;
            return Fate::Sent;
        }
        const bool dropped = c.vif.rx_starved(waited_ms, queue) || drop;
        draining = stop(!dropped, queue).draining;
        return dropped ? Fate::Dropped : Fate::Waits;
    }

    World& world;
    Connected c;
    uint8_t* memory;
    xpv_netback_piece piece{};
    uint32_t ref;
    PeerFront rx{c.guest.rx()};
    bool draining = false;
};
using Fate = Scene::Fate;

} // namespace

// Nothing posted, packets all the time.
TEST(netback_stall_drains_then_stalls) {
    World world;
    Scene s{world};
    const uint64_t start = world.now_ms;
    uint32_t waited = 0;
    for (; world.now_ms < start + drain_ms; world.now_ms += 500, waited += 500) {
        CHECK(s.offer(waited) == Fate::Waits);
        // An event if there are buffers, a look when it has been too long.
        CHECK_EQ(s.c.vif.rest.look_ms, drain_ms - waited);
        CHECK(s.c.vif.carrier);
    }
    for (; world.now_ms < start + stall_ms; world.now_ms += 500) {
        CHECK(s.offer(waited) == Fate::Dropped);
        waited = 0; // what comes from now on never waits
        CHECK(s.draining);
        CHECK_EQ(s.c.vif.rest.look_ms, 0u);
        s.c.vif.run_poke();
        CHECK(s.c.vif.carrier);
    }
    CHECK(s.offer(0) == Fate::Dropped);
    CHECK(s.c.vif.world.ends.any_due());
    s.c.vif.run_poke();
    CHECK(!s.c.vif.carrier);
    CHECK(world.log.has("takes no packets"));
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    CHECK_EQ(s.c.vif.counters().rx_drains, 1u);
    CHECK_EQ(s.c.vif.counters().rx_stalls, 1u);
    CHECK_EQ(s.rx.raw.req_event(), 1u); // the first buffer tells

    s.post(20);
    CHECK(world.events.raise(s.c.guest.rings[0].rx_port));
    CHECK(!s.stop(false).draining);
    s.c.vif.run_poke();
    CHECK(s.c.vif.carrier);
    CHECK(world.log.has("takes packets again"));
    CHECK_EQ(s.send(), 1u);
    CHECK_EQ(s.c.vif.counters().rx_packets, 1u);
}

// A guest that is paused for less than a minute: its packets are lost, not its carrier.
TEST(netback_stall_draining_ends) {
    World world;
    Scene s{world};
    CHECK(s.offer(0) == Fate::Waits);
    world.now_ms += drain_ms;
    CHECK(s.offer(drain_ms) == Fate::Dropped);
    world.now_ms += 20000;
    CHECK(s.offer(0) == Fate::Dropped);
    s.post(1);
    CHECK(!s.stop(false).draining);
    s.draining = false;
    // The next trouble is a new one, an hour later: whether a packet was sent since, or
    // there was none, but a buffer for it.
    world.now_ms += 3600000;
    xpv_netback_piece pieces[2] = {s.piece, s.piece};
    pieces[0].length = pieces[1].length = 3000;
    const xpv_netback_rx_packet large{pieces, 2, 6000, {}};
    CHECK_EQ(s.c.vif.rx_send(&large, 1), 0u);
    CHECK(!s.c.vif.rx_starved(0));
    CHECK_EQ(s.send(), 1u);
    world.now_ms += 3600000;
    CHECK(s.offer(0) == Fate::Waits);
    world.now_ms += drain_ms;
    CHECK(s.offer(drain_ms) == Fate::Dropped);
    CHECK_EQ(s.c.vif.counters().rx_stalls, 0u);
    CHECK_EQ(s.c.vif.counters().rx_drains, 2u);
    CHECK(!s.c.vif.world.ends.any_due());
}

// Buffers, but never enough for what is sent: small packets would go, large ones do not,
// and after a minute without any that is no service.
TEST(netback_stall_too_few_buffers) {
    World world;
    Scene s{world};
    xpv_netback_piece pieces[16];
    for (xpv_netback_piece& p : pieces) {
        p = s.piece;
        p.length = 4000;
    }
    const xpv_netback_rx_packet large{pieces, 16, 64000, {}};
    s.post(3);
    uint32_t rounds = 0;
    const uint64_t start = world.now_ms;
    while (s.c.vif.counters().rx_stalls == 0 && world.now_ms < start + 2 * stall_ms) {
        CHECK_EQ(s.c.vif.rx_send(&large, 1), 0u);
        CHECK(!s.c.vif.rx_starved(0) || s.c.vif.counters().rx_stalls != 0);
        world.now_ms += drain_ms;
        CHECK(s.c.vif.rx_starved(drain_ms));
        ++rounds;
        if (s.c.vif.counters().rx_stalls == 0)
            CHECK(!s.stop(false).draining); // three are there
    }
    CHECK(world.now_ms >= start + stall_ms && world.now_ms <= start + stall_ms + drain_ms);
    CHECK(rounds > 1);
    CHECK(s.stop(false).draining); // they do not count any more
    CHECK_EQ(s.rx.raw.req_event(), 4u);
    s.c.vif.run_poke();
    CHECK(!s.c.vif.carrier);
    s.post(1); // this one does
    CHECK(!s.stop(false).draining);
    s.c.vif.run_poke();
    CHECK(s.c.vif.carrier);
}

// One queue of several is enough to go offline, all are needed to come back.
TEST(netback_stall_one_of_many_queues) {
    World world;
    Scene s{world, 3};
    for (const uint32_t queue : each(1u, 2u)) {
        CHECK_EQ(s.send(queue), 0u);
        CHECK(!s.c.vif.rx_starved(0, queue));
    }
    world.now_ms += stall_ms;
    for (const uint32_t queue : each(1u, 2u)) {
        CHECK(s.c.vif.rx_starved(stall_ms, queue));
        s.c.vif.run_poke();
        CHECK(!s.c.vif.carrier);
    }
    for (const uint32_t queue : each(1u, 2u)) {
        s.rx = s.c.guest.rx(queue);
        s.post(20);
        CHECK(!s.stop(false, queue).draining);
        s.c.vif.run_poke();
        CHECK_EQ(s.c.vif.carrier, queue == 2);
    }
    // A new connection begins without the old one's troubles.
    world.now_ms += stall_ms;
    CHECK_EQ(s.send(0), 0u);
    CHECK(!s.c.vif.rx_starved(0, 0));
    world.now_ms += stall_ms;
    CHECK(s.c.vif.rx_starved(stall_ms, 0));
    s.c.guest.state(6);
    s.c.vif.handle(XPV_CHANGED);
    s.c.guest.state(1);
    s.c.vif.handle(XPV_CHANGED);
    s.c.guest.offer(1);
    s.c.vif.handle(XPV_CHANGED);
    CHECK(s.c.vif.carrier);
}

// Without feature-rx-notify nobody tells: a look each tick while packets wait, a rare
// one while none does.
TEST(netback_stall_without_notifications) {
    World world;
    Guest guest{world};
    Backend vif{world};
    guest.offer();
    guest.hotplug();
    world.bus.peer.remove("feature-rx-notify");
    CHECK(vif.create());
    CHECK(!vif.rx_starved(0));
    CHECK(!vif.rx_idle(true));
    CHECK_EQ(vif.rest.look_ms, 1u);
    world.now_ms += drain_ms;
    CHECK(vif.rx_starved(drain_ms));
    CHECK(!vif.rx_idle(false));
    CHECK(vif.rest.draining);
    CHECK_EQ(vif.rest.look_ms, 100u);
    PeerFront rx = guest.rx();
    rx.push(netif_rx_request{});
    (void)rx.publish();
    CHECK(!vif.rx_idle(false));
    CHECK(!vif.rest.draining);
    CHECK_EQ(vif.rest.look_ms, 0u);
}

// The timeouts are the administrator's: none for the carrier, or one before the other.
TEST(netback_stall_limits) {
    World world;
    Scene s{world};
    s.c.vif.limits = xpv_netback_rx_limits{1000, 0};
    CHECK(s.offer(0) == Fate::Waits);
    CHECK_EQ(s.c.vif.rest.look_ms, 1000u);
    world.now_ms += 10000000;
    CHECK(s.offer(1000) == Fate::Dropped);
    CHECK_EQ(s.c.vif.counters().rx_stalls, 0u);
    s.post(1);
    CHECK(!s.stop(false).draining);
    s.draining = false;
    CHECK_EQ(s.send(), 1u);
    s.c.vif.limits = xpv_netback_rx_limits{10000, 100};
    CHECK(s.offer(0) == Fate::Waits);
    CHECK_EQ(s.c.vif.rest.look_ms, 100u);
    world.now_ms += 100;
    CHECK(s.offer(100) == Fate::Dropped);
    CHECK_EQ(s.c.vif.counters().rx_stalls, 1u);
}

// An index that no ring has, while the carrier is off: the connection ends, once.
TEST(netback_stall_impossible_index) {
    World world;
    Scene s{world};
    CHECK(s.offer(0) == Fate::Waits);
    world.now_ms += stall_ms;
    CHECK(s.offer(stall_ms) == Fate::Dropped);
    s.c.vif.run_poke();
    CHECK(!s.c.vif.carrier);
    RawRing{s.c.guest.rings[0].rx_page, 8, 256}.req_prod(1000);
    (void)s.stop(false);
    s.c.vif.run_poke();
    CHECK_EQ(world.bus.state(), uint32_t{XenbusStateClosing});
    CHECK_EQ(world.bus.reports, 1u);
    CHECK(world.log.has("guest-RX ring: impossible request index"));
}
