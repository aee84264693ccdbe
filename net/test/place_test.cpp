// SPDX-License-Identifier: GPL-2.0-only
// net/place.hpp: a backend finds the queues where the frontend says they are.
#include "net/place.hpp"

#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"
#include "net/packet.h"

using namespace xpv;
using fake::Folder;
using fake::World;
using net::QueuePlace;
using test::each;

namespace {

constexpr auto counts = each(1u, 2u, 3u, uint32_t{XPV_NET_MAX_QUEUES});

QueuePlace place_of(uint32_t index, bool split) noexcept {
    const uint32_t port = 1 + 2 * index;
    return {.tx_ref = GrantRef{0xfffffff0 - index},
            .rx_ref = GrantRef{index},
            .tx_port = Port{split ? port + 1 : port},
            .rx_port = Port{port}};
}

Result<void> write_all(const Xenstore& store, uint32_t count, bool split) noexcept {
    return store.transact([&]() noexcept -> Result<void> {
        XPV_TRY(net::remove_leftovers(store));
        if (count > 1)
            XPV_TRY(store.write("multi-queue-num-queues", count));
        for (uint32_t i = 0; i < count; ++i)
            XPV_TRY(place_of(i, split).write(store, QueueIndex{i}, count));
        return {};
    });
}

} // namespace

// Whatever stood there before.
TEST(net_place_is_read_as_written) {
    World world;
    const Xenstore store{&world.bus};
    for (const uint32_t before : counts)
        for (const uint32_t count : counts)
            for (uint32_t bits = 0; bits < 4; ++bits) {
                const bool split = (bits & 1) != 0;
                CHECK(write_all(store, before, (bits & 2) != 0).ok());
                CHECK(write_all(store, count, split).ok());
                world.bus.peer.copy_from(world.bus.own);
                for (uint32_t i = 0; i < count; ++i) {
                    const Result<QueuePlace> read = QueuePlace::read(store, QueueIndex{i}, count);
                    CHECK(read.ok());
                    const QueuePlace& is = read.value();
                    const QueuePlace want = place_of(i, split);
                    CHECK_EQ(is.tx_ref, want.tx_ref);
                    CHECK_EQ(is.rx_ref, want.rx_ref);
                    CHECK_EQ(is.tx_port, want.tx_port);
                    CHECK_EQ(is.rx_port, want.rx_port);
                    CHECK_EQ(is.split(), split);
                }
                const uint32_t nodes = (split ? 4 : 3) * count + (count > 1);
                CHECK_EQ(world.bus.own.count(), nodes);
            }
}

// The protocol's names, which a test through both of our ends would not notice.
TEST(net_place_keys) {
    World world;
    const Xenstore store{&world.bus};
    const Folder& own = world.bus.own;
    const QueuePlace one{
        .tx_ref = GrantRef{8}, .rx_ref = GrantRef{9}, .tx_port = Port{5}, .rx_port = Port{5}};
    const QueuePlace two{
        .tx_ref = GrantRef{18}, .rx_ref = GrantRef{19}, .tx_port = Port{15}, .rx_port = Port{16}};
    CHECK(one.write(store, QueueIndex{0}, 1).ok());
    CHECK(two.write(store, QueueIndex{0}, 1).ok());
    CHECK_EQ(own.number("event-channel"), 5u);
    CHECK_EQ(own.number("tx-ring-ref"), 18u);
    CHECK_EQ(own.number("rx-ring-ref"), 19u);
    CHECK_EQ(own.number("event-channel-tx"), 15u);
    CHECK_EQ(own.number("event-channel-rx"), 16u);
    CHECK_EQ(own.count(), 5u);
    CHECK(one.write(store, QueueIndex{0}, 2).ok());
    CHECK(two.write(store, QueueIndex{1}, 2).ok());
    CHECK_EQ(own.number("queue-0/tx-ring-ref"), 8u);
    CHECK_EQ(own.number("queue-0/rx-ring-ref"), 9u);
    CHECK_EQ(own.number("queue-0/event-channel"), 5u);
    CHECK_EQ(own.number("queue-1/event-channel-tx"), 15u);
    CHECK_EQ(own.number("queue-1/event-channel-rx"), 16u);
}

TEST(net_place_bad_nodes) {
    struct Row {
        const char* key;
        const char* text; // nullptr: no such node
        bool split;
        bool good;
    };
    for (const Row& row :
         each(Row{"tx-ring-ref", nullptr, true, false}, Row{"rx-ring-ref", nullptr, true, false},
              Row{"tx-ring-ref", "0", true, true}, Row{"rx-ring-ref", "4294967295", true, true},
              Row{"tx-ring-ref", "4294967296", true, false}, Row{"rx-ring-ref", "x", true, false},
              Row{"event-channel-tx", "0", true, false}, Row{"event-channel-tx", "x", true, false},
              Row{"event-channel-tx", "131071", true, true},
              Row{"event-channel-tx", "131072", true, false},
              Row{"event-channel-tx", nullptr, true, false},
              Row{"event-channel-rx", nullptr, true, false},
              Row{"event-channel-rx", "0", true, false},
              Row{"event-channel-rx", "131071", true, true},
              Row{"event-channel-rx", "131072", true, false},
              Row{"event-channel", nullptr, false, false}, Row{"event-channel", "0", false, false},
              Row{"event-channel", "131071", false, true},
              Row{"event-channel", "131072", false, false}, Row{"event-channel", "", false, false}))
        for (const uint32_t count : each(1u, 2u)) {
            World world;
            const Xenstore store{&world.bus};
            CHECK(write_all(store, count, row.split).ok());
            world.bus.peer.copy_from(world.bus.own);
            const NodeName key = count == 1 ? NodeName{row.key} : NodeName::in("queue-1/", row.key);
            if (row.text == nullptr)
                world.bus.peer.remove(key.text());
            else
                world.bus.peer.set(key.text(), row.text);
            CHECK_EQ(QueuePlace::read(store, QueueIndex{count - 1}, count).ok(), row.good);
            CHECK(row.good || world.log.has("event-channel") || world.log.has("ring-ref"));
        }
}

// Another driver's, and of a number of queues that nobody can read: all go, and nothing
// else does.
TEST(net_place_leftovers) {
    for (const char* number : each("3", "64", "x", "65")) {
        World world;
        Folder& own = world.bus.own;
        own.set("mac", "00:16:3e:00:00:01");
        for (const char* key : each("tx-ring-ref", "rx-ring-ref", "event-channel",
                                    "event-channel-tx", "event-channel-rx", "queue-0/tx-ring-ref",
                                    "queue-2/event-channel", "xdp-headroom", "ctrl-ring-ref",
                                    "event-channel-ctrl", "request-multicast-control",
                                    "feature-gso-tcpv4-prefix", "feature-gso-tcpv6-prefix"))
            own.set(key, 1u);
        own.set("multi-queue-num-queues", number);
        CHECK(net::remove_leftovers(Xenstore{&world.bus}).ok());
        CHECK_EQ(own.count(), 1u);
        CHECK(own.get("mac") != nullptr);
    }
}

TEST(net_place_each_step_fails) {
    for (uint32_t nth = 1; nth < 200; ++nth) {
        World world;
        const Xenstore store{&world.bus};
        CHECK(write_all(store, 3, false).ok());
        world.account.fail_nth(nth);
        const bool done = write_all(store, 2, true).ok();
        const bool failed = world.account.injected() != 0;
        world.account.fail_nothing();
        if (!failed) {
            CHECK(done);
            return;
        }
        // A transaction that was not asked for again changed nothing; another one that
        // works leaves what it should.
        CHECK_EQ(world.bus.own.count(), done ? 9u : 10u);
        CHECK(write_all(store, 2, true).ok());
        CHECK_EQ(world.bus.own.count(), 9u);
    }
    EXPECT(!"the sweep never ended");
}
