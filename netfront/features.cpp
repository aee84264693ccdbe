// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/features.hpp"

namespace xpv::netfront {
namespace {

uint32_t hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9')
        return static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f')
        return static_cast<uint32_t>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return static_cast<uint32_t>(c - 'A') + 10;
    return 16;
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
                          const Offer& offer, Span<const net::QueuePlace> queues) noexcept {
    return store.transact([&]() noexcept -> Result<void> {
        XPV_TRY(net::remove_leftovers(store));
        if (offer.multi_queue)
            XPV_TRY(store.write("multi-queue-num-queues", queues.size()));
        for (uint32_t i = 0; i < queues.size(); ++i)
            XPV_TRY(queues[i].write(store, QueueIndex{i}, queues.size()));
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
