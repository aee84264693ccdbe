// SPDX-License-Identifier: GPL-2.0-only
// A connection made and given up; core/end.hpp says when.
#include "net/features.hpp"
#include "netfront/device.hpp"

namespace xpv::netfront {
namespace {

struct Offer {
    xpv_net_features features{};
    uint32_t queues = 1;      // to use
    bool multi_queue = false; // the backend reads multi-queue-num-queues
};

// Read the backend's folder. A node with rubbish counts as absent, which is logged.
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

} // namespace

Result<void> Queue::open(bool split) noexcept {
    split_ = split;
    XPV_TRY(tx.open());
    XPV_TRY(rx.open());
    const NodeName name{"vif", device_.settings().handle, "-q"};
    const NodeName name_rx{name.text(), index_.number(), split ? "-rx" : ""};
    xpv_netfront_counters& counters = device_.counters(index_);
    XPV_TRY(gate_.offer(device_.bus(), name_rx.text(), this, poller, counters.rx_events,
                        counters.rx_spurious));
    if (!split)
        return {};
    const NodeName name_tx{name.text(), index_.number(), "-tx"};
    return tx_gate_.offer(device_.bus(), name_tx.text(), this, poller, counters.tx_events,
                          counters.tx_spurious);
}

void Queue::close() noexcept {
    tx_gate_.close();
    gate_.close();
    tx.close();
    rx.close();
}

Result<void> Device::connect() noexcept {
    const Result<Offer> read = read_offer(store(), settings_.net, atomic_load(&wanted_queues_));
    if (!read.ok()) {
        if (read.error() == Error::Unsupported)
            xpv_log(bus(), XPV_LOG_ERR, "the backend lacks feature-rx-copy, which is needed");
        return read.error();
    }
    const Offer& offer = read.value();
    features_ = offer.features;
    XPV_TRY(make_queues(offer.queues));

    xpv_netfront_queue* handles[XPV_NET_MAX_QUEUES];
    for (uint32_t i = 0; i < queue_count_; ++i)
        handles[i] = static_cast<xpv_netfront_queue*>(queues_[i]);
    const uint32_t mtu = new_mtu();
    XPV_TRY(check(xpv_netfront_os_start(os_, queue_count_, handles, &features_, mtu)));
    mtu_applied(mtu);
    return write_answer(offer.multi_queue);
}

// Our folder in one transaction, without leftovers of a former connection that had another
// number of queues or kind of channels.
Result<void> Device::write_answer(bool multi_queue) const noexcept {
    return store().transact([&]() noexcept -> Result<void> {
        XPV_TRY(net::remove_leftovers(store()));
        if (multi_queue)
            XPV_TRY(store().write("multi-queue-num-queues", queue_count_));
        for (uint32_t i = 0; i < queue_count_; ++i)
            XPV_TRY(queues_[i]->place().write(store(), QueueIndex{i}, queue_count_));
        return net::write_features(store(), Role::Front, settings_.net);
    });
}

// As many of count queues as there are references and channels for, one at least.
Result<void> Device::make_queues(uint32_t count) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        void* const memory = xpv_alloc(sizeof(xpv_netfront_queue));
        Result<void> made = Error::NoMemory;
        Queue* queue = nullptr;
        if (memory != nullptr) {
            queue = new (memory) xpv_netfront_queue{*this, QueueIndex{i}};
            made = queue->open(features_.split);
        }
        if (made.ok()) {
            queues_[queue_count_++] = queue;
            continue;
        }
        if (queue != nullptr) {
            queue->close();
            queue->~Queue();
            xpv_free(memory);
        }
        if (i == 0)
            return made;
        xpv_log(bus(), XPV_LOG_WARN, "%u of %u queues: no more could be made (error %d)", i, count,
                to_errno(made));
        break;
    }
    return {};
}

void Device::disconnect() noexcept {
    xpv_netfront_os_stop(os_);
    while (queue_count_ > 0) {
        Queue* const queue = queues_[--queue_count_];
        queues_[queue_count_] = nullptr;
        queue->close();
        queue->~Queue();
        xpv_free(static_cast<xpv_netfront_queue*>(queue));
    }
    xpv_netfront_os_release(os_);
}

} // namespace xpv::netfront
