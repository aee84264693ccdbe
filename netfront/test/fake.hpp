// SPDX-License-Identifier: GPL-2.0-only
// The frontend's shim and its backend, played for tests: the upcalls of
// netfront/abi.h, a device with its life, and the other end of one queue's rings
// through raw memory (xen/io/netif.h).
#pragma once

#include "core/xenbus_state.hpp"
#include "kunit/fake/ring.hpp"
#include "kunit/fake/world.hpp"
#include "net/netif.hpp"
#include "netfront/abi.h"

// The shim of one device.
struct xpv_netfront_os {
    xpv::fake::Count held{"packets that owners wait for"};
    xpv::fake::Count pool{"pages of the receive pools"};
    xpv_netfront_queue* queue[XPV_NET_MAX_QUEUES] = {};
    uint32_t queues = 0; // started
    xpv_net_features features{};
    bool started = false;
    bool stopped = true;
    uint32_t starts = 0;
    uint32_t announced = 0;
    bool carrier = false;
    uint16_t done[256] = {}; // packets handed back, in order
    uint32_t done_count = 0;
    uint64_t done_bytes = 0; // answered
    uint32_t mtu = 0;        // what os_start() was told last, if it was told one
    uint32_t mtus = 0;       // times that it was
    uint32_t scheduled[XPV_NET_MAX_QUEUES] = {};
};

namespace xpv::fake {

// Failing them means:
inline constexpr Call call_pages = Call::Driver0; // no page
inline constexpr Call call_start = Call::Driver1; // -ENOMEM

// A world with one vif in it, its frontend and a backend's folder that offers
// everything.
class Frontend : NoCopy {
public:
    explicit Frontend(uint32_t queues = 1) noexcept;
    ~Frontend();

    World world;
    xpv_netfront_os os;
    xpv_netfront_settings settings{};
    xpv_netfront* device = nullptr;

    // With the settings and backend nodes as they are now.
    bool create() noexcept;
    int handle(xpv_event event) noexcept;
    void peer_state(uint32_t state) noexcept { world.bus.peer.set("state", state); }
    // create() and the whole handshake; false, with a failed test, if it fails.
    bool connect() noexcept;
    // Play a backend that follows our state until both are connected; false, with a
    // failed test, if they do not get there.
    bool settle_down() noexcept;
    // Take the driver off the device; idempotent.
    void remove() noexcept;

    xpv_netfront_queue* queue(uint32_t index = 0) noexcept { return os.queue[index]; }
    xpv_netfront_counters& counters(uint32_t index = 0) noexcept {
        return *xpv_netfront_queue_counters(device, index);
    }
    uint32_t node(const char* key) const noexcept { return world.bus.own.number(key); }

private:
    static bool backend_lets_go(void* context, uint16_t mask) noexcept;
};

// The backend's end of a queue, as the frontend's nodes tell it.
class Wire : NoCopy {
public:
    explicit Wire(Frontend& vif, uint32_t index = 0) noexcept;

    Frontend& vif;
    const uint32_t tx_port;
    const uint32_t rx_port;
    PeerBack tx;
    PeerBack rx;

    // ---- transmit -----------------------------------------------------------

    struct Packet {
        uint32_t slots = 0;  // extras included
        uint32_t size = 0;   // what the first slot says
        uint32_t length = 0; // sum of the slots
        uint16_t flags = 0;
        net::ExtraInfo extra{};
        uint32_t extras = 0;
        uint32_t first = 0; // bytes in the first slot
        uint16_t ids[24] = {};
    };
    // Take one packet's requests and read its bytes as the protocol wants it; false
    // when there is none. A packet that breaks a rule fails the test.
    bool take_packet(Packet& packet, uint8_t* bytes) noexcept;
    // Answer them; extras get RSP_NULL.
    void answer(const Packet& packet, int16_t status = NETIF_RSP_OKAY) noexcept;
    void answer_tx(uint16_t id, int16_t status) noexcept;
    // Show the answers; sends the event if one is wanted.
    bool publish_tx() noexcept;
    // Take and answer everything there is: packets.
    uint32_t serve_tx() noexcept;

    // ---- receive ------------------------------------------------------------

    // One response with data written to the next posted page (of `value`s, unless
    // the slot is broken on purpose).
    void give(int16_t status, uint16_t flags = 0, uint16_t offset = 0,
              uint8_t value = 0x5a) noexcept;
    void give_extra(uint8_t type, uint8_t flags = 0, uint8_t gso_type = 0,
                    uint16_t gso_size = 0) noexcept;
    // A whole packet of length bytes in slots of `each`; byte i is pattern(i).
    void give_packet(uint32_t length, uint16_t flags = 0, uint32_t each = page_size) noexcept;
    bool publish_rx() noexcept;
    // Reference in the request that the next response answers.
    uint32_t next_ref() const noexcept;

    static uint8_t pattern(uint32_t i) noexcept { return static_cast<uint8_t>(i * 7 + i / 251); }
};

// What one poll brought, the way the shim goes about it: pages of packets that are
// not copied are freed here.
struct Poll {
    uint32_t packets = 0;
    uint32_t bytes = 0;
    uint32_t copied = 0;
    uint32_t pieces = 0;
    uint32_t wrong = 0;    // bytes that are not pattern()
    xpv_offload offload{}; // of the last
    uint32_t length = 0;
    bool enough = true; // refill() had memory

    // check: the bytes are pattern().
    static Poll run(Frontend& vif, uint32_t index = 0, uint32_t max = XPV_NETFRONT_BATCH,
                    bool check = true) noexcept;
};

// Packet memory to send from, and room for what the backend read.
extern uint8_t packet_bytes[65600];
extern uint8_t seen[65600 + page_size];
// Other bytes for each seed.
void fill(uint32_t seed) noexcept;

// xpv_netfront_tx() of one run, in softirq context.
uint32_t send(Frontend& vif, const uint8_t* bytes, uint32_t length, xpv_offload offload = {},
              bool more = false, uint32_t index = 0, bool ipv6 = false) noexcept;

// The same for an owner who waits for number to come back in vif.os.done; 0: nobody does.
uint32_t send_owned(Frontend& vif, const uint8_t* bytes, uint32_t length, uintptr_t number,
                    bool at_limit = false, bool more = false) noexcept;

// xpv_netfront_tx_poll(), in softirq context.
bool poll_tx(Frontend& vif, uint32_t index = 0, bool late = false) noexcept;

// The poller runs dry, and the scheduler lets it go: xpv_netfront_idle() and _done(), in
// softirq context. False: there is work.
bool idle(Frontend& vif, uint32_t index = 0) noexcept;

} // namespace xpv::fake
