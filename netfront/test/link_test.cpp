// SPDX-License-Identifier: GPL-2.0-only
// The backend's link (its `carrier` node), and a transmit queue that stands still.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Frontend;
using fake::packet_bytes;
using fake::send;
using fake::Wire;
using test::each;

// Absent means up; so does what nobody can read. The link follows the node while in service.
TEST(netfront_link_follows_the_backend) {
    for (const char* first : each("", "1", "0", "x", "2")) {
        Frontend vif;
        if (*first != '\0')
            vif.world.bus.peer.set("carrier", first);
        CHECK(vif.connect());
        CHECK_EQ(vif.os.announced, 1u); // queues run whatever the link is
        CHECK_EQ(vif.os.carrier, *first != '0');
        for (const char* then : each("0", "0", "1", "1", "0", "7", "0")) {
            vif.world.bus.peer.set("carrier", then);
            vif.handle(XPV_CHANGED);
            CHECK_EQ(vif.os.carrier, *then != '0');
            const uint32_t infos = vif.world.log.infos;
            vif.handle(XPV_CHANGED); // of something else
            CHECK_EQ(vif.world.log.infos, infos);
        }
        vif.world.bus.peer.remove("carrier");
        vif.handle(XPV_CHANGED);
        CHECK(vif.os.carrier);
        CHECK_EQ(vif.os.announced, 1u);
        CHECK(vif.world.log.has("link is up again"));
    }
}

// A link that comes up gives no carrier to a vif that is not connected, and a connection does
// not give one to a link that is down.
TEST(netfront_link_and_connection) {
    Frontend vif;
    CHECK(vif.connect());
    CHECK(vif.os.carrier);
    vif.world.bus.peer.set("carrier", "0");
    vif.handle(XPV_CHANGED);
    vif.handle(XPV_RENEW);
    vif.world.bus.peer.set("carrier", "1");
    vif.handle(XPV_CHANGED);
    CHECK(!vif.os.carrier);
    vif.world.bus.peer.set("carrier", "0");
    CHECK(vif.settle_down());
    CHECK(!vif.os.carrier && !vif.os.stopped);
    vif.world.bus.peer.set("carrier", "1");
    vif.handle(XPV_CHANGED);
    CHECK(vif.os.carrier);
}

// What is waited for is said and counted, the backend hears that something is there, and
// nothing is reset: what was sent before is answered afterwards.
TEST(netfront_link_timeout_is_told) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t count = 0;
    while ((send(vif, packet_bytes, 1000) & XPV_NETFRONT_TX_STOP) == 0)
        ++count;
    ++count;
    const auto* channel = vif.world.events.at(wire.tx_port);
    const uint32_t notified = channel->notified;
    const uint32_t switched = vif.world.bus.switched;
    xpv_netfront_tx_timeout(vif.queue(), 5200);
    CHECK_EQ(vif.counters().tx_timeouts, 1u);
    CHECK_EQ(vif.world.log.warnings, 1u);
    CHECK(vif.world.log.has("queue 0: nothing sent for 5200 ms, the backend owes "));
    CHECK(vif.world.log.has("of 256 slots (request "));
    CHECK_EQ(channel->notified, notified + 1);
    CHECK_EQ(vif.world.bus.switched, switched);
    CHECK(!vif.os.stopped && !vif.world.ends.any_due());
    CHECK_EQ(wire.serve_tx(), count);
    CHECK(fake::poll_tx(vif));
}
