// SPDX-License-Identifier: GPL-2.0-only
// A vif with a `rate`: what is too much stays in the ring or in the queue, in each direction by
// itself, and nobody takes it for a guest that stands still. And what the administrator does to
// its link.
#include "core/rate.hpp"
#include "kunit/each.hpp"
#include "netback/test/fake.hpp"

using namespace xpv;
using namespace xpv::fake;
using test::each;

namespace {

constexpr const char* usual = "62500,50000"; // 10 Mb/s
constexpr uint32_t per_second = 1'250'000;
constexpr uint32_t size = 1000;

// A connected vif with a rate, traffic each way, and time.
struct Scene : NoCopy {
    explicit Scene(World& in, const char* rate, uint32_t queues = 1) noexcept
        : world{in}, guest{in}, vif{in}, memory{static_cast<uint8_t*>(in.memory.buffer(page_size))},
          rx{connect(rate, queues)} {
        piece.gfn = xpv_gfn_of(memory);
        piece.length = size;
        void* address = nullptr;
        ref = world.peers.share(World::peer_domid, false, &address);
    }
    ~Scene() { world.memory.buffer_free(memory, page_size); }

    void pass_ns(uint64_t ns) noexcept {
        world.more_ns += ns;
        world.now_ms += world.more_ns / 1'000'000;
        world.more_ns %= 1'000'000;
    }
    void rate(const char* text) noexcept {
        if (text == nullptr)
            world.bus.own.remove("rate");
        else
            world.bus.own.set("rate", text);
        vif.handle(XPV_CHANGED);
    }
    // The guest sends as much as it may for so long: bytes that arrived.
    uint64_t tx_for(Sender& sender, uint32_t ms, uint32_t index = 0) noexcept {
        const uint64_t before = vif.counters(index).tx_bytes;
        for (const uint64_t end = world.now_ms + ms; world.now_ms < end;)
            pass_ns(tx_once(sender, index));
        return vif.counters(index).tx_bytes - before;
    }
    // One look of the poller's at a ring with work: how long it stays away.
    uint64_t tx_once(Sender& sender, uint32_t index = 0) noexcept {
        for (uint32_t i = 0; i < 64; ++i)
            if (sender.ring.free() > 0)
                sender.packet(&size, 1);
        (void)sender.ring.publish();
        vif.tx_poll(index);
        (void)sender.answers();
        vif.forget();
        return vif.tx_hold_ns;
    }
    uint64_t rx_once() noexcept {
        const xpv_netback_rx_packet packet{&piece, 1, size, {}};
        do {
            while (rx.responses() > 0)
                (void)rx.take<netif_rx_response>();
            post(rx.free());
        } while (vif.rx_send(&packet, 1) != 0);
        (void)vif.rx_idle(false);
        return vif.rx_hold_ns;
    }
    uint64_t rx_for(uint32_t ms) noexcept {
        const uint64_t before = vif.counters().rx_bytes;
        for (const uint64_t end = world.now_ms + ms; world.now_ms < end;)
            pass_ns(rx_once());
        return vif.counters().rx_bytes - before;
    }
    void post(uint32_t count) noexcept {
        for (uint32_t i = 0; i < count; ++i)
            rx.push(netif_rx_request{static_cast<uint16_t>(i), 0, ref});
        (void)rx.publish();
    }

    World& world;
    Guest guest;
    Backend vif;
    uint8_t* memory;
    xpv_netback_piece piece{};
    uint32_t ref = 0;
    PeerFront rx;

private:
    PeerFront connect(const char* rate, uint32_t queues) noexcept {
        if (rate != nullptr)
            world.bus.own.set("rate", rate);
        guest.offer(queues);
        guest.hotplug();
        EXPECT(vif.create());
        EXPECT_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
        return guest.rx();
    }
};

// What passes in so long: the rate, a burst at most more, a packet or two less.
bool holds(uint64_t bytes, uint64_t rate, uint32_t ms) noexcept {
    const uint64_t expected = rate * ms / 1000;
    return bytes <= expected + rate / 20 + 2 * size && bytes + rate / 100 >= expected;
}

} // namespace

TEST(netback_rate_guest_tx) {
    World world;
    Scene s{world, usual};
    Sender sender{s.guest};
    CHECK(world.log.has("limited to 62500 bytes per 50000 us in each direction"));
    CHECK(holds(s.tx_for(sender, 10000), per_second, 10000));
    CHECK(s.vif.counters().tx_holds > 100);
    // Nothing was there to limit without a rate.
    s.rate(nullptr);
    CHECK(world.log.has("not limited any more"));
    for (uint32_t i = 0; i < 1000; ++i)
        CHECK_EQ(s.tx_once(sender), 0u);
}

// No slot is answered before its packet was taken, no event is asked for meanwhile, and the EOI
// of the one that came is paid, not as a spurious one.
TEST(netback_rate_guest_tx_is_left_in_the_ring) {
    World world;
    Scene s{world, "1000,100000"};
    Sender sender{s.guest};
    for (uint32_t i = 0; i < 40; ++i)
        sender.packet(&size, 1);
    CHECK(sender.ring.publish());
    CHECK(world.events.raise(s.guest.rings[0].tx_port));
    s.vif.tx_poll();
    const uint32_t taken = s.vif.received;
    CHECK(taken >= 1 && taken <= 2);
    CHECK_EQ(sender.answers().all(), taken);
    CHECK(s.vif.tx_hold_ns != 0 && s.vif.tx_hold_ns <= 1'000'000'000);
    CHECK_EQ(s.vif.counters().tx_spurious, 0u);
    // Woken too soon, any number of times: nothing passes.
    for (uint32_t i = 0; i < 10; ++i) {
        sender.packet(&size, 1);
        CHECK(!sender.ring.publish());
        s.vif.tx_poll();
        CHECK_EQ(s.vif.received, taken);
    }
    s.pass_ns(s.vif.tx_hold_ns - 1);
    s.vif.tx_poll();
    CHECK_EQ(s.vif.received, taken);
    CHECK_EQ(s.vif.tx_hold_ns, 1u);
    s.pass_ns(1);
    s.vif.tx_poll();
    CHECK_EQ(s.vif.received, taken + 1);
    CHECK_EQ(s.vif.counters().tx_spurious, 0u);
    // The event of the channel's next life comes: it owes no EOI.
    s.rate(nullptr);
    s.vif.tx_poll();
    CHECK_EQ(s.vif.received, 50u);
    sender.packet(&size, 1);
    CHECK(sender.ring.publish());
    CHECK(world.events.raise(s.guest.rings[0].tx_port));
}

TEST(netback_rate_guest_rx) {
    World world;
    Scene s{world, usual};
    CHECK(holds(s.rx_for(10000), per_second, 10000));
    CHECK(s.vif.counters().rx_holds > 100);
    CHECK_EQ(s.vif.counters().rx_starved, 0u);
    s.rate(nullptr);
    const uint64_t before = s.vif.counters().rx_bytes;
    const xpv_netback_rx_packet packet{&s.piece, 1, size, {}};
    s.post(s.rx.free());
    CHECK_EQ(s.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(s.vif.rx_hold_ns, 0u);
    CHECK_EQ(s.vif.counters().rx_bytes, before + size);
}

// As many bytes through four queues as through one, and each its part.
TEST(netback_rate_is_one_for_all_queues) {
    World world;
    Scene s{world, usual, 4};
    Sender senders[4] = {Sender{s.guest, 0}, Sender{s.guest, 1}, Sender{s.guest, 2},
                         Sender{s.guest, 3}};
    uint64_t due[4] = {};
    const uint64_t start = xpv_now_ns();
    for (; xpv_now_ns() < start + 10'000'000'000; s.pass_ns(50'000))
        for (uint32_t i = 0; i < 4; ++i)
            if (xpv_now_ns() >= due[i])
                due[i] = xpv_now_ns() + s.tx_once(senders[i], i);
    uint64_t total = 0;
    for (uint32_t i = 0; i < 4; ++i)
        total += s.vif.counters(i).tx_bytes;
    CHECK(total <= 10 * per_second + per_second / 20 + 4 * size);
    CHECK(total >= 10 * per_second);
    for (uint32_t i = 0; i < 4; ++i)
        CHECK(s.vif.counters(i).tx_bytes > total / 4 * 9 / 10);
}

// What the guest sends costs nothing of what it may receive.
TEST(netback_rate_each_direction) {
    World world;
    Scene s{world, usual};
    Sender sender{s.guest};
    uint64_t tx_due = 0, rx_due = 0;
    const uint64_t start = xpv_now_ns();
    for (; xpv_now_ns() < start + 10'000'000'000; s.pass_ns(50'000)) {
        if (xpv_now_ns() >= tx_due)
            tx_due = xpv_now_ns() + s.tx_once(sender);
        if (xpv_now_ns() >= rx_due)
            rx_due = xpv_now_ns() + s.rx_once();
    }
    CHECK(holds(s.vif.counters().tx_bytes, per_second, 10000));
    CHECK(holds(s.vif.counters().rx_bytes, per_second, 10000));
}

// A look at the device applies a change, and whoever waits for the old rate looks again.
TEST(netback_rate_live) {
    World world;
    Scene s{world, "8,1000000"};
    Sender sender{s.guest};
    (void)s.tx_once(sender);
    CHECK(s.tx_once(sender) == 1'000'000'000);
    CHECK(s.rx_once() == 1'000'000'000);
    s.vif.queues[0].scheduled = 0;
    s.rate(usual);
    CHECK_EQ(s.vif.queues[0].scheduled, uint32_t{XPV_NETBACK_TX | XPV_NETBACK_RX});
    CHECK(holds(s.tx_for(sender, 5000), per_second, 5000));
    CHECK(holds(s.rx_for(5000), per_second, 5000));
    const uint32_t lines = world.log.lines();
    s.vif.queues[0].scheduled = 0;
    for (uint32_t i = 0; i < 5; ++i) // nothing changed
        s.rate(usual);
    CHECK_EQ(world.log.lines(), lines);
    CHECK_EQ(s.vif.queues[0].scheduled, 0u);
    s.rate("125000,50000");
    CHECK(holds(s.tx_for(sender, 5000), 2 * per_second, 5000));
    // Xenstore that does not answer says nothing.
    world.account.fail(Call::XsRead, 3, 1, -5); // after state and online
    s.vif.handle(XPV_CHANGED);
    world.account.fail_nothing();
    CHECK_EQ(world.log.errors, 0u);
    CHECK(holds(s.tx_for(sender, 5000), 2 * per_second, 5000));
}

// Each is named with what would do, once, and what was there stays.
TEST(netback_rate_bad_values) {
    World world;
    Scene s{world, "10Mb/s"};
    Sender sender{s.guest};
    CHECK_EQ(world.log.errors, 1u);
    CHECK(world.log.has("rate = \"10Mb/s\" is not \"BYTES,MICROSECONDS\", "
                        "1..18446744073709551615 and 1..4294967295"));
    CHECK(world.log.has("nothing is limited"));
    CHECK_EQ(s.tx_once(sender), 0u);
    s.rate(usual);
    uint32_t errors = 1;
    for (const char* bad : each("0,50000", "62500,0", "", "62500",
                                "1000000000000000000000000000000000000000000000000000,1")) {
        s.rate(bad);
        CHECK_EQ(world.log.errors, ++errors);
        CHECK(world.log.has("the limit stays"));
        s.rate(bad);
        CHECK_EQ(world.log.errors, errors);
    }
    CHECK(holds(s.tx_for(sender, 5000), per_second, 5000));
    CHECK_EQ(world.bus.reports, 0u);
}

// Credit is the vif's, not the connection's.
TEST(netback_rate_outlives_a_connection) {
    World world;
    Scene s{world, "1000,1000000"};
    uint64_t bytes = 0;
    const uint64_t start = world.now_ms;
    for (uint32_t i = 0; i < 20; ++i) {
        {
            Sender sender{s.guest};
            (void)s.tx_once(sender);
            bytes += s.vif.counters().tx_bytes;
        }
        s.guest.state(6);
        s.vif.handle(XPV_CHANGED);
        s.guest.state(1);
        s.vif.handle(XPV_CHANGED);
        s.guest.offer(1);
        world.now_ms += 500;
        s.vif.handle(XPV_CHANGED);
        CHECK_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    }
    CHECK(bytes <= (world.now_ms - start) + 1000 + 2 * size);
}

// A packet that waits for credit, for however long, waits for nobody's buffers.
TEST(netback_rate_is_no_stall) {
    World world;
    Scene s{world, "8,1000000"};
    const xpv_netback_rx_packet packet{&s.piece, 1, size, {}};
    (void)s.rx_once();
    uint64_t waited = 0;
    for (; waited < 100'000; waited += 500) {
        s.post(s.rx.free());
        CHECK_EQ(s.vif.rx_send(&packet, 1), 0u);
        CHECK(s.vif.rx_hold_ns != 0);
        (void)s.vif.rx_idle(false);
        CHECK(!s.vif.rest.draining && !s.vif.rest.again);
        world.now_ms += 500;
    }
    // Credit comes, and just then there is no buffer: it has waited for one since now.
    while (s.vif.rx_send(&packet, 1) == 0)
        world.now_ms += 500;
    s.rate(nullptr);
    while (s.vif.rx_send(&packet, 1) != 0) {
    }
    s.rate("8,1000000");
    CHECK_EQ(s.vif.rx_hold_ns, 0u);
    CHECK(s.vif.carrier);
    CHECK_EQ(s.vif.counters().rx_drains, 0u);
    CHECK_EQ(s.vif.counters().rx_stalls, 0u);
}

// A guest without buffers is one also behind a rate, from the last time on that it had some.
TEST(netback_rate_stall_behind_a_rate) {
    World world;
    Scene s{world, "1000,1000000"};
    const xpv_netback_rx_packet packet{&s.piece, 1, size, {}};
    s.post(3);
    CHECK_EQ(s.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(s.vif.rx_send(&packet, 1), 0u);
    CHECK(s.vif.rx_hold_ns != 0);
    world.now_ms += 1000;
    CHECK_EQ(s.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(s.vif.rx_send(&packet, 1), 0u);
    CHECK(s.vif.rx_hold_ns != 0); // a buffer is there
    world.now_ms += 2000;
    CHECK_EQ(s.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(s.vif.rx_send(&packet, 1), 0u);
    CHECK_EQ(s.vif.rx_hold_ns, 0u); // none
    // The packet is 30 s old, of which it waited 2 s for a buffer.
    CHECK(!s.vif.rx_starved(30'000));
    (void)s.vif.rx_idle(true);
    CHECK_EQ(s.vif.rest.look_ms, 8000u);
    world.now_ms += 8000;
    CHECK(s.vif.rx_starved(38'000));
    CHECK_EQ(s.vif.counters().rx_drains, 1u);
}

// Told with what is waited for; nothing else happens.
TEST(netback_rate_timeout_is_told) {
    World world;
    Scene s{world, nullptr};
    s.post(1);
    xpv_netback_rx_packet packet{&s.piece, 1, size, {}};
    CHECK_EQ(s.vif.rx_send(&packet, 1), 1u);
    CHECK_EQ(s.vif.rx_send(&packet, 1), 0u);
    const uint32_t switched = world.bus.switched;
    xpv_netback_rx_timeout(s.vif.queues[0].core, 5100, 524288);
    CHECK_EQ(s.vif.counters().rx_timeouts, 1u);
    CHECK_EQ(world.log.warnings, 1u);
    CHECK(world.log.has("queue 0: the guest took nothing for 5100 ms, 524288 bytes wait"));
    CHECK(world.log.has("posted 0 buffers (request 1, answer 1), 1 are needed"));
    CHECK_EQ(world.bus.switched, switched);
    CHECK(s.vif.running && s.vif.carrier && !s.vif.world.ends.any_due());
}

// `ip link set ... carrier`: the node says what is wanted, whenever that changes.
TEST(netback_rate_link_of_the_administrator) {
    World world;
    Scene s{world, nullptr};
    const xpv::fake::Folder& own = world.bus.own;
    CHECK_EQ(own.number("carrier"), 1u);
    s.vif.link = false;
    s.vif.handle(XPV_CHANGED);
    CHECK_EQ(own.number("carrier"), 0u);
    CHECK(s.vif.carrier); // the shim's to combine
    s.vif.link = true;
    world.account.fail(Call::XsWrite, 1, 1);
    s.vif.handle(XPV_CHANGED);
    CHECK_EQ(own.number("carrier"), 0u);
    world.account.fail_nothing();
    s.vif.handle(XPV_CHANGED);
    CHECK_EQ(own.number("carrier"), 1u);
    // While there is no connection, and by the time that there is one.
    s.guest.state(6);
    s.vif.handle(XPV_CHANGED);
    s.vif.link = false;
    s.guest.state(1);
    s.vif.handle(XPV_CHANGED);
    CHECK_EQ(own.number("carrier"), 0u);
    s.vif.link = true;
    s.guest.offer(1);
    s.vif.handle(XPV_CHANGED);
    CHECK_EQ(own.number("carrier"), 1u);
    // Who comes after us may know nothing of it.
    s.vif.handle(XPV_REMOVE);
    CHECK(own.get("carrier") == nullptr);
}
