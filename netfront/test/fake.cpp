// SPDX-License-Identifier: GPL-2.0-only
#include "netfront/test/fake.hpp"

#include "kunit/each.hpp"

using namespace xpv;
using fake::Account;
using fake::Call;
using fake::Context;
using fake::Frontend;
using fake::In;
using fake::Wire;
using fake::world;

// ---- upcalls -------------------------------------------------------------------

void xpv_netfront_os_schedule(xpv_netfront_os* os, uint32_t index) { ++os->scheduled[index]; }

void xpv_netfront_os_tx_done(xpv_netfront_os* os, uint32_t, uint32_t count, void* const* packets,
                             uint32_t bytes) {
    if ((count == 0 && bytes == 0) || count > XPV_NETFRONT_BATCH)
        XPV_FAKE_FAIL("%u packets handed back", count);
    os->done_bytes += bytes;
    for (uint32_t i = 0; i < count; ++i)
        os->done[os->done_count++ % 256] =
            static_cast<uint16_t>(reinterpret_cast<uintptr_t>(packets[i]));
    os->held.give(count);
}

int xpv_netfront_os_start(xpv_netfront_os* os, uint32_t count, xpv_netfront_queue* const* queues,
                          const xpv_net_features* features, uint32_t mtu) {
    Account& account = world().account;
    account.enter(fake::call_start, Context::Process);
    if (os->started)
        XPV_FAKE_FAIL("started twice");
    os->started = true; // release undoes a half start, too
    if (const int code = account.inject(fake::call_start, -12); code != 0)
        return code;
    ++os->starts;
    os->stopped = false;
    os->queues = count;
    for (uint32_t i = 0; i < count; ++i)
        os->queue[i] = queues[i];
    os->features = *features;
    if (mtu != 0) {
        os->mtu = mtu;
        ++os->mtus;
    }
    return 0;
}

void xpv_netfront_os_announce(xpv_netfront_os* os) {
    if (os->stopped)
        XPV_FAKE_FAIL("announced while stopped");
    ++os->announced;
}

void xpv_netfront_os_link(xpv_netfront_os* os, bool up) { os->carrier = up; }

void xpv_netfront_os_stop(xpv_netfront_os* os) {
    os->carrier = false;
    os->stopped = true;
    for (auto& queue : os->queue) {
        if (queue != nullptr)
            xpv_netfront_tx_release(queue);
        queue = nullptr;
    }
    if (os->held.outstanding() != 0)
        XPV_FAKE_FAIL("stopped, but owners wait for %u packets", os->held.outstanding());
}

void xpv_netfront_os_release(xpv_netfront_os* os) {
    if (!os->stopped)
        XPV_FAKE_FAIL("released while it runs");
    if (os->pool.outstanding() != 0)
        XPV_FAKE_FAIL("released with %u pages out", os->pool.outstanding());
    os->started = false;
    os->queues = 0;
}

uint32_t xpv_netfront_os_pages_get(xpv_netfront_os* os, uint32_t, uint32_t count,
                                   xpv_page** pages) {
    Account& account = world().account;
    account.enter(fake::call_pages, Context::Softirq);
    for (uint32_t i = 0; i < count; ++i) {
        pages[i] = account.inject(fake::call_pages, 1) != 0
                       ? nullptr
                       : world().memory.page_alloc(XPV_ALLOC_ATOMIC);
        if (pages[i] == nullptr)
            return i;
        os->pool.take();
    }
    return count;
}

void xpv_netfront_os_pages_put(xpv_netfront_os* os, uint32_t, uint32_t count,
                               xpv_page* const* pages) {
    for (uint32_t i = 0; i < count; ++i)
        world().memory.page_free(pages[i]);
    os->pool.give(count);
}

void xpv_netfront_os_page_detach(xpv_netfront_os* os, uint32_t, xpv_page*) { os->pool.give(); }

// ---- the device ----------------------------------------------------------------

namespace xpv::fake {

Frontend::Frontend(uint32_t queues) noexcept {
    world.account.watch(os.pool);
    world.account.watch(os.held);
    world.ends.on_wait(backend_lets_go, this);
    settings = {{queues, true, true, true, true}, 256, 0};
    Folder& peer = world.bus.peer;
    for (const char* feature :
         test::each("feature-rx-copy", "feature-sg", "feature-gso-tcpv4", "feature-gso-tcpv6",
                    "feature-ipv6-csum-offload", "feature-split-event-channels", "online"))
        peer.set(feature, 1);
    peer.set("multi-queue-max-queues", 8);
    peer_state(XenbusStateInitWait);
    world.bus.own.set("mac", "00:16:3e:00:00:01");
}

Frontend::~Frontend() { remove(); }

bool Frontend::create() noexcept {
    device = xpv_netfront_create(&world.bus, &os, &settings);
    return device != nullptr;
}

int Frontend::handle(xpv_event event) noexcept { return xpv_netfront_handle(device, event); }

bool Frontend::connect() noexcept {
    if (device == nullptr && !create())
        return false;
    if (handle(XPV_PROBED) != 0 || !os.started) {
        XPV_FAKE_FAIL("no connection");
        return false;
    }
    peer_state(XenbusStateConnected);
    handle(XPV_CHANGED);
    for (uint32_t i = 0; i < os.queues; ++i)
        Poll::run(*this, i); // posts the buffers
    return true;
}

bool Frontend::settle_down() noexcept {
    for (uint32_t i = 0; i < 10; ++i) {
        switch (node("state")) {
        case XenbusStateInitialising:
            peer_state(XenbusStateInitWait);
            break;
        case XenbusStateConnected:
            if (world.bus.peer.number("state") == XenbusStateConnected && os.started)
                return true;
            peer_state(XenbusStateConnected);
            break;
        case XenbusStateClosing:
            world.settle();
            peer_state(XenbusStateClosing);
            break;
        default:
            peer_state(XenbusStateClosed);
            break;
        }
        handle(XPV_CHANGED);
    }
    XPV_FAKE_FAIL("the two ends do not come together, ours is in state %u", node("state"));
    return false;
}

void Frontend::remove() noexcept {
    if (device == nullptr)
        return;
    handle(XPV_REMOVE);
    if (os.started || !os.stopped)
        XPV_FAKE_FAIL("removed, but not stopped");
    xpv_netfront_destroy(device);
    device = nullptr;
}

// A backend that behaves: it unmaps all it has and follows our state.
bool Frontend::backend_lets_go(void* context, uint16_t) noexcept {
    Frontend& vif = *static_cast<Frontend*>(context);
    vif.world.grants.let_go_all();
    const uint32_t ours = vif.node("state");
    vif.peer_state(ours == XenbusStateClosed ? XenbusStateClosed : XenbusStateClosing);
    return true;
}

// ---- the backend's end of a queue ------------------------------------------------

namespace {

uint32_t node_of(Frontend& vif, uint32_t index, const char* name) noexcept {
    const char digit = static_cast<char>('0' + index % 10);
    char key[48] = "queue-";
    uint32_t n = 6;
    if (vif.node("multi-queue-num-queues") <= 1 || vif.node("multi-queue-num-queues") > 64) {
        n = 0;
    } else {
        if (index >= 10)
            key[n++] = static_cast<char>('0' + index / 10);
        key[n++] = digit;
        key[n++] = '/';
    }
    while (*name != '\0')
        key[n++] = *name++;
    key[n] = '\0';
    return vif.node(key);
}

uint32_t port_of(Frontend& vif, uint32_t index, const char* split) noexcept {
    const uint32_t port = node_of(vif, index, split);
    return port != ~uint32_t{0} ? port : node_of(vif, index, "event-channel");
}

void* ring_of(Frontend& vif, uint32_t index, const char* name) noexcept {
    uint8_t* bytes = vif.world.grants.map(World::peer_domid, node_of(vif, index, name), true);
    if (bytes == nullptr)
        XPV_FAKE_FAIL("%s of queue %u is not granted", name, index);
    return bytes;
}

} // namespace

Wire::Wire(Frontend& of, uint32_t index) noexcept
    : vif{of}, tx_port{port_of(of, index, "event-channel-tx")}, rx_port{port_of(
                                                                    of, index, "event-channel-rx")},
      tx{ring_of(of, index, "tx-ring-ref"), 12, 256}, rx{ring_of(of, index, "rx-ring-ref"), 8,
                                                         256} {}

bool Wire::take_packet(Packet& packet, uint8_t* bytes) noexcept {
    packet = {};
    if (tx.requests() == 0)
        return false;
    uint32_t lengths[24] = {};
    uint32_t refs[24] = {};
    uint16_t offsets[24] = {};
    uint32_t count = 0;
    uint32_t others = 0;
    for (bool more = true; more;) {
        if (tx.requests() == 0 || count == 24) {
            XPV_FAKE_FAIL("a packet without end");
            return false;
        }
        const auto request = tx.take<net::TxRequest>();
        ++packet.slots;
        if (count == 0) {
            packet.flags = request.flags;
            packet.size = request.size;
        } else {
            others += request.size;
        }
        lengths[count] = request.size;
        refs[count] = request.gref;
        offsets[count] = request.offset;
        packet.ids[count++] = request.id;
        if (count == 1 && request.flags & NETTXF_extra_info) {
            net::ExtraInfo extra;
            do {
                extra = tx.take<net::ExtraInfo>();
                packet.extra = extra;
                ++packet.extras;
                ++packet.slots;
            } while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE);
        }
        more = request.flags & NETTXF_more_data;
    }
    if (others >= packet.size)
        XPV_FAKE_FAIL("the first slot says %u, the others hold %u", packet.size, others);
    lengths[0] = packet.first = packet.size - others;
    if (packet.first < 14 || packet.slots > 18)
        XPV_FAKE_FAIL("%u bytes in the first slot, %u slots", packet.first, packet.slots);
    for (uint32_t i = 0; i < count; ++i) {
        if (vif.world.grants.read(World::peer_domid, refs[i], offsets[i], bytes + packet.length,
                                  lengths[i]) != GNTST_okay ||
            !vif.world.grants.readonly(refs[i]))
            XPV_FAKE_FAIL("slot %u cannot be read, or can be written", i);
        packet.length += lengths[i];
    }
    return true;
}

void Wire::answer_tx(uint16_t id, int16_t status) noexcept {
    net::TxResponse response{};
    response.id = id;
    response.status = status;
    tx.push(response);
}

void Wire::answer(const Packet& packet, int16_t status) noexcept {
    for (uint32_t i = 0; i < packet.slots - packet.extras; ++i) {
        answer_tx(packet.ids[i], status);
        if (i == 0)
            for (uint32_t k = 0; k < packet.extras; ++k)
                answer_tx(0xffff, NETIF_RSP_NULL);
    }
}

bool Wire::publish_tx() noexcept { return tx.publish() && (vif.world.events.raise(tx_port), true); }

uint32_t Wire::serve_tx() noexcept {
    static uint8_t bytes[65536 + 4096];
    Packet packet;
    uint32_t served = 0;
    for (; take_packet(packet, bytes); ++served)
        answer(packet);
    publish_tx();
    return served;
}

uint32_t Wire::next_ref() const noexcept { return rx.raw.read<net::RxRequest>(rx.rsp_prod).gref; }

void Wire::give(int16_t status, uint16_t flags, uint16_t offset, uint8_t value) noexcept {
    if (status > 0 && offset + status <= 4096) {
        uint8_t bytes[64];
        __builtin_memset(bytes, value, sizeof(bytes));
        for (uint32_t done = 0; done < static_cast<uint32_t>(status); done += 64)
            vif.world.grants.write(World::peer_domid, next_ref(), offset + done, bytes,
                                   min<uint32_t>(64, static_cast<uint32_t>(status) - done));
    }
    net::RxResponse response{};
    response.id = 0xabcd; // frontends go by the slot
    response.offset = offset;
    response.flags = flags;
    response.status = status;
    rx.push(response);
}

void Wire::give_extra(uint8_t type, uint8_t flags, uint8_t gso_type, uint16_t gso_size) noexcept {
    net::ExtraInfo extra{};
    extra.type = type;
    extra.flags = flags;
    extra.u.gso.type = gso_type;
    extra.u.gso.size = gso_size;
    rx.push(extra);
}

void Wire::give_packet(uint32_t length, uint16_t flags, uint32_t each) noexcept {
    for (uint32_t done = 0; done < length;) {
        const uint32_t part = min(each, length - done);
        static uint8_t bytes[page_size];
        for (uint32_t i = 0; i < part; ++i)
            bytes[i] = pattern(done + i);
        if (vif.world.grants.write(World::peer_domid, next_ref(), 0, bytes, part) != GNTST_okay)
            XPV_FAKE_FAIL("a posted page cannot be written");
        net::RxResponse response{};
        response.status = static_cast<int16_t>(part);
        response.flags = done == 0 ? flags : uint16_t{0};
        if (done + part < length)
            response.flags |= NETRXF_more_data;
        rx.push(response);
        done += part;
    }
}

bool Wire::publish_rx() noexcept { return rx.publish() && (vif.world.events.raise(rx_port), true); }

// ---- the shim at work --------------------------------------------------------------

Poll Poll::run(Frontend& vif, uint32_t index, uint32_t max, bool check) noexcept {
    const In in{vif.world.account, Context::Softirq};
    Poll poll;
    const xpv_netfront_packet* packets = nullptr;
    poll.packets = xpv_netfront_rx_poll(vif.queue(index), max, &packets);
    for (uint32_t i = 0; i < poll.packets; ++i) {
        const xpv_netfront_packet& packet = packets[i];
        uint32_t sum = 0;
        for (uint32_t k = 0; k < packet.pieces; ++k) {
            const xpv_netfront_piece& piece = packet.piece[k];
            const auto* bytes = static_cast<const uint8_t*>(xpv_page_address(piece.page));
            if (piece.length == 0 || piece.offset + piece.length > 4096)
                XPV_FAKE_FAIL("a piece at %u of %u bytes", piece.offset, piece.length);
            for (uint32_t b = 0; check && b < piece.length; ++b)
                poll.wrong += bytes[piece.offset + b] != Wire::pattern(sum + b);
            sum += piece.length;
            if (!packet.copy && piece.page->grants != 0)
                XPV_FAKE_FAIL("a page goes up that the backend can write");
            if (!packet.copy)
                xpv_netfront_os_pages_put(&vif.os, index, 1, &piece.page);
        }
        if (sum != packet.length || packet.piece[0].length < 14)
            XPV_FAKE_FAIL("%u bytes in a packet of %u", sum, packet.length);
        poll.bytes += sum;
        poll.pieces += packet.pieces;
        poll.copied += packet.copy;
        poll.offload = packet.offload;
        poll.length = packet.length;
    }
    poll.enough = xpv_netfront_rx_refill(vif.queue(index));
    return poll;
}

uint32_t send(Frontend& vif, const uint8_t* bytes, uint32_t length, xpv_offload offload, bool more,
              uint32_t index, bool ipv6) noexcept {
    const In in{vif.world.account, Context::Softirq};
    const xpv_bytes run{bytes, length};
    return xpv_netfront_tx(vif.queue(index), &run, 1, length, offload,
                           {nullptr, false, ipv6, more});
}

uint32_t send_owned(Frontend& vif, const uint8_t* bytes, uint32_t length, uintptr_t number,
                    bool at_limit, bool more) noexcept {
    const In in{vif.world.account, Context::Softirq};
    const xpv_bytes run{bytes, length};
    if (number != 0)
        vif.os.held.take();
    const uint32_t result = xpv_netfront_tx(
        vif.queue(), &run, 1, length, {}, {reinterpret_cast<void*>(number), at_limit, false, more});
    if (number != 0 && (result & XPV_NETFRONT_TX_DROPPED))
        vif.os.held.give();
    return result;
}

bool poll_tx(Frontend& vif, uint32_t index, bool late) noexcept {
    const In in{vif.world.account, Context::Softirq};
    return xpv_netfront_tx_poll(vif.queue(index), late);
}

bool idle(Frontend& vif, uint32_t index) noexcept {
    const In in{vif.world.account, Context::Softirq};
    const xpv_netfront_events events = xpv_netfront_begin(vif.queue(index));
    const bool dry = xpv_netfront_idle(vif.queue(index));
    if (dry)
        xpv_netfront_done(vif.queue(index), events);
    return dry;
}

uint8_t packet_bytes[65600];
uint8_t seen[65600 + page_size];

void fill(uint32_t seed) noexcept {
    for (uint32_t i = 0; i < sizeof(packet_bytes); ++i)
        packet_bytes[i] = static_cast<uint8_t>((i + seed) * 31 + (i >> 8));
}

} // namespace xpv::fake
