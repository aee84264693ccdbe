// SPDX-License-Identifier: GPL-2.0-only
#include "net/place.hpp"

#include "core/evtchn.hpp"
#include "net/packet.h"

namespace xpv::net {
namespace {

// Below queue-N; without the slash in the device's folder itself.
constexpr const char* tx_ref_key = "/tx-ring-ref";
constexpr const char* rx_ref_key = "/rx-ring-ref";
constexpr const char* port_key = "/event-channel";
constexpr const char* tx_port_key = "/event-channel-tx";
constexpr const char* rx_port_key = "/event-channel-rx";
constexpr const char* queue_keys[] = {tx_ref_key, rx_ref_key, port_key, tx_port_key, rx_port_key};

// Keys that we never write but other drivers do, each of which changes what a backend
// puts in our ring or waits for.
constexpr const char* foreign_keys[] = {"xdp-headroom",
                                        "ctrl-ring-ref",
                                        "event-channel-ctrl",
                                        "request-multicast-control",
                                        "feature-gso-tcpv4-prefix",
                                        "feature-gso-tcpv6-prefix"};

NodeName key_of(const char* slash_name, QueueIndex index, uint32_t count) noexcept {
    return count == 1 ? NodeName{slash_name + 1} : NodeName{"queue-", index.number(), slash_name};
}

// A node that may not be there.
Result<void> remove(const Xenstore& store, const NodeName& key) noexcept {
    Result<void> gone = store.remove(key);
    if (!gone.ok() && gone.error() == Error::NoEntry)
        return {};
    return gone;
}

} // namespace

Result<QueuePlace> QueuePlace::read(const Xenstore& store, QueueIndex index,
                                    uint32_t count) noexcept {
    const auto ref_at = [&](const char* name) noexcept {
        return store.require(XPV_XS_PEER, key_of(name, index, count), 0, UINT32_MAX);
    };
    const auto port_at = [&](const char* name) noexcept {
        return store.require(XPV_XS_PEER, key_of(name, index, count), 1, last_port);
    };
    uint32_t refs[2] = {};
    uint32_t ports[2] = {};
    XPV_TRY_SET(refs[0], ref_at(tx_ref_key));
    XPV_TRY_SET(refs[1], ref_at(rx_ref_key));
    XPV_TRY_SET(ports[0],
                store.optional(XPV_XS_PEER, key_of(tx_port_key, index, count), 1, last_port, 0));
    if (ports[0] != 0) {
        XPV_TRY_SET(ports[1], port_at(rx_port_key));
    } else {
        XPV_TRY_SET(ports[0], port_at(port_key));
        ports[1] = ports[0];
    }
    return QueuePlace{GrantRef{refs[0]}, GrantRef{refs[1]}, Port{ports[0]}, Port{ports[1]}};
}

Result<void> QueuePlace::write(const Xenstore& store, QueueIndex index,
                               uint32_t count) const noexcept {
    const auto number = [&](const char* name, auto id) noexcept {
        return store.write(key_of(name, index, count), id);
    };
    XPV_TRY(number(tx_ref_key, tx_ref));
    XPV_TRY(number(rx_ref_key, rx_ref));
    if (!split())
        return number(port_key, rx_port);
    XPV_TRY(number(tx_port_key, tx_port));
    return number(rx_port_key, rx_port);
}

// Backends look at flat keys and at queue-N/ ones by the number of queues, and for split
// channels first.
Result<void> remove_leftovers(const Xenstore& store) noexcept {
    for (const char* name : queue_keys)
        XPV_TRY(remove(store, name + 1));
    for (const char* name : foreign_keys)
        XPV_TRY(remove(store, name));
    const Result<uint32_t> before =
        store.optional(XPV_XS_OWN, "multi-queue-num-queues", 0, XPV_NET_MAX_QUEUES, 0);
    for (uint32_t i = 0; i < before.value_or(XPV_NET_MAX_QUEUES); ++i)
        XPV_TRY(remove(store, NodeName{"queue-", i}));
    return remove(store, "multi-queue-num-queues");
}

} // namespace xpv::net
