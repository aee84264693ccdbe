// SPDX-License-Identifier: GPL-2.0-only
// Requests on their way to a ring, between two connections, and when time runs out.
#include "blkfront/device.hpp"

namespace xpv::blkfront {

// False: it is over already, by its status.
inline bool Device::admit(Request& request) noexcept {
    request.status = XPV_BLKFRONT_OK;
    request.first = request.indirect = Pool::none;
    request.grants = request.issued = request.slots = 0;
    request.done = 0;
    request.flags = 0;
    if (load_once(&failing_)) {
        request.status = XPV_BLKFRONT_IO_ERROR;
        return false;
    }
    if (request.op == XPV_BLKFRONT_FLUSH) {
        if (load_once(&lost_cache_) && atomic_exchange(&lost_cache_, false)) {
            request.status = XPV_BLKFRONT_IO_ERROR;
            atomic_store(&dirty_, false);
            return false;
        }
        if (!face_.has(Face::cache) || load_once(&no_flush_))
            return false; // nothing to flush
        if (load_once(&dirty_) && atomic_exchange(&dirty_, false))
            request.flags = Ring::covers;
        return true;
    }
    const bool discard = request.op == XPV_BLKFRONT_DISCARD || request.op == XPV_BLKFRONT_ERASE;
    if (discard && (!face_.has(Face::discards) || load_once(&no_discard_) ||
                    (request.op == XPV_BLKFRONT_ERASE &&
                     (!face_.has(Face::erases) || load_once(&no_erase_))))) {
        request.status = XPV_BLKFRONT_UNSUPPORTED;
        return false;
    }
    const bool most = discard || request.sectors <= XPV_BLKFRONT_MAX_SECTORS;
    const uint64_t sectors = face_.sectors();
    if (request.sectors == 0 || !most || request.sector > sectors ||
        request.sectors > sectors - request.sector ||
        (request.op != XPV_BLKFRONT_READ && !face_.has(Face::writes))) {
        request.status = XPV_BLKFRONT_IO_ERROR;
        return false;
    }
    return true;
}

void Device::submit(uint32_t queue, Request* first, bool more) noexcept {
    RequestList fresh;
    RequestList over;
    while (first != nullptr) {
        Request& request = *first;
        first = request.next;
        request.late = 0;
        (admit(request) ? fresh : over).push(request);
    }
    if (!over.empty())
        xpv_blkfront_os_done(os_, over.take_chain());
    Ring* const ring = ring_of(queue);
    if (ring != nullptr) {
        ring->submit(fresh, more);
        mind_pool();
        return;
    }
    const Guard guard{park_lock_};
    parked_.append(fresh);
}

void Device::commit(uint32_t queue) noexcept {
    if (Ring* const ring = ring_of(queue))
        ring->commit();
}

// In no order but one: flushes come last.
void Device::replay() noexcept {
    RequestList parked;
    {
        const Guard guard{park_lock_};
        parked.append(parked_);
    }
    RequestList flushes;
    RequestList over;
    const auto send = [this, &over](Request& request) noexcept {
        if ((request.flags & Ring::covers) != 0)
            store_once(&dirty_, true);
        if (!admit(request)) {
            over.push(request);
            return;
        }
        RequestList one;
        one.push(request);
        Ring& ring = *ring_of(request.queue);
        ++counters(QueueIndex{request.queue % rings_in_use_}).replayed;
        ring.submit(one, false);
    };
    while (Request* const request = parked.pop()) {
        if (request->op == XPV_BLKFRONT_FLUSH)
            flushes.push(*request);
        else
            send(*request);
    }
    while (Request* const request = flushes.pop())
        send(*request);
    if (!over.empty())
        xpv_blkfront_os_done(os_, over.take_chain());
}

void Device::note(const Request& request) noexcept {
    const bool lost = request.op == XPV_BLKFRONT_FLUSH && (request.flags & Ring::covers) != 0 &&
                      request.status != XPV_BLKFRONT_OK;
    const bool wrote = request.op == XPV_BLKFRONT_WRITE && face_.has(Face::cache);
    if ((wrote || lost) && !load_once(&dirty_))
        store_once(&dirty_, true);
}

void Device::lose_flush() noexcept {
    if (!atomic_exchange(&no_flush_, true))
        xpv_end_poke(bus(), XPV_CHANGED, 0);
}

void Device::lose_discard(bool secure) noexcept {
    if (!atomic_exchange(secure ? &no_erase_ : &no_discard_, true))
        xpv_end_poke(bus(), XPV_CHANGED, 0);
}

bool Device::look(uint32_t ring) noexcept {
    return ring < XPV_BLKFRONT_MAX_RINGS && rings_[ring] != nullptr && rings_[ring]->look();
}

// Whoever has the answer may need this very processor for it.
bool Device::poll(uint32_t queue) noexcept {
    Ring* const ring = ring_of(queue);
    if (ring != nullptr && ring->look())
        return true;
    xpv_blkfront_os_yield(os_);
    return false;
}

// The answer may be there, and its event lost; our own may be. If neither, and the ring
// stands still, the backend may be dead, and the next one must not find us Connected: it
// would take over rings that it does not know. One that is just slow is not left twice as
// soon.
void Device::timeout(Request& request) noexcept {
    Ring* const ring = ring_of(request.queue);
    if (ring == nullptr)
        return;
    if (ring->remind() || request.late == UINT8_MAX)
        return;
    const uint32_t late = ++request.late;
    if (late < patience || !is_power_of_two(late) || phase() != Phase::Connected)
        return;
    xpv_log(bus(), XPV_LOG_WARN, "no answer for long: leaving the backend");
    xpv_end_poke(bus(), XPV_RENEW, 0);
}

// ---- what the administrator changes ----------------------------------------------------

void Device::set(const xpv_blkfront_settings& settings) noexcept {
    settings_ = settings;
    store_once(&event_batch_, settings.event_batch);
    pool_.limit(settings.pages);
    mind_pool();
    if (down_ && settings.fail_after_s != 0)
        xpv_blkfront_os_tick(os_, deadline_ms);
    if (refused_ && settings.insist)
        xpv_end_poke(bus(), XPV_CHANGED, 0);
}

// ---- time --------------------------------------------------------------------------------

void Device::trim_later() noexcept {
    if (!atomic_exchange(&ticking_, true))
        xpv_blkfront_os_tick(os_, trim_ms);
}

void Device::tick() noexcept {
    atomic_store(&ticking_, false);
    if (phase() == Phase::Connected)
        pool_.trim();
    mind_pool();
    if (!down_ || settings_.fail_after_s == 0)
        return;
    (void)released();
    if (xpv_now_ms() - down_since_ < uint64_t{settings_.fail_after_s} * 1000) {
        xpv_blkfront_os_tick(os_, deadline_ms);
        return;
    }
    if (!load_once(&failing_))
        xpv_log(bus(), XPV_LOG_ERR, "no backend for %u s: requests fail", settings_.fail_after_s);
    store_once(&failing_, true);
    fail_parked();
    xpv_blkfront_os_start(os_);
    if (!parked_.empty())
        xpv_blkfront_os_tick(os_, deadline_ms);
}

// Not those whose own pages the last backend can still write to.
void Device::fail_parked() noexcept {
    RequestList over;
    {
        const Guard guard{park_lock_};
        RequestList all;
        all.append(parked_);
        while (Request* const request = all.pop()) {
            if ((request->flags & Ring::lent) != 0) {
                parked_.push(*request);
                continue;
            }
            request->status = XPV_BLKFRONT_IO_ERROR;
            over.push(*request);
        }
    }
    if (!over.empty())
        xpv_blkfront_os_done(os_, over.take_chain());
}

// The driver leaves: pages that the backend still holds get an owner who waits for it.
void Device::fail_all() noexcept {
    store_once(&failing_, true);
    {
        const Guard guard{park_lock_};
        for (Request* request = parked_.front(); request != nullptr; request = request->next) {
            if ((request->flags & Ring::lent) == 0)
                continue;
            pool_.abandon(request->first);
            pool_.give({Pool::none, request->first});
            request->first = Pool::none;
            request->flags = 0;
        }
    }
    fail_parked();
}

void Device::wake_first() noexcept {
    for (;;) {
        const QueueIndex ring = pool_.next();
        if (ring == QueueIndex::none()) [[likely]]
            return;
        rings_[ring.number()]->kick();
        if (pool_.next() == ring)
            return; // still not enough
    }
}

} // namespace xpv::blkfront
