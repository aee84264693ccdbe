// SPDX-License-Identifier: GPL-2.0-only
// Queues, broken devices, and the downcalls of abi.h.
#include "netfront/device.hpp"

namespace xpv::netfront {

static_assert(XPV_NETFRONT_RING == net::ring_slots);
static_assert(XPV_NETFRONT_MAX_MTU == net::max_packet - net::ethernet_header - 4);
static_assert(XPV_NETFRONT_MAX_COPYBREAK <= page_size);

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

// "aa:bb:cc:dd:ee:ff" of a single station; Invalid otherwise.
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

} // namespace

Queue::Queue(Device& device, QueueIndex index) noexcept
    : tx{*this}, rx{*this}, device_{device}, index_{index} {}

// Hard interrupts.
void Queue::schedule(uint32_t) noexcept { xpv_netfront_os_schedule(device_.os(), index_.number()); }

// Transmit is armed under its lock; its events are paid for here, too.
bool Queue::idle() noexcept {
    if (device_.broken())
        return true;
    if (!rx.arm())
        return false;
    const bool received = rx.take_found();
    const bool sent = tx.take_found();
    if (received || (sent && !split_))
        gate_.found();
    if (sent && split_)
        tx_gate_.found();
    return true;
}

void Queue::done(xpv_netfront_events events) noexcept {
    if (device_.broken())
        return; // the backend has nothing more to say
    gate_.done(poller, events.rx);
    if (split_)
        tx_gate_.done(poller, events.tx);
}

void Device::announce() noexcept {
    xpv_netfront_os_announce(os_);
    link_ = read_link();
    if (!link_)
        xpv_log(bus(), XPV_LOG_INFO, "the backend's link is down");
    xpv_netfront_os_link(os_, link_);
}

void Device::look_again() noexcept {
    const bool up = read_link();
    if (up == link_)
        return;
    link_ = up;
    xpv_log(bus(), XPV_LOG_INFO, "the backend's link is %s", up ? "up again" : "down");
    xpv_netfront_os_link(os_, up);
}

uint32_t Device::new_mtu() const noexcept {
    const uint32_t mtu =
        store()
            .optional(XPV_XS_OWN, "mtu", XPV_NETFRONT_MIN_MTU, XPV_NETFRONT_MAX_MTU, 0)
            .value_or(0);
    return mtu != mtu_ ? mtu : 0;
}

} // namespace xpv::netfront

using xpv::Span;

xpv_netfront* xpv_netfront_create(xpv_xenbus* bus, xpv_netfront_os* os,
                                  const xpv_netfront_settings* settings) {
    void* const memory = xpv_alloc(sizeof(xpv_netfront));
    return memory == nullptr ? nullptr : new (memory) xpv_netfront{bus, os, *settings};
}

void xpv_netfront_destroy(xpv_netfront* device) {
    if (device != nullptr)
        device->~xpv_netfront();
    xpv_free(device);
}

int xpv_netfront_identity(xpv_netfront* device, uint8_t mac[6], uint32_t* mtu) {
    char text[32];
    const int length = xpv_xs_read(device->bus(), XPV_XS_OWN, "mac", text, sizeof(text));
    const auto parsed = length < 0 ? xpv::check(length) : xpv::netfront::parse_mac(text, mac);
    if (!parsed.ok()) {
        xpv_log(device->bus(), XPV_LOG_ERR,
                "mac is missing or not the address of a station, such as 00:16:3e:12:34:56");
        return to_errno(parsed);
    }
    *mtu = device->new_mtu();
    device->mtu_applied(*mtu);
    return 0;
}

int xpv_netfront_handle(xpv_netfront* device, xpv_event event) { return device->handle(event); }

bool xpv_netfront_want_queues(xpv_netfront* device, uint32_t queues) {
    return device->want_queues(queues);
}

uint32_t xpv_netfront_copybreak(const xpv_netfront* device) { return device->copybreak(); }

void xpv_netfront_set_copybreak(xpv_netfront* device, uint32_t bytes) {
    device->set_copybreak(bytes);
}

xpv_netfront_counters* xpv_netfront_queue_counters(xpv_netfront* device, uint32_t index) {
    return &device->counters(xpv::QueueIndex{index});
}

bool xpv_netfront_view(xpv_netfront* device, uint32_t index, xpv_netfront_rings* rings) {
    const xpv::netfront::Queue* const queue = device->queue(index);
    if (queue == nullptr)
        return false;
    rings->split = queue->split();
    queue->tx.view(rings->tx);
    queue->rx.view(rings->rx);
    return true;
}

uint32_t xpv_netfront_tx(xpv_netfront_queue* queue, const xpv_bytes* runs, uint32_t count,
                         uint32_t total, xpv_offload offload, xpv_netfront_send send) {
    return queue->tx.send(Span<const xpv_bytes>{runs, count}, total, offload, send);
}

bool xpv_netfront_tx_due(const xpv_netfront_queue* queue) { return queue->tx.due(); }

bool xpv_netfront_tx_poll(xpv_netfront_queue* queue, bool late) { return queue->tx.poll(late); }

uint32_t xpv_netfront_tx_wait_ms(const xpv_netfront_queue* queue) { return queue->tx.wait_ms(); }

void xpv_netfront_tx_timeout(xpv_netfront_queue* queue, uint32_t still_ms) {
    queue->tx.timeout(still_ms);
}

void xpv_netfront_tx_release(xpv_netfront_queue* queue) { queue->tx.release(); }

uint32_t xpv_netfront_rx_poll(xpv_netfront_queue* queue, uint32_t max,
                              const xpv_netfront_packet** packets) {
    return queue->rx.poll(max, packets);
}

bool xpv_netfront_rx_refill(xpv_netfront_queue* queue) { return queue->rx.refill(); }

xpv_netfront_events xpv_netfront_begin(const xpv_netfront_queue* queue) { return queue->begin(); }

bool xpv_netfront_idle(xpv_netfront_queue* queue) { return queue->idle(); }

void xpv_netfront_done(xpv_netfront_queue* queue, xpv_netfront_events events) {
    queue->done(events);
}
