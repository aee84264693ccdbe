// SPDX-License-Identifier: GPL-2.0-only
// Target: either end's handshake, with an other end that leaves any text in xenstore
// and shows any state at any time, while every upcall may fail.
#include "core/xenstore.hpp"
#include "fuzz/input.hpp"
#include "netback/test/fake.hpp"
#include "netfront/test/fake.hpp"

namespace xpv::fuzz {
namespace {

using namespace xpv::fake;

constexpr const char* names[] = {
    "tx-ring-ref",
    "rx-ring-ref",
    "event-channel",
    "event-channel-tx",
    "event-channel-rx",
    "multi-queue-num-queues",
    "multi-queue-max-queues",
    "request-rx-copy",
    "feature-rx-copy",
    "feature-rx-notify",
    "feature-sg",
    "feature-gso-tcpv4",
    "feature-gso-tcpv6",
    "feature-no-csum-offload",
    "feature-ipv6-csum-offload",
    "feature-split-event-channels",
    "mtu",
    "mac",
    "online",
    "state",
};
constexpr uint32_t name_count = sizeof(names) / sizeof(names[0]);

// One node of the other end's: a number near something, any text, or gone.
void node(Input& in, World& world, uint32_t near) {
    const char* name = names[in.below(name_count)];
    NodeName key{name};
    if (in.below(4) == 0) {
        char slash[40] = "/";
        for (uint32_t i = 0; name[i] != '\0'; ++i)
            slash[i + 1] = name[i];
        key = NodeName{"queue-", in.below(4), slash};
    }
    switch (in.below(4)) {
    case 0:
        return world.bus.peer.remove(key.text());
    case 1: {
        char text[80];
        in.text(text, sizeof(text));
        return world.bus.peer.set(key.text(), text);
    }
    default:
        return world.bus.peer.set(key.text(), in.near(in.flag() ? near : in.below(4)));
    }
}

void fail_some(Input& in, World& world) {
    if (in.below(3) == 0)
        world.account.fail_nth(1 + in.below(80));
}

void front(Input& in) {
    Frontend vif{1 + in.below(4)};
    vif.settings.net.split = in.flag();
    fail_some(in, vif.world);
    if (!vif.create())
        return;
    uint8_t mac[6];
    uint32_t mtu = 0;
    vif.world.bus.own.set("mtu", in.near(1500));
    (void)xpv_netfront_identity(vif.device, mac, &mtu);
    (void)vif.handle(XPV_PROBED);
    for (uint32_t steps = 0; in.left() != 0 && steps < 60; ++steps) {
        switch (in.below(8)) {
        case 0:
        case 1:
            node(in, vif.world, 1);
            break;
        case 2:
            vif.peer_state(in.below(10));
            break;
        case 3:
            fail_some(in, vif.world);
            break;
        case 4:
            (void)vif.handle(in.flag() ? XPV_RESUMED : XPV_RENEW);
            break;
        case 5:
            xpv_netfront_want_queues(vif.device, 1 + in.below(vif.settings.net.max_queues));
            vif.world.grants.hold_all = in.below(4) == 0;
            break;
        default:
            (void)vif.handle(XPV_CHANGED);
        }
    }
    vif.world.account.fail_nothing();
    vif.remove();
}

void back(Input& in) {
    World world;
    Guest guest{world};
    Backend vif{world};
    vif.settings.map = in.flag();
    guest.offer(1 + in.below(4), in.flag());
    fail_some(in, world);
    if (vif.create()) {
        for (uint32_t steps = 0; in.left() != 0 && steps < 60; ++steps) {
            switch (in.below(8)) {
            case 0:
            case 1:
                node(in, world, guest.rings[in.below(2)].tx_ref);
                break;
            case 2:
                guest.state(in.below(10));
                break;
            case 3:
                fail_some(in, world);
                break;
            case 4:
                guest.hotplug();
                world.bus.own.set("online", in.below(8) != 0 ? 1 : 0);
                break;
            case 5:
                RawRing{guest.rings[0].tx_page, 12, 256}.req_prod(in.near(0));
                break;
            case 6:
                if (vif.world.ends.any_due())
                    vif.run_poke();
                break;
            default:
                (void)vif.handle(XPV_CHANGED);
            }
        }
        world.account.fail_nothing();
        vif.remove();
    }
    vif.reap_retired();
}

} // namespace

void one(Input& in) {
    if (in.flag())
        front(in);
    else
        back(in);
}

} // namespace xpv::fuzz
