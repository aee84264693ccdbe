// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/features.hpp"

namespace xpv::netfront {
namespace {

// Below queue-N; without the slash in our folder itself.
constexpr const char* per_queue_keys[] = {"/tx-ring-ref", "/rx-ring-ref", "/event-channel",
                                          "/event-channel-tx", "/event-channel-rx"};

// Keys that we never write but other drivers do, each of which changes what a backend
// puts in our ring or waits for.
constexpr const char* foreign_keys[] = {"xdp-headroom",
                                        "ctrl-ring-ref",
                                        "event-channel-ctrl",
                                        "request-multicast-control",
                                        "feature-gso-tcpv4-prefix",
                                        "feature-gso-tcpv6-prefix"};

uint32_t hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9')
        return static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f')
        return static_cast<uint32_t>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return static_cast<uint32_t>(c - 'A') + 10;
    return 16;
}

// A node that may not be there.
Result<void> remove(const Xenstore& store, const Key& key) noexcept {
    Result<void> gone = store.remove(key);
    if (!gone.ok() && gone.error() == Error::NoEntry)
        return {};
    return gone;
}

Result<void> write_queue(const Xenstore& store, bool flat, uint32_t index, const Address& at,
                         bool split) noexcept {
    const auto write = [&](const char* name, uint32_t number) noexcept {
        return store.write(flat ? Key{name + 1} : Key{"queue-", index, name}, number);
    };
    XPV_TRY(write("/tx-ring-ref", at.tx_ref));
    XPV_TRY(write("/rx-ring-ref", at.rx_ref));
    if (!split)
        return write("/event-channel", at.rx_port);
    XPV_TRY(write("/event-channel-tx", at.tx_port));
    return write("/event-channel-rx", at.rx_port);
}

// Backends look at flat keys and at queue-N/ ones by the number of queues, and
// for split channels first: nothing of a former connection may stay.
Result<void> remove_leftovers(const Xenstore& store) noexcept {
    for (const char* name : per_queue_keys)
        XPV_TRY(remove(store, name + 1));
    for (const char* name : foreign_keys)
        XPV_TRY(remove(store, name));
    const Result<uint32_t> before =
        store.optional(XPV_XS_OWN, "multi-queue-num-queues", 0, XPV_NET_MAX_QUEUES, 0);
    for (uint32_t i = 0; i < before.value_or(XPV_NET_MAX_QUEUES); ++i)
        XPV_TRY(remove(store, Key{"queue-", i}));
    return remove(store, "multi-queue-num-queues");
}

} // namespace

Result<Offer> read_offer(const Xenstore& store, const xpv_net_settings& settings,
                         uint32_t wanted_queues) noexcept {
    Offer offer;
    XPV_TRY_SET(offer.features, net::read_features(store, Role::Front, settings));
    const Result<uint32_t> most =
        store.optional(XPV_XS_PEER, "multi-queue-max-queues", 1, ~uint32_t{0}, 0);
    if (most.ok() && most.value() > 0) {
        offer.multi_queue = true;
        offer.queues = min(most.value(), wanted_queues);
    }
    return offer;
}

Result<void> write_answer(const Xenstore& store, const xpv_net_settings& settings,
                          const Offer& offer, Span<const Address> queues) noexcept {
    return store.transact([&]() noexcept -> Result<void> {
        XPV_TRY(remove_leftovers(store));
        if (offer.multi_queue)
            XPV_TRY(store.write("multi-queue-num-queues", queues.size()));
        for (uint32_t i = 0; i < queues.size(); ++i)
            XPV_TRY(write_queue(store, queues.size() == 1, i, queues[i], offer.features.split));
        return net::write_features(store, Role::Front, settings);
    });
}

Result<void> parse_mac(const char* text, uint8_t mac[6]) noexcept {
    for (uint32_t i = 0; i < 6; ++i, text += 3) {
        // Each look is at a byte that the one before it proved to be there.
        const uint32_t high = hex_digit(text[0]);
        const uint32_t low = high < 16 ? hex_digit(text[1]) : 16;
        if (low >= 16 || text[2] != (i == 5 ? '\0' : ':'))
            return Error::Invalid;
        mac[i] = static_cast<uint8_t>(high << 4 | low);
    }
    const bool group = mac[0] & 1;
    const bool zero = (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0;
    if (group || zero)
        return Error::Invalid;
    return {};
}

} // namespace xpv::netfront
