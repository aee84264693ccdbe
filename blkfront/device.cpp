// SPDX-License-Identifier: GPL-2.0-only
// Connections, and what becomes of requests between two of them.
#include "blkfront/device.hpp"

namespace xpv::blkfront {

Device::~Device() {
    for (Ring*& ring : rings_) {
        if (ring != nullptr)
            ring->~Ring();
        xpv_free(ring);
        ring = nullptr;
    }
}

Result<void> Device::create() noexcept {
    XPV_TRY(park_lock_.create(0));
    XPV_TRY(pool_.create(XPV_BLKFRONT_MAX_PAGES));
    pool_.limit(settings_.pages);
    return {};
}

Result<xpv_blkfront_name> Device::name() noexcept {
    XPV_TRY_SET(vdevice_, store().require(XPV_XS_OWN, "virtual-device", 0, UINT32_MAX));
    const Result<xpv_blkfront_name> name = disk_name(vdevice_);
    if (!name.ok())
        xpv_log(bus(), XPV_LOG_ERR, "virtual-device = %u is no disk that we know", vdevice_);
    return name;
}

// ---- connections -----------------------------------------------------------------------

Result<void> Device::connect() noexcept {
    if (!released())
        return Error::Busy;
    Offer offer = read_offer(store(), settings_);
    connection_.per_slot = segments_per_slot(offer.indirect);
    connection_.copy = offer.copy;
    connection_.lent = offer.copy ? 0 : direct_grants;
    // What is at hand is nobody else's: the longest request has to find its pages beside it.
    XPV_TRY(pool_.open(peer(), most_pages(connection_.per_slot) + Hand::most * offer.rings,
                       connection_.lent));
    XPV_TRY(open_rings(offer));

    RingPlace places[XPV_BLKFRONT_MAX_RINGS];
    for (uint32_t i = 0; i < offer.rings; ++i)
        places[i] = rings_[i]->place();
    XPV_TRY(write_answer(store(), offer, Span<const RingPlace>{places, offer.rings}));
    store_once(&rings_in_use_, offer.rings);
    return {};
}

// As many rings of the offer as there is memory for, or smaller ones; one at least.
Result<void> Device::open_rings(Offer& offer) noexcept {
    for (uint32_t i = 0; i < offer.rings; ++i) {
        Result<void> made = open_ring(i, offer.order);
        while (!made.ok() && i == 0 && offer.order > 0)
            made = open_ring(i, --offer.order);
        if (made.ok())
            continue;
        if (i == 0)
            return made;
        xpv_log(bus(), XPV_LOG_WARN, "%u of %u rings: no more could be made (error %d)", i,
                offer.rings, to_errno(made));
        offer.rings = i;
    }
    return {};
}

Result<void> Device::open_ring(uint32_t index, uint32_t order) noexcept {
    if (rings_[index] == nullptr) {
        void* const memory = xpv_alloc(sizeof(Ring));
        if (memory == nullptr)
            return Error::NoMemory;
        Ring* const ring = new (memory) Ring{*this, QueueIndex{index}};
        if (const Result<void> made = ring->create(); !made.ok()) {
            ring->~Ring();
            xpv_free(memory);
            return made;
        }
        rings_[index] = ring;
    }
    const Result<void> opened = rings_[index]->open(order);
    if (opened.ok())
        return opened;
    RequestList nothing;
    rings_[index]->close(nothing);
    return rings_[index]->ended() ? opened : Result<void>{Error::Busy};
}

void Device::disconnect() noexcept {
    xpv_blkfront_os_stop(os_);
    if (rings_in_use_ != 0 && !down_) {
        down_ = true;
        down_since_ = xpv_now_ms();
        if (settings_.fail_after_s != 0)
            xpv_blkfront_os_tick(os_, deadline_ms);
    }
    close_rings();
    (void)released();
}

void Device::close_rings() noexcept {
    store_once(&rings_in_use_, 0u);
    for (Ring* const ring : rings_) {
        if (ring == nullptr)
            continue;
        RequestList unanswered;
        ring->close(unanswered);
        for (Request* request = unanswered.front(); request != nullptr; request = request->next) {
            Pool::Chains kept{request->indirect, Pool::none};
            request->indirect = Pool::none;
            pool_.give(kept);
            if ((request->flags & Ring::lent) == 0) {
                pool_.give({request->first, Pool::none});
                request->first = Pool::none;
            }
        }
        const Guard guard{park_lock_};
        parked_.append(unanswered);
    }
    pool_.close();
}

// Whether the last backend cannot reach anything of ours any more.
bool Device::released() noexcept {
    if (rings_in_use_ != 0)
        return true; // there is another one
    bool all = pool_.ended();
    for (Ring* const ring : rings_)
        all = (ring == nullptr || ring->ended()) && all;
    all = unlend_parked() && all;
    if (all) {
        held_looks_ = 0;
        return true;
    }
    // One that was asked to let go while it had requests in work only does when it is asked
    // again.
    if (++held_looks_ % remind_every == 0 && phase() == Phase::Closed) {
        (void)xpv_xenbus_switch(bus(), XenbusStateClosing);
        (void)xpv_xenbus_switch(bus(), XenbusStateClosed);
    }
    return false;
}

bool Device::unlend_parked() noexcept {
    bool all = true;
    const Guard guard{park_lock_};
    for (Request* request = parked_.front(); request != nullptr; request = request->next) {
        if ((request->flags & Ring::lent) == 0)
            continue;
        if (!pool_.try_unlend(request->first)) {
            all = false;
            continue;
        }
        pool_.give({Pool::none, request->first});
        request->first = Pool::none;
        request->flags &= static_cast<uint8_t>(~Ring::lent);
    }
    return all;
}

// ---- the disk --------------------------------------------------------------------------

void Device::announce() noexcept {
    down_ = false;
    refused_ = false;
    no_flush_ = no_discard_ = no_erase_ = false;
    // A cache that died with its domain took along what was written and not flushed.
    if (cache_of_ != peer() && known_ && load_once(&dirty_)) {
        lost_cache_ = true;
        xpv_log(bus(), XPV_LOG_WARN,
                "the backend's domain is another one: what was not flushed may be lost");
    }
    cache_of_ = peer();
    store_once(&failing_, !apply());
    replay();
    xpv_blkfront_os_start(os_);
}

void Device::look_again() noexcept {
    const bool fails = !apply();
    store_once(&failing_, fails);
    xpv_blkfront_os_start(os_); // the disk may have come into being just now
}

// The disk as the backend describes it now, to the block layer. False: there is none.
bool Device::apply() noexcept {
    const Result<xpv_blkfront_disk> read = read_disk(store());
    if (!read.ok()) {
        xpv_end_report(bus(), to_errno(read.error()), "the backend describes no disk");
        if (read.error() == Error::Range || read.error() == Error::NoEntry)
            return false;
        xpv_end_poke(bus(), XPV_CHANGED, apply_ms); // xenstore did not answer
        return known_;
    }
    xpv_blkfront_disk disk = read.value();
    if (!fits(disk))
        return false;
    disk.flush = disk.flush && !load_once(&no_flush_);
    disk.discard = disk.discard && !load_once(&no_discard_);
    disk.erase = disk.erase && disk.discard && !load_once(&no_erase_);
    if (!known_)
        connection_.sector_size = disk.sector_size; // for good, says fits()
    // Before the block layer hears of it: requests for what is new may come at once.
    face_.show(disk);
    const bool same = known_ && __builtin_memcmp(&disk, &disk_, sizeof(disk)) == 0;
    const int code = same ? 0 : xpv_blkfront_os_disk(os_, &disk);
    if (code < 0) {
        xpv_end_report(bus(), code, "the disk cannot be set up");
        xpv_end_poke(bus(), XPV_CHANGED, apply_ms);
        return known_;
    }
    if (known_ && disk_.flush && !disk.flush)
        xpv_log(bus(), XPV_LOG_WARN, "the backend does not flush its cache any more");
    if (!known_ && disk.sector_size != sector_bytes)
        xpv_log(bus(), XPV_LOG_INFO, "blocks of %u bytes", disk.sector_size);
    disk_ = disk;
    known_ = true;
    return true;
}

// What file systems were made for cannot change under them.
bool Device::fits(const xpv_blkfront_disk& disk) noexcept {
    if (!known_ || disk.sector_size == disk_.sector_size)
        return true;
    xpv_end_report(bus(), to_errno(Error::Range), "blocks of %u bytes, but the disk's were of %u",
                   disk.sector_size, disk_.sector_size);
    return false;
}

bool Device::in_use() noexcept {
    if (settings_.insist || !xpv_blkfront_os_in_use(os_))
        return false;
    if (!refused_)
        xpv_log(bus(), XPV_LOG_WARN, "asked to detach, but in use: after the last close");
    refused_ = true;
    return true;
}

void Device::view(uint32_t ring, xpv_blkfront_view& view) const noexcept {
    view = {};
    if (ring < XPV_BLKFRONT_MAX_RINGS && rings_[ring] != nullptr)
        rings_[ring]->view(view);
}

void Device::summary(xpv_blkfront_summary& summary) const noexcept {
    summary = {};
    summary.rings = load_once(&rings_in_use_);
    summary.segments = connection_.per_slot;
    summary.parked = load_once(parked_.count_address());
    summary.pool_kept = pool_.kept();
    summary.pool_free = pool_.free();
    for (const Ring* ring : rings_)
        summary.pool_free += ring != nullptr ? ring->at_hand() : 0;
    summary.pool_stuck = pool_.stuck();
    summary.pool_capacity = pool_.capacity();
    summary.persistent = connection_.copy;
    summary.connected = phase() == Phase::Connected;
    summary.failing = load_once(&failing_);
    summary.dirty = load_once(&dirty_);
    summary.disk = disk_;
}

} // namespace xpv::blkfront
