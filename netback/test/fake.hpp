// SPDX-License-Identifier: GPL-2.0-only
// The two neighbours of the backend's C++: the shim (net device, pollers, packet
// memory) and a guest's frontend, which plays through raw shared memory.
#pragma once

#include "kunit/check.hpp"
#include "kunit/fake/ring.hpp"
#include "kunit/fake/world.hpp"
#include "netback/abi.h"

#include "core/xen.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <xen/io/netif.h>
#pragma GCC diagnostic pop

struct netback_queue {
    xpv_netback_os* vif;
    xpv_netback_queue* core;
    uint32_t scheduled; // pollers that were asked to run
    xpv_netback_map* map;
};

namespace xpv::fake {

// A packet that came out of the guest-TX ring.
struct Received {
    uint8_t* bytes; // one copy, in order
    uint32_t total;
    uint32_t head;
    uint32_t pages;
    xpv_offload offload;
};

} // namespace xpv::fake

// The shim. It keeps what it received until forget().
struct xpv_netback_os : xpv::NoCopy {
    explicit xpv_netback_os(xpv::fake::World& in) noexcept;
    ~xpv_netback_os();

    static constexpr uint32_t max_queues = 8;
    xpv::fake::World& world;
    xpv_netback* device = nullptr;
    xpv_netback_settings settings{{max_queues, true, true, true, true}, false};
    xpv_net_features features{};
    xpv::fake::Count attachments{"attached vifs"};
    xpv::fake::Count buffers{"packet buffers"};
    uint32_t queue_count = 0;
    netback_queue queues[max_queues] = {};
    bool running = false;
    bool carrier = false;
    bool link = true;        // xpv_netback_os_link()
    uint64_t tx_hold_ns = 0; // of the last batch
    uint64_t rx_hold_ns = 0; // of the last rx_send()
    bool polled_on = false;  // the scheduler lets no poller go
    bool starve = false;     // no memory for packets
    uint32_t map_above = 65536;
    // Mapped packets stay out until done(), as in some queue of the stack.
    bool hold = false;
    struct Held {
        xpv_netback_map* map;
        uint32_t mapped;
    };
    uint32_t held_count = 0;
    void done(uint32_t i) noexcept; // the ith of them comes back
    void all_done() noexcept;
    // Maps of connections that are over, with packets out.
    static constexpr uint32_t max_retired = 64;
    xpv_netback_map* retired[max_retired] = {};
    uint32_t retired_count() const noexcept;
    void reap_retired() noexcept;

    // Make the device; it sees the frontend Initialising before what it is now.
    bool create() noexcept;
    void handle(xpv_event event) noexcept { xpv_netback_handle(device, event); }
    // Time passes until all that was asked for has run.
    void run_poke() noexcept;
    void remove() noexcept;

    // One batch of the guest-TX poller, in softirq: packets taken.
    uint32_t tx_batch(uint32_t index = 0, uint32_t max = XPV_NETBACK_BATCH) noexcept;
    bool tx_idle(uint32_t index = 0) noexcept;
    // Until it is idle, as NAPI does.
    void tx_poll(uint32_t index = 0) noexcept;
    uint32_t received = 0;
    xpv::fake::Received* packets; // of them, the last max_received
    static constexpr uint32_t max_received = 256;
    Held* held; // what hold keeps
    const xpv::fake::Received& packet(uint32_t i) const noexcept {
        return packets[i % max_received];
    }
    void forget() noexcept;

    // Guest-RX: send packets made of pieces; how many went.
    uint32_t rx_send(const xpv_netback_rx_packet* list, uint32_t count,
                     uint32_t index = 0) noexcept;
    bool rx_idle(bool waiting, uint32_t index = 0) noexcept;
    xpv_netback_rest rest{}; // what the last rx_idle() was told
    bool rx_starved(uint32_t waited_ms, uint32_t index = 0) noexcept;
    xpv_netback_rx_limits limits{10000, 60000};

    const xpv_netback_counters& counters(uint32_t index = 0) const noexcept {
        return *xpv_netback_queue_counters(queues[index].core);
    }

private:
    void keep(const xpv_netback_tx_packet& packet, uint8_t* memory, xpv_netback_map* map) noexcept;
    xpv_netback_tx_packet* batch_;
    uint8_t** memory_;
};

namespace xpv::fake {

using Backend = ::xpv_netback_os;

// What a frontend does before it is connected, and its rings afterwards.
class Guest : NoCopy {
public:
    explicit Guest(World& in) noexcept : world{in} {}

    struct Rings {
        uint32_t tx_ref, rx_ref, tx_port, rx_port;
        void* tx_page;
        void* rx_page;
    };

    // Make rings for count queues and write them, with all features, in state
    // Connected. split: a channel each way.
    void offer(uint32_t count = 1, bool split = true, uint32_t start = 0) noexcept;
    void state(uint32_t number) noexcept { world.bus.peer.set("state", number); }
    // The toolstack's script has run.
    void hotplug() noexcept { world.bus.own.set("hotplug-status", "connected"); }

    World& world;
    uint32_t queues = 0;
    Rings rings[Backend::max_queues] = {};
    PeerFront tx(uint32_t i = 0) noexcept;
    PeerFront rx(uint32_t i = 0) noexcept;

private:
    uint32_t start_ = 0;
};

// One guest-TX ring with data pages of its own.
class Sender : NoCopy {
public:
    explicit Sender(Guest& guest, uint32_t queue = 0) noexcept;
    ~Sender() { xpv_test_free(bytes); }

    PeerFront ring;
    static constexpr uint32_t page_count = 64;
    uint32_t refs[page_count];
    uint8_t** bytes = static_cast<uint8_t**>(xpv_test_alloc(page_count * sizeof(uint8_t*)));
    uint16_t next_id = 100;
    // By id, whether it is out, and the last status.
    uint8_t out[512] = {};

    // The ith request of a packet: data page i, unless told otherwise.
    netif_tx_request request(uint32_t page, uint32_t offset, uint32_t size,
                             uint32_t flags) noexcept;
    void put(const netif_tx_request& r) noexcept { ring.push(r); }
    void put(const netif_extra_info& e) noexcept { ring.push(e); }
    // A packet of slots[0..n) bytes; the first slot then says the total.
    void packet(const uint32_t* slots, uint32_t n, uint32_t flags = 0, uint32_t gso = 0) noexcept;
    // Take all responses: how many of each kind.
    struct Answers {
        uint32_t okay, error, dropped, null, other;
        uint32_t all() const noexcept { return okay + error + dropped + null + other; }
    };
    Answers answers() noexcept;

private:
    World& world_;
};

// A device with one connected queue (or more) in service.
struct Connected : NoCopy {
    explicit Connected(World& world, uint32_t queues = 1, bool split = true,
                       uint32_t start = 0) noexcept;
    Guest guest;
    Backend vif;
};

} // namespace xpv::fake
