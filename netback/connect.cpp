// SPDX-License-Identifier: GPL-2.0-only
// What both ends tell each other before the first packet: io/netif.h, "Feature
// negotiation"; and the queues that come of it.
#include "net/features.hpp"
#include "netback/device.hpp"

namespace xpv::netback {
namespace {
constexpr uint32_t max_retired_maps = 8;
} // namespace

// Everything in one transaction, before the state says InitWait.
Result<void> Device::advertise() noexcept {
    const bool up = xpv_netback_os_link(os_);
    const Result<void> written = store().transact([&]() noexcept -> Result<void> {
        XPV_TRY(store().write("carrier", up));
        return net::write_features(store(), Role::Back, settings_.net);
    });
    if (written.ok())
        link_ = up;
    return written;
}

Result<void> Device::make_queue(uint32_t index, uint32_t count, const xpv_net_features& features,
                                bool map) noexcept {
    net::QueuePlace place;
    XPV_TRY_SET(place, net::QueuePlace::read(store(), QueueIndex{index}, count));
    void* memory = xpv_alloc(sizeof(xpv_netback_queue));
    if (memory == nullptr)
        return Error::NoMemory;
    queues_[index] = new (memory) xpv_netback_queue{bus(),
                                                    faults(),
                                                    QueueIndex{index},
                                                    place,
                                                    net::permitted(settings_.net).gso_v4,
                                                    features.rx_notify,
                                                    rates_};
    queue_count_ = index + 1;
    if (const Result<void> mapped = queues_[index]->open(map); !mapped.ok()) {
        xpv_log(bus(), XPV_LOG_ERR, "queue %u: cannot use rings tx %u rx %u: error %d", index,
                place.tx_ref.number(), place.rx_ref.number(), to_errno(mapped));
        return mapped;
    }
    return {};
}

// All queues or none: a failure leaves the undoing to disconnect().
Result<void> Device::connect() noexcept {
    disconnect();
    read_rate();
    show_link();
    uint32_t count = 0;
    XPV_TRY_SET(count, store().optional(XPV_XS_PEER, "multi-queue-num-queues", 1,
                                        settings_.net.max_queues, 1));
    xpv_net_features features{};
    XPV_TRY_SET(features, net::read_features(store(), Role::Back, settings_.net));

    // Each map that a former connection left behind holds as many frames as a ring has
    // slots, for as long as somebody in the stack keeps one packet of it. A guest that
    // has connections leave them over and over is copied.
    const uint32_t retired = settings_.map ? xpv_netback_os_retired(os_) : 0;
    for (uint32_t i = 0; i < count; ++i) {
        const bool map = settings_.map && (retired == 0 || retired + i < max_retired_maps);
        XPV_TRY(make_queue(i, count, features, map));
    }
    // Pollers before channels: an event may come while it is being bound.
    netback_queue* shim[XPV_NET_MAX_QUEUES] = {};
    xpv_netback_map* maps[XPV_NET_MAX_QUEUES] = {};
    for (uint32_t i = 0; i < count; ++i)
        maps[i] = reinterpret_cast<xpv_netback_map*>(queues_[i]->map);
    XPV_TRY(check(xpv_netback_os_attach(os_, &features, count, queues_, maps, shim)));
    attached_ = true;
    for (uint32_t i = 0; i < count; ++i) {
        const net::QueuePlace& place = queues_[i]->place;
        if (const Result<void> bound = queues_[i]->bind(shim[i]); !bound.ok()) {
            xpv_log(bus(), XPV_LOG_ERR,
                    "queue %u: cannot bind event channels tx %u rx %u: error %d", i,
                    place.tx_port.number(), place.rx_port.number(), to_errno(bound));
            return bound;
        }
    }
    xpv_netback_os_start(os_);
    return {};
}

// Also what a failure left half made. The order is net/teardown.h's.
void Device::disconnect() noexcept {
    if (queue_count_ != 0) {
        show_carrier(false);
        xpv_netback_os_stop(os_);
        for (uint32_t i = 0; i < queue_count_; ++i)
            queues_[i]->unbind();
        xpv_netback_os_detach(os_);
    }
    for (uint32_t i = 0; i < queue_count_; ++i) {
        if (!attached_)
            TxMap::destroy(queues_[i]->map);
        queues_[i]->~xpv_netback_queue();
        xpv_free(queues_[i]);
        queues_[i] = nullptr;
    }
    queue_count_ = 0;
    attached_ = false;
}

} // namespace xpv::netback
