// SPDX-License-Identifier: GPL-2.0-only
// The block frontend's shim and its backend, played for tests: the upcalls of
// blkfront/abi.h, a device with its life, requests of a block layer, and the other end of
// its rings through raw memory (xen/io/blkif.h). The backend has a disk of bytes, so that
// what was lost, doubled or misplaced is seen in them.
#pragma once

#include "blkfront/abi.h"
#include "kunit/fake/ring.hpp"
#include "kunit/fake/world.hpp"

namespace xpv::fake {

// A request of the block layer and its memory.
struct BlockRequest : NoCopy {
    BlockRequest() noexcept = default;
    ~BlockRequest();
    xpv_blkfront_request pdu{}; // first: the shim finds one by the other
    uint8_t* memory = nullptr;
    uint32_t offset = 0; // of the first byte in memory
    uint32_t piece = 0;  // pieces of so many bytes; 0: as pages have it
    bool walked = false; // not told that it is all in one piece
    uint32_t room = 0;
    uint32_t done = 0; // times it came back
    uint8_t* bytes() const noexcept { return memory + offset; }
};

// Many of them: no stack holds them.
class BlockRequests : NoCopy {
public:
    explicit BlockRequests(uint32_t count) noexcept;
    ~BlockRequests();
    BlockRequest& operator[](uint32_t i) const noexcept { return first_[i]; }
    BlockRequest* begin() const noexcept { return first_; }
    BlockRequest* end() const noexcept { return first_ + count_; }

private:
    BlockRequest* const first_;
    const uint32_t count_;
};

} // namespace xpv::fake

// The shim of one device.
struct xpv_blkfront_os {
    xpv::fake::Count out{"requests that the block layer waits for"};
    xpv_blkfront_disk disk{};
    uint32_t disks = 0; // told
    void (*told)(void* context) = nullptr;
    void* told_context = nullptr;
    bool stopped = true;
    bool in_use = false;
    uint32_t starts = 0;
    uint32_t done = 0;
    uint32_t failed = 0;
    uint32_t looks = 0; // asked for
    uint32_t ticks = 0;
    uint32_t yields = 0;
};

namespace xpv::fake {

// Failing it means -ENOMEM.
inline constexpr Call call_disk = Call::Driver0;

// A world with one disk in it, its frontend and a backend's folder.
class Disk : NoCopy {
public:
    static constexpr uint32_t sectors = 8192; // 4 MiB

    explicit Disk(uint32_t rings = 1, uint32_t order = 0, uint32_t indirect = 256) noexcept;
    ~Disk();

    World world;
    xpv_blkfront_os os;
    xpv_blkfront_settings settings{};
    xpv_blkfront* device = nullptr;
    uint8_t* medium; // of the backend

    bool create() noexcept;
    int handle(xpv_event event) noexcept { return xpv_blkfront_handle(device, event); }
    void peer_state(uint32_t state) noexcept { world.bus.peer.set("state", state); }
    // create() and the whole handshake; false, with a failed test, if it fails.
    bool connect() noexcept;
    // The backend comes to be, waits, and gets connected.
    bool settle() noexcept;
    // Events that were asked for, and time for them.
    void later() noexcept;
    void remove() noexcept;
    xpv_blkfront_summary summary() noexcept;
    uint32_t node(const char* key) const noexcept { return world.bus.own.number(key); }

    // ---- the block layer --------------------------------------------------------

    // A read or write, its memory `skew` bytes into a page, filled by the seed.
    void prepare(BlockRequest& request, xpv_blkfront_op op, uint64_t sector, uint32_t count,
                 uint32_t skew = 0, uint32_t seed = 1) noexcept;
    void submit(BlockRequest& request, bool more = false, uint32_t queue = 0) noexcept;
    static uint8_t pattern(uint64_t at, uint32_t seed) noexcept {
        return static_cast<uint8_t>(at * 13 + at / 509 + seed * 77);
    }
    // Is what it read / what is on the medium the pattern?
    static bool holds(const BlockRequest& request, uint32_t seed) noexcept;
    bool stored(uint64_t sector, uint32_t count, uint32_t seed) const noexcept;

    static bool lets_go(void* context, uint16_t mask) noexcept;

private:
    // What several processors count is counted with a lock.
    static void watch_counters(void* context, bool taken) noexcept;
    xpv_blkfront_counters counted_[XPV_BLKFRONT_MAX_RINGS] = {};
};

// The backend's end of a ring, as the frontend's nodes tell it.
class Blkback : NoCopy {
public:
    explicit Blkback(Disk& disk, uint32_t index = 0) noexcept;

    Disk& disk;
    uint32_t port;
    uint32_t order = 0;
    void* shared = nullptr;
    bool valid = false;

    struct Taken {
        uint64_t id;
        uint64_t sector;
        uint64_t count; // sectors, of discards
        uint32_t refs[256];
        uint8_t first[256], last[256];
        uint32_t segments;
        uint8_t op;    // of the slot
        uint8_t inner; // as answered
        uint8_t flag;
        uint8_t indirect_page;
    };
    uint32_t requests() const noexcept;
    // The next request, as the protocol wants it, or the test fails.
    bool take(Taken& taken) noexcept;
    // Do what it says: bytes go to or from the medium. A GNTST status that is no success
    // fails the test.
    void perform(const Taken& taken) noexcept;
    void answer(uint64_t id, uint8_t op, int16_t status = 0) noexcept;
    // Show the answers and send the event if one is wanted; whether it was.
    bool publish() noexcept;
    // Take, perform, answer and publish all there is: how many.
    uint32_t serve() noexcept;

    volatile uint32_t* words() const noexcept { return static_cast<volatile uint32_t*>(shared); }
    uint32_t slots() const noexcept { return 32U << order; }
    volatile uint8_t* slot(uint32_t index) const noexcept {
        return static_cast<volatile uint8_t*>(shared) + 64 + (index % slots()) * 112;
    }
    uint32_t req_cons = 0;
    uint32_t rsp_prod = 0;
};

} // namespace xpv::fake
