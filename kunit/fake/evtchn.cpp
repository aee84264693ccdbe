// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

namespace xpv::fake {

Events::Events(Account& account) noexcept
    : account_{account}, table_{static_cast<xpv_evtchn*>(
                             xpv_test_alloc(max_ports * sizeof(xpv_evtchn)))} {}

Events::~Events() { xpv_test_free(table_); }

uint32_t Events::offer_by_peer() noexcept {
    if (next_ == max_ports) {
        XPV_FAKE_FAIL("out of event channels: a test makes too many");
        return 0;
    }
    table_[next_].port = next_;
    table_[next_].offered = true;
    return next_++;
}

xpv_evtchn* Events::any(uint32_t port) noexcept {
    return port != 0 && port < next_ ? &table_[port] : nullptr;
}

xpv_evtchn* Events::at(uint32_t port) noexcept {
    xpv_evtchn* channel = any(port);
    return channel != nullptr && channel->bound ? channel : nullptr;
}

uint32_t Events::nth_port(uint32_t n) const noexcept {
    for (uint32_t port = 1; port < next_; ++port)
        if (table_[port].ours && n-- == 0)
            return port;
    return 0;
}

void Events::run(xpv_evtchn& channel) noexcept {
    channel.pending = false;
    channel.silent = true;
    ++channel.handled;
    const In interrupt{account_, Context::Hardirq};
    channel.handler(channel.context);
}

bool Events::raise(uint32_t port) noexcept {
    xpv_evtchn* channel = at(port);
    if (channel == nullptr)
        return false;
    ++channel->raised;
    channel->pending = true;
    if (channel->silent)
        return false;
    run(*channel);
    return true;
}

uint32_t Events::deliver() noexcept {
    uint32_t ran = 0;
    for (uint32_t port = 1; port < next_; ++port)
        if (table_[port].bound && table_[port].pending && !table_[port].silent) {
            run(table_[port]);
            ++ran;
        }
    return ran;
}

uint32_t Events::notified() const noexcept {
    uint32_t sum = 0;
    for (uint32_t port = 1; port < next_; ++port)
        sum += table_[port].notified;
    return sum;
}

uint32_t Events::owed() const noexcept {
    uint32_t sum = 0;
    for (uint32_t port = 1; port < next_; ++port)
        sum += table_[port].bound && table_[port].silent ? 1 : 0;
    return sum;
}

// ---- upcalls -------------------------------------------------------------------

xpv_evtchn* Events::take(const char* name, xpv_evtchn_handler handler, void* context,
                         uint32_t port) noexcept {
    xpv_evtchn& channel = table_[port];
    channel.handler = handler;
    channel.context = context;
    for (uint32_t i = 0; i + 1 < sizeof(channel.name) && name[i] != '\0'; ++i)
        channel.name[i] = name[i];
    channel.port = port;
    channel.bound = true;
    channel.offered = false;
    account_.channels.take();
    return &channel;
}

int Events::offer(const char* name, xpv_evtchn_handler handler, void* context, xpv_evtchn** channel,
                  uint32_t* port) noexcept {
    account_.enter(Call::Offer, Context::Process);
    if (const int code = account_.inject(Call::Offer, -28); code != 0)
        return code;
    if (next_ == max_ports)
        return -28;
    *port = next_++;
    *channel = take(name, handler, context, *port);
    (*channel)->ours = true;
    return 0;
}

int Events::bind(uint32_t port, const char* name, xpv_evtchn_handler handler, void* context,
                 xpv_evtchn** channel) noexcept {
    account_.enter(Call::Bind, Context::Process);
    if (const int code = account_.inject(Call::Bind, -22); code != 0)
        return code;
    if (any(port) == nullptr || !table_[port].offered)
        return -22;
    *channel = take(name, handler, context, port);
    return 0;
}

void Events::unbind(xpv_evtchn* channel) noexcept {
    account_.enter(Call::Unbind, Context::Process);
    if (channel == nullptr || !channel->bound) {
        XPV_FAKE_FAIL("an event channel is unbound that is not bound");
        return;
    }
    channel->bound = false;
    channel->offered = !channel->ours; // the peer's end waits for us again, as in Xen
    channel->pending = false;
    channel->silent = false;
    account_.channels.give();
}

void Events::notify(xpv_evtchn* channel) noexcept {
    account_.enter(Call::Notify, Context::Hardirq);
    if (channel == nullptr || !channel->bound) {
        XPV_FAKE_FAIL("a notification through an event channel that is not bound");
        return;
    }
    ++channel->notified;
    if (on_notify_ != nullptr)
        on_notify_(on_notify_context_, channel->port);
}

void Events::eoi(xpv_evtchn* channel, bool spurious) noexcept {
    account_.enter(Call::Eoi, Context::Hardirq);
    if (channel == nullptr || !channel->bound || !channel->silent) {
        XPV_FAKE_FAIL("an EOI that nobody owes");
        return;
    }
    channel->silent = false;
    ++channel->eois;
    channel->spurious += spurious ? 1 : 0;
}

} // namespace xpv::fake

using xpv::fake::world;

int xpv_evtchn_offer(xpv_xenbus*, const char* name, xpv_evtchn_handler handler, void* context,
                     xpv_evtchn** channel, uint32_t* port) {
    return world().events.offer(name, handler, context, channel, port);
}
int xpv_evtchn_bind(xpv_xenbus*, uint32_t peer_port, const char* name, xpv_evtchn_handler handler,
                    void* context, xpv_evtchn** channel) {
    return world().events.bind(peer_port, name, handler, context, channel);
}
void xpv_evtchn_unbind(xpv_evtchn* channel) { world().events.unbind(channel); }
void xpv_evtchn_notify(xpv_evtchn* channel) { world().events.notify(channel); }
void xpv_evtchn_eoi(xpv_evtchn* channel, bool spurious) { world().events.eoi(channel, spurious); }
