// SPDX-License-Identifier: GPL-2.0-only
#include "net/features.hpp"

#include "core/std.hpp"

namespace xpv::net {
namespace {

using Member = bool xpv_net_features::*;

enum class Says : uint8_t { Both, Front, Back };

struct Feature {
    const char* node;
    Member member;
    bool inverted; // the node says that it is not there
    Says says;     // who writes the node, for the other to read
    Member needs[2];
};

// What is needed stands before what needs it. A GSO packet is several slots, and comes
// without checksums.
constexpr Feature features[] = {
    {"feature-sg", &xpv_net_features::sg, false, Says::Both, {}},
    {"feature-no-csum-offload", &xpv_net_features::csum_v4, true, Says::Both, {}},
    {"feature-ipv6-csum-offload", &xpv_net_features::csum_v6, false, Says::Both, {}},
    {"feature-gso-tcpv4",
     &xpv_net_features::gso_v4,
     false,
     Says::Both,
     {&xpv_net_features::sg, &xpv_net_features::csum_v4}},
    {"feature-gso-tcpv6",
     &xpv_net_features::gso_v6,
     false,
     Says::Both,
     {&xpv_net_features::sg, &xpv_net_features::csum_v6}},
    {"feature-split-event-channels", &xpv_net_features::split, false, Says::Back, {}},
    {"feature-rx-notify", &xpv_net_features::rx_notify, false, Says::Front, {}},
};

bool says(const Feature& feature, Role role) noexcept {
    return feature.says == Says::Both || (feature.says == Says::Front) == (role == Role::Front);
}

bool has_needs(const Feature& feature, const xpv_net_features& has) noexcept {
    for (const Member needed : feature.needs)
        if (needed != nullptr && !(has.*needed))
            return false;
    return true;
}

// Copying is the only mode that we serve, at either end; to change pages is history.
Result<void> need_copy(const Xenstore& store, Role role) noexcept {
    const Result<uint32_t> copy = store.require(
        XPV_XS_PEER, role == Role::Front ? "feature-rx-copy" : "request-rx-copy", 1, 1);
    if (copy.ok())
        return {};
    const bool said = copy.error() == Error::NoEntry || copy.error() == Error::Range;
    return said ? Error::Unsupported : copy.error();
}

} // namespace

xpv_net_features permitted(const xpv_net_settings& settings) noexcept {
    const bool gso = settings.gso && settings.sg && settings.csum;
    return {.sg = settings.sg,
            .csum_v4 = settings.csum,
            .csum_v6 = settings.csum,
            .gso_v4 = gso,
            .gso_v6 = gso,
            .split = settings.split,
            .rx_notify = true};
}

Result<xpv_net_features> read_features(const Xenstore& store, Role role,
                                       const xpv_net_settings& settings) noexcept {
    XPV_TRY(need_copy(store, role));
    const Role other = role == Role::Front ? Role::Back : Role::Front;
    const xpv_net_features may = permitted(settings);
    xpv_net_features has{};
    for (const Feature& feature : features)
        has.*feature.member = may.*feature.member && says(feature, other) &&
                              has_needs(feature, has) &&
                              store.flag(XPV_XS_PEER, feature.node) != feature.inverted;
    return has;
}

Result<void> write_features(const Xenstore& store, Role role,
                            const xpv_net_settings& settings) noexcept {
    const xpv_net_features may = permitted(settings);
    for (const Feature& feature : features)
        if (says(feature, role))
            XPV_TRY(store.write(feature.node, may.*feature.member != feature.inverted));
    if (role == Role::Front)
        return store.write("request-rx-copy", 1);
    XPV_TRY(store.write("feature-rx-copy", 1));
    XPV_TRY(store.write("feature-rx-flip", uint32_t{0}));
    return store.write("multi-queue-max-queues", settings.max_queues);
}

} // namespace xpv::net
