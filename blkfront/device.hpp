// SPDX-License-Identifier: GPL-2.0-only
// One disk as the guest sees it, over all of its connections.
//
// Requests that a connection left unanswered are parked here. They go to the next one, from
// what the block layer said, as soon as the last backend cannot touch the disk on behalf
// of them any more: it has let go of all that it was granted. A late write of its would
// otherwise undo a newer one.
#pragma once

#include "blkfront/features.hpp"
#include "blkfront/pool.hpp"
#include "blkfront/ring.hpp"
#include "core/end.hpp"

namespace xpv::blkfront {

// The disk as requests see it, who come and go on all processors while it changes: each word
// by itself is the old one or the new one, and any two of them make sense together.
class Face : NoCopy {
public:
    Face() noexcept = default;
    enum Can : uint32_t {
        cache = 1 << 0, // it has one, which can be flushed
        barriers = 1 << 1,
        discards = 1 << 2,
        erases = 1 << 3,
        writes = 1 << 4,
    };
    void show(const xpv_blkfront_disk& disk) noexcept {
        store_once(&sectors_, disk.sectors);
        const auto bit = [](bool is, Can what) noexcept { return is ? uint32_t{what} : 0U; };
        store_once(&can_, bit(disk.flush, cache) | bit(disk.barrier, barriers) |
                              bit(disk.discard, discards) | bit(disk.erase, erases) |
                              bit(!disk.readonly, writes));
    }
    uint64_t sectors() const noexcept { return load_once(&sectors_); }
    bool has(Can what) const noexcept { return (load_once(&can_) & what) != 0; }

private:
    uint64_t sectors_ = 0;
    uint32_t can_ = 0;
};

// What requests are made by, of the present connection.
struct Connection {
    uint32_t per_slot = direct_segments;
    uint32_t sector_size = sector_bytes;
    uint32_t lent = 0; // direct grants of a request, at most
    bool copy = true;
};

class Device : public End<Device, Role::Front, XenbusStateInitialised> {
public:
    Device(xpv_xenbus* bus, xpv_blkfront_os* os, const xpv_blkfront_settings& settings) noexcept
        : End{bus}, os_{os}, settings_{settings}, event_batch_{settings.event_batch} {}
    ~Device();

    Result<void> create() noexcept;

    // ---- for End ----------------------------------------------------------------
    Result<void> connect() noexcept;
    void quiesce() noexcept { xpv_blkfront_os_stop(os_); }
    void disconnect() noexcept;
    void announce() noexcept;
    bool in_use() noexcept;
    bool released() noexcept;
    void look_again() noexcept;

    // ---- for the shim -----------------------------------------------------------
    Result<xpv_blkfront_name> name() noexcept;
    void submit(uint32_t queue, Request* first, bool more) noexcept;
    void commit(uint32_t queue) noexcept;
    bool look(uint32_t ring) noexcept;
    bool poll(uint32_t queue) noexcept;
    void timeout(Request& request) noexcept;
    void set(const xpv_blkfront_settings& settings) noexcept;
    void tick() noexcept;
    void fail_all() noexcept;
    void view(uint32_t ring, xpv_blkfront_view& view) const noexcept;
    void summary(xpv_blkfront_summary& summary) const noexcept;

    // ---- for rings --------------------------------------------------------------
    xpv_blkfront_os* os() const noexcept { return os_; }
    uint32_t vdevice() const noexcept { return vdevice_; }
    uint32_t event_batch() const noexcept { return load_once(&event_batch_); }
    Pool& pool() noexcept { return pool_; }
    const Connection& connection() const noexcept { return connection_; }
    const Face& face() const noexcept { return face_; }
    xpv_blkfront_counters& counters(QueueIndex ring) noexcept { return counters_[ring.number()]; }
    const xpv_blkfront_counters& counters(QueueIndex ring) const noexcept {
        return counters_[ring.number()];
    }
    // A request is over: what is in the disk's cache now? Any context.
    void note(const Request& request) noexcept;
    // The backend does not know the operation after all. Any context.
    void lose_flush() noexcept;
    void lose_discard(bool secure) noexcept;
    // Pages may have come back. No lock is held. Any context.
    void wake_line() noexcept {
        if (pool_.anybody()) [[unlikely]]
            wake_first();
    }

private:
    // How often a request may see a timeout before we leave its backend.
    static constexpr uint8_t patience = 2;
    static constexpr uint32_t trim_ms = 10000;
    static constexpr uint32_t deadline_ms = 1000;
    static constexpr uint32_t apply_ms = 5000;
    // Looks at what the backend holds between two reminders.
    static constexpr uint32_t remind_every = 10;
    static constexpr uint32_t direct_grants = 256;

    Ring* ring_of(uint32_t queue) const noexcept {
        const uint32_t count = load_once(&rings_in_use_);
        return count == 0 ? nullptr : rings_[queue % count];
    }
    Result<void> open_rings(Offer& offer) noexcept;
    Result<void> open_ring(uint32_t index, uint32_t order) noexcept;
    void close_rings() noexcept;
    bool apply() noexcept;
    bool fits(const xpv_blkfront_disk& disk) noexcept;
    bool admit(Request& request) noexcept;
    void replay() noexcept;
    void fail_parked() noexcept;
    bool unlend_parked() noexcept;
    void mind_pool() noexcept {
        if (!pool_.idle() && !load_once(&ticking_)) [[unlikely]]
            trim_later();
    }
    void trim_later() noexcept;
    void wake_first() noexcept;

    xpv_blkfront_os* const os_;
    xpv_blkfront_settings settings_;
    uint32_t event_batch_; // the same, for those who have no lock
    uint32_t vdevice_ = 0;
    Pool pool_;
    Connection connection_;
    Face face_;
    xpv_blkfront_disk disk_{}; // what the block layer was told, if
    bool known_ = false;
    bool failing_ = false;    // all requests fail
    bool dirty_ = false;      // written to a cache, not flushed
    bool lost_cache_ = false; // and that cache is gone: the next flush has to say so
    bool no_flush_ = false;
    bool no_discard_ = false;
    bool no_erase_ = false;
    bool refused_ = false; // said that the disk is in use
    bool ticking_ = false;
    bool down_ = false;
    uint16_t cache_of_ = 0; // the domain that has it
    uint32_t held_looks_ = 0;
    uint64_t down_since_ = 0;
    uint32_t rings_in_use_ = 0;
    Ring* rings_[XPV_BLKFRONT_MAX_RINGS] = {};
    RequestList parked_;
    Lock park_lock_;
    xpv_blkfront_counters counters_[XPV_BLKFRONT_MAX_RINGS] = {};
};

} // namespace xpv::blkfront

// The opaque handle of abi.h.
struct xpv_blkfront : xpv::blkfront::Device {
    using Device::Device;
};
