// SPDX-License-Identifier: GPL-2.0-only
#include "netback/test/fake.hpp"

#include "core/xenstore.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using namespace xpv::fake;

// ---- the shim --------------------------------------------------------------------

xpv_netback_os::xpv_netback_os(World& in) noexcept
    : world{in}, packets{static_cast<Received*>(xpv_test_alloc(max_received * sizeof(Received)))},
      held{static_cast<Held*>(xpv_test_alloc(max_received * sizeof(Held)))},
      batch_{static_cast<xpv_netback_tx_packet*>(
          xpv_test_alloc(XPV_NETBACK_BATCH * sizeof(xpv_netback_tx_packet)))},
      memory_{static_cast<uint8_t**>(xpv_test_alloc(XPV_NETBACK_BATCH * sizeof(uint8_t*)))} {}

xpv_netback_os::~xpv_netback_os() {
    world.account.at_each_call(nullptr, nullptr);
    world.account.fail_nothing();
    remove();
    all_done();
    reap_retired();
    for (const xpv_netback_map* map : retired)
        EXPECT(map == nullptr);
    forget();
    xpv_test_free(held);
    xpv_test_free(packets);
    xpv_test_free(batch_);
    xpv_test_free(memory_);
    EXPECT_EQ(attachments.outstanding(), 0u);
    EXPECT_EQ(buffers.outstanding(), 0u);
}

bool xpv_netback_os::create() noexcept {
    const uint32_t state = world.bus.peer.number("state", 0);
    if (state != 0)
        world.bus.peer.set("state", uint32_t{XenbusStateInitialising});
    device = xpv_netback_create(&world.bus, this, &settings);
    if (device == nullptr)
        return false;
    handle(XPV_CHANGED);
    if (state == 0 || state == XenbusStateInitialising)
        return true;
    world.bus.peer.set("state", state);
    handle(XPV_CHANGED);
    return true;
}

void xpv_netback_os::run_poke() noexcept {
    world.now_ms += world.ends.longest_ms();
    world.ends.run([this](xpv_event event) { handle(event); });
}

void xpv_netback_os::remove() noexcept {
    if (device == nullptr)
        return;
    handle(XPV_REMOVE);
    xpv_netback_destroy(device);
    device = nullptr;
}

// Head and pages of a packet as one run of memory: the head starts 100 bytes
// before a page boundary, each page is one.
void xpv_netback_os::keep(const xpv_netback_tx_packet& packet, uint8_t* memory,
                          xpv_netback_map* map) noexcept {
    Received& r = packets[received++ % max_received];
    xpv_test_free(r.bytes);
    r = Received{static_cast<uint8_t*>(xpv_test_alloc(packet.total)), packet.total, packet.head,
                 packet.pages, packet.offload};
    __builtin_memcpy(r.bytes, memory + page_size - 100, packet.head);
    uint32_t at = packet.head;
    for (uint32_t i = 0; i < packet.pages; ++i) {
        if (!EXPECT(at + packet.page_bytes[i] <= packet.total))
            return;
        __builtin_memcpy(r.bytes + at, memory + (2 + i) * page_size, packet.page_bytes[i]);
        at += packet.page_bytes[i];
    }
    for (uint32_t i = 0; i < packet.fragments; ++i) {
        const xpv_netback_tx_fragment& f = packet.fragment[i];
        if (!EXPECT(at + f.length <= packet.total && f.offset + f.length <= page_size) ||
            !EXPECT(f.page->bytes != nullptr))
            return;
        __builtin_memcpy(r.bytes + at, f.page->bytes + f.offset, f.length);
        at += f.length;
    }
    EXPECT_EQ(at, packet.total);
    if (packet.mapped == XPV_NETBACK_TX_COPIED)
        return;
    EXPECT(packet.mapped < 256 && packet.pages == 0);
    if (hold && held_count < max_received)
        held[held_count++] = Held{map, packet.mapped};
    else
        xpv_netback_tx_done(map, packet.mapped);
}

void xpv_netback_os::done(uint32_t i) noexcept {
    if (held[i].map == nullptr)
        return;
    xpv_netback_tx_done(held[i].map, held[i].mapped);
    held[i].map = nullptr;
}

void xpv_netback_os::all_done() noexcept {
    for (uint32_t i = 0; i < held_count; ++i)
        done(i);
    held_count = 0;
}

void xpv_netback_os::reap_retired() noexcept {
    for (xpv_netback_map*& map : retired)
        if (map != nullptr && xpv_netback_map_reap(map) == 0)
            map = nullptr;
}

uint32_t xpv_netback_os::tx_batch(uint32_t index, uint32_t max) noexcept {
    const In softirq{world.account, Context::Softirq};
    constexpr uint32_t bytes = (2 + XPV_NETBACK_TX_PAGES) * page_size;
    xpv_netback_queue* const core = queues[index].core;
    const uint32_t count = xpv_netback_tx_gather(core, batch_, max, map_above, &tx_hold_ns);
    EXPECT(count <= max);
    for (uint32_t i = 0; i < count; ++i) {
        xpv_netback_tx_packet& p = batch_[i];
        EXPECT(p.head >= 14 && p.head <= XPV_NETBACK_TX_HEAD_MAX && p.head <= p.total);
        EXPECT(p.pages <= XPV_NETBACK_TX_PAGES);
        p.targets = 0;
        memory_[i] = nullptr;
        if (starve)
            continue;
        memory_[i] = static_cast<uint8_t*>(world.memory.buffer(bytes));
        buffers.take();
        const uint64_t gfn = reinterpret_cast<uintptr_t>(memory_[i]) / page_size;
        const auto first = static_cast<uint16_t>(min<uint32_t>(p.head, 100));
        p.target[p.targets++] = xpv_netback_target{gfn, page_size - 100, first};
        if (first < p.head)
            p.target[p.targets++] =
                xpv_netback_target{gfn + 1, 0, static_cast<uint16_t>(p.head - first)};
        for (uint32_t j = 0; j < p.pages; ++j)
            p.target[p.targets++] = xpv_netback_target{gfn + 2 + j, 0, p.page_bytes[j]};
    }
    if (count > 0)
        xpv_netback_tx_execute(core, batch_, count);
    for (uint32_t i = 0; i < count; ++i) {
        if (batch_[i].good)
            keep(batch_[i], memory_[i], queues[index].map);
        if (memory_[i] != nullptr) {
            world.memory.buffer_free(memory_[i], bytes);
            buffers.give();
        }
    }
    return count;
}

bool xpv_netback_os::tx_idle(uint32_t index) noexcept {
    const In softirq{world.account, Context::Softirq};
    uint32_t event = 0;
    const bool kept = tx_hold_ns != 0;
    if (kept)
        xpv_netback_tx_hold(queues[index].core, &event);
    const bool again = !kept && xpv_netback_tx_stop(queues[index].core, &event);
    if (!again && !polled_on)
        xpv_netback_idle(queues[index].core, XPV_NETBACK_TX, event);
    return again;
}

void xpv_netback_os::tx_poll(uint32_t index) noexcept {
    queues[index].scheduled &= ~uint32_t{XPV_NETBACK_TX};
    for (uint32_t turns = 0; turns < 1000; ++turns)
        if (tx_batch(index) == 0 && !tx_idle(index))
            return;
    EXPECT(!"the poller never rests");
}

void xpv_netback_os::forget() noexcept {
    for (uint32_t i = 0; i < max_received; ++i) {
        xpv_test_free(packets[i].bytes);
        packets[i] = Received{};
    }
    received = 0;
}

uint32_t xpv_netback_os::rx_send(const xpv_netback_rx_packet* list, uint32_t count,
                                 uint32_t index) noexcept {
    const In softirq{world.account, Context::Softirq};
    return xpv_netback_rx_send(queues[index].core, list, count, &rx_hold_ns);
}

bool xpv_netback_os::rx_idle(bool waiting, uint32_t index) noexcept {
    const In softirq{world.account, Context::Softirq};
    queues[index].scheduled &= ~uint32_t{XPV_NETBACK_RX};
    xpv_netback_rx_stop(queues[index].core, waiting, &rest);
    if (!rest.again && !polled_on)
        xpv_netback_idle(queues[index].core, XPV_NETBACK_RX, rest.event);
    return rest.again;
}

bool xpv_netback_os::rx_starved(uint32_t waited_ms, uint32_t index) noexcept {
    const In softirq{world.account, Context::Softirq};
    return xpv_netback_rx_starved(queues[index].core, waited_ms, &limits);
}

// ---- upcalls: abi.h ---------------------------------------------------------------

int xpv_netback_os_attach(xpv_netback_os* vif, const xpv_net_features* features, uint32_t count,
                          xpv_netback_queue* const* queues, xpv_netback_map* const* maps,
                          netback_queue** shim) {
    vif->world.account.enter(Call::Driver0, Context::Process);
    if (const int code = vif->world.account.inject(Call::Driver0, -12); code != 0)
        return code;
    EXPECT_EQ(vif->queue_count, 0u);
    vif->features = *features;
    for (uint32_t i = 0; i < count; ++i) {
        vif->queues[i] = netback_queue{vif, queues[i], 0, maps[i]};
        shim[i] = &vif->queues[i];
    }
    vif->queue_count = count;
    vif->attachments.take();
    return 0;
}

void xpv_netback_os_start(xpv_netback_os* vif) {
    EXPECT(vif->queue_count > 0);
    vif->running = true;
}

void xpv_netback_os_stop(xpv_netback_os* vif) { vif->running = false; }

void xpv_netback_os_detach(xpv_netback_os* vif) {
    EXPECT(!vif->running);
    if (vif->queue_count == 0)
        return;
    // An event would call into what goes now.
    EXPECT_EQ(vif->world.account.channels.outstanding(), 0u);
    for (uint32_t i = 0; i < vif->queue_count; ++i) {
        if (vif->queues[i].map != nullptr) {
            uint32_t at = 0;
            while (at < xpv_netback_os::max_retired && vif->retired[at] != nullptr)
                ++at;
            if (EXPECT(at < xpv_netback_os::max_retired))
                vif->retired[at] = vif->queues[i].map;
        }
        vif->queues[i] = netback_queue{};
    }
    vif->reap_retired();
    vif->queue_count = 0;
    vif->attachments.give();
}

void xpv_netback_os_carrier(xpv_netback_os* vif, bool on) { vif->carrier = on; }

bool xpv_netback_os_link(const xpv_netback_os* vif) { return vif->link; }

void xpv_netback_os_schedule(netback_queue* queue, uint32_t pollers) {
    EXPECT(queue->vif != nullptr);
    queue->scheduled |= pollers;
}

uint32_t xpv_netback_os::retired_count() const noexcept {
    uint32_t count = 0;
    for (const xpv_netback_map* map : retired)
        count += map != nullptr ? 1 : 0;
    return count;
}

uint32_t xpv_netback_os_retired(xpv_netback_os* vif) {
    vif->world.account.enter(Call::Driver1, Context::Process);
    return vif->retired_count();
}

// ---- the guest ---------------------------------------------------------------------

namespace xpv::fake {

void Guest::offer(uint32_t count, bool split, uint32_t start) noexcept {
    Folder& f = world.bus.peer;
    f.clear();
    f.set("request-rx-copy", 1);
    for (const char* key : test::each("feature-rx-notify", "feature-sg", "feature-gso-tcpv4",
                                      "feature-gso-tcpv6", "feature-ipv6-csum-offload"))
        f.set(key, 1);
    if (count != 1)
        f.set("multi-queue-num-queues", count);
    queues = count;
    start_ = start;
    for (uint32_t i = 0; i < count; ++i) {
        Rings& r = rings[i];
        r.tx_page = world.peers.share_ring(World::peer_domid, 1, &r.tx_ref);
        r.rx_page = world.peers.share_ring(World::peer_domid, 1, &r.rx_ref);
        r.tx_port = world.events.offer_by_peer();
        r.rx_port = split ? world.events.offer_by_peer() : r.tx_port;
        const auto key = [&](const char* slash_name) {
            return count == 1 ? NodeName{slash_name + 1} : NodeName{"queue-", i, slash_name};
        };
        f.set(key("/tx-ring-ref").text(), r.tx_ref);
        f.set(key("/rx-ring-ref").text(), r.rx_ref);
        if (split) {
            f.set(key("/event-channel-tx").text(), r.tx_port);
            f.set(key("/event-channel-rx").text(), r.rx_port);
        } else {
            f.set(key("/event-channel").text(), r.tx_port);
        }
        RawRing{r.tx_page, 12, 256}.initialise(start);
        RawRing{r.rx_page, 8, 256}.initialise(start);
    }
    world.bus.own.set("online", 1);
    state(4);
}

PeerFront Guest::tx(uint32_t i) noexcept { return PeerFront{rings[i].tx_page, 12, 256, start_}; }
PeerFront Guest::rx(uint32_t i) noexcept { return PeerFront{rings[i].rx_page, 8, 256, start_}; }

Sender::Sender(Guest& guest, uint32_t queue) noexcept : ring{guest.tx(queue)}, world_{guest.world} {
    for (uint32_t i = 0; i < page_count; ++i) {
        void* address = nullptr;
        refs[i] = world_.peers.share(World::peer_domid, true, &address);
        bytes[i] = static_cast<uint8_t*>(address);
        for (uint32_t j = 0; j < page_size; ++j)
            bytes[i][j] = static_cast<uint8_t>(i * 31 + j * 7 + j / 256);
    }
}

netif_tx_request Sender::request(uint32_t page, uint32_t offset, uint32_t size,
                                 uint32_t flags) noexcept {
    netif_tx_request r{};
    r.gref = refs[page % page_count];
    r.offset = static_cast<uint16_t>(offset);
    r.size = static_cast<uint16_t>(size);
    r.flags = static_cast<uint16_t>(flags);
    r.id = static_cast<uint16_t>(next_id++ % sizeof(out));
    EXPECT_EQ(out[r.id], 0);
    out[r.id] = 1;
    return r;
}

void Sender::packet(const uint32_t* slots, uint32_t n, uint32_t flags, uint32_t gso) noexcept {
    uint32_t total = 0;
    for (uint32_t i = 0; i < n; ++i)
        total += slots[i];
    for (uint32_t i = 0; i < n; ++i) {
        uint32_t f = i == 0 ? flags : 0;
        if (i + 1 < n)
            f |= NETTXF_more_data;
        if (i == 0 && gso != 0)
            f |= NETTXF_extra_info;
        netif_tx_request r = request(i, 0, slots[i], f);
        if (i == 0)
            r.size = static_cast<uint16_t>(total);
        put(r);
        if (i == 0 && gso != 0) {
            netif_extra_info e{};
            e.type = XEN_NETIF_EXTRA_TYPE_GSO;
            e.u.gso.type = static_cast<uint8_t>(gso);
            e.u.gso.size = 1400;
            put(e);
        }
    }
}

Sender::Answers Sender::answers() noexcept {
    Answers a{};
    while (ring.responses() > 0) {
        const auto r = ring.take<netif_tx_response>();
        if (r.status == NETIF_RSP_NULL) {
            ++a.null;
            continue;
        }
        EXPECT(r.id < sizeof(out) && out[r.id] == 1); // answered once, and asked for
        out[r.id % sizeof(out)] = 0;
        switch (r.status) {
        case NETIF_RSP_OKAY:
            ++a.okay;
            break;
        case NETIF_RSP_ERROR:
            ++a.error;
            break;
        case NETIF_RSP_DROPPED:
            ++a.dropped;
            break;
        default:
            ++a.other;
        }
    }
    return a;
}

Connected::Connected(World& world, uint32_t queues, bool split, uint32_t start) noexcept
    : guest{world}, vif{world} {
    guest.offer(queues, split, start);
    guest.hotplug();
    EXPECT(vif.create());
    EXPECT_EQ(world.bus.state(), uint32_t{XenbusStateConnected});
    EXPECT(vif.running && vif.carrier);
}

} // namespace xpv::fake
