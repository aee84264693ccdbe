// SPDX-License-Identifier: GPL-2.0-only
// A connection made and given up; core/end.hpp says when.
#include "netfront/device.hpp"

namespace xpv::netfront {

Result<void> Device::connect() noexcept {
    Offer offer;
    {
        const Result<Offer> read = read_offer(store(), settings_.net, atomic_load(&wanted_queues_));
        if (!read.ok()) {
            if (read.error() == Error::Unsupported)
                xpv_log(bus(), XPV_LOG_ERR, "the backend lacks feature-rx-copy, which is needed");
            return read.error();
        }
        offer = read.value();
    }
    features_ = offer.features;
    XPV_TRY(make_queues(offer.queues));

    xpv_netfront_queue* handles[XPV_NET_MAX_QUEUES];
    net::QueuePlace at[XPV_NET_MAX_QUEUES];
    for (uint32_t i = 0; i < queue_count_; ++i) {
        Queue& queue = *queues_[i];
        handles[i] = static_cast<xpv_netfront_queue*>(&queue);
        at[i] = {queue.tx.ref(), queue.rx.ref(), queue.tx_gate().port(), queue.rx_gate().port()};
    }
    const uint32_t mtu = new_mtu();
    XPV_TRY(check(xpv_netfront_os_start(os_, queue_count_, handles, &features_, mtu)));
    mtu_applied(mtu);
    return write_answer(store(), settings_.net, offer,
                        Span<const net::QueuePlace>{at, queue_count_});
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
