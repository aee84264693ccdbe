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

NodeName key_of(const char* slash_name, uint32_t index, uint32_t count) noexcept {
    return count == 1 ? NodeName{slash_name + 1} : NodeName{"queue-", index, slash_name};
}

// A node that may not be there.
Result<void> remove(const Xenstore& store, const NodeName& key) noexcept {
    Result<void> gone = store.remove(key);
    if (!gone.ok() && gone.error() == Error::NoEntry)
        return {};
    return gone;
}

} // namespace

Result<QueuePlace> QueuePlace::read(const Xenstore& store, uint32_t index,
                                    uint32_t count) noexcept {
    const auto ref = [&](const char* name) noexcept {
        return store.require(XPV_XS_PEER, key_of(name, index, count), 0, UINT32_MAX);
    };
    const auto port = [&](const char* name) noexcept {
        return store.require(XPV_XS_PEER, key_of(name, index, count), 1, last_port);
    };
    QueuePlace place;
    XPV_TRY_SET(place.tx_ref, ref(tx_ref_key));
    XPV_TRY_SET(place.rx_ref, ref(rx_ref_key));
    XPV_TRY_SET(place.tx_port,
                store.optional(XPV_XS_PEER, key_of(tx_port_key, index, count), 1, last_port, 0));
    if (place.tx_port == 0) {
        XPV_TRY_SET(place.tx_port, port(port_key));
        place.rx_port = place.tx_port;
        return place;
    }
    XPV_TRY_SET(place.rx_port, port(rx_port_key));
    return place;
}

Result<void> QueuePlace::write(const Xenstore& store, uint32_t index,
                               uint32_t count) const noexcept {
    const auto number = [&](const char* name, uint32_t value) noexcept {
        return store.write(key_of(name, index, count), value);
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
