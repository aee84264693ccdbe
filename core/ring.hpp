// SPDX-License-Identifier: GPL-2.0-only
// Both ends of a shared ring: xen/io/ring.h, with slots that are copied exactly
// once and producer indices that are never believed.
//
// A ring object belongs to one context at a time; the caller holds its lock. The
// shared page is attached once and outlives the object's use. Nothing that the
// peer can write is ever read back: req_prod, rsp_prod and both consumers are
// kept privately, only the peer's own producer and event index are loaded.
#pragma once

#include "core/barrier.hpp"
#include "core/kapi.h"
#include "core/result.hpp"
#include "core/untrusted.hpp"
#include "core/xen.hpp"

namespace xpv {

using RingIndex = uint32_t;

template <class Sring> struct RingTypes {
    using Entry = typename RemoveReference<decltype((*static_cast<Sring*>(nullptr)).ring[0])>::Type;
    using Request = decltype(Entry::req);
    using Response = decltype(Entry::rsp);
    static_assert(sizeof(Entry) % sizeof(uint32_t) == 0 && alignof(Entry) >= alignof(uint32_t));

    // Offset of the first slot; fixed by ring.h.
    static constexpr size_t header = 64;
    static_assert(__builtin_offsetof(Sring, ring) == header);

    // Slots in a ring of the given size in bytes: a power of two.
    static constexpr uint32_t slots(size_t bytes) noexcept {
        return round_down_pow2(static_cast<uint32_t>((bytes - header) / sizeof(Entry)));
    }
};

namespace detail {
template <class Ring, class Sring>
void view_ring(const Ring& ring, const Sring& shared, xpv_ring_view& view) noexcept {
    view.size = ring.size();
    view.req = ring.request_index();
    view.rsp = ring.response_index();
    view.shared_req_prod = load_once(&shared.req_prod);
    view.shared_req_event = load_once(&shared.req_event);
    view.shared_rsp_prod = load_once(&shared.rsp_prod);
    view.shared_rsp_event = load_once(&shared.rsp_event);
}
} // namespace detail

// The end that writes requests and reads responses.
template <class Sring> class FrontRing : NoCopy {
public:
    using Types = RingTypes<Sring>;
    using Entry = typename Types::Entry;
    using Request = typename Types::Request;
    using Response = typename Types::Response;

    FrontRing() noexcept = default;

    // Take over zeroed shared memory of the given size in bytes and initialise it
    // (SHARED_RING_INIT). Both indices start at zero.
    void attach(void* shared, size_t bytes) noexcept { attach_at(shared, bytes, 0); }

    // The same with indices that start elsewhere, to test their wrap-around.
    void attach_at(void* shared, size_t bytes, RingIndex start) noexcept {
        sring_ = static_cast<Sring*>(shared);
        slots_ = Types::slots(bytes);
        req_prod_ = req_published_ = rsp_cons_ = start;
        store_once(&sring_->req_prod, start);
        store_once(&sring_->rsp_prod, start);
        store_once(&sring_->req_event, start + 1);
        store_once(&sring_->rsp_event, start + 1);
    }

    void detach() noexcept { sring_ = nullptr; }
    bool attached() const noexcept { return sring_ != nullptr; }

    uint32_t size() const noexcept { return slots_; }
    // Slots that a new request may use.
    uint32_t free() const noexcept { return slots_ - (req_prod_ - rsp_cons_); }
    // Requests published and not answered yet, as far as responses were consumed.
    uint32_t in_flight() const noexcept { return req_published_ - rsp_cons_; }
    RingIndex request_index() const noexcept { return req_prod_; }
    RingIndex response_index() const noexcept { return rsp_cons_; }
    uint32_t slot_of(RingIndex index) const noexcept { return index & (slots_ - 1); }
    // Indices and size, while it is attached; the numbers may be a moment old.
    void view(xpv_ring_view& view) const noexcept { detail::view_ring(*this, *sring_, view); }

    // Write one slot, visible to the peer only after publish(). Slot is Request, or
    // another type that the protocol lays over a request. Needs free() > 0.
    template <class Slot> void put(const Slot& slot) noexcept {
        static_assert(sizeof(Slot) <= sizeof(Entry));
        copy_to_shared(reinterpret_cast<Slot*>(entry(req_prod_)), slot);
        ++req_prod_;
    }

    // Overwrite the first byte of a request that the peer has read.
    void scrub(RingIndex index, uint8_t byte) noexcept {
        store_once(reinterpret_cast<uint8_t*>(entry(index)), byte);
    }

    uint32_t unpublished() const noexcept { return req_prod_ - req_published_; }

    // Show all put slots to the peer. True: it asked to be notified.
    [[nodiscard]] bool publish() noexcept {
        const RingIndex old = req_published_;
        wmb(); // slots before the index that covers them
        store_once(&sring_->req_prod, req_prod_);
        req_published_ = req_prod_;
        mb(); // the index before our look at req_event: else both ends sleep
        return RingIndex(req_prod_ - load_once(&sring_->req_event)) < RingIndex(req_prod_ - old);
    }

    // Responses waiting, from one snapshot of rsp_prod; Protocol when the peer
    // claims more than is in flight (which covers an index that goes backwards).
    Result<uint32_t> pending() noexcept {
        const RingIndex produced = load_once(&sring_->rsp_prod);
        rmb(); // the index before the slots that it covers
        const uint32_t count = produced - rsp_cons_;
        if (count > in_flight())
            return Error::Protocol;
        return count;
    }

    // Copy the next response out. Only as often as pending() said.
    template <class Slot = Response> [[gnu::always_inline]] Untrusted<Slot> take() noexcept {
        static_assert(sizeof(Slot) <= sizeof(Entry));
        return Untrusted<Slot>::of([this](Slot& to) noexcept {
            copy_from_shared(reinterpret_cast<const Slot*>(entry(rsp_cons_++)), to);
        });
    }

    // Before sleeping: ask for an event once `more` further responses are there
    // (1..size). True: they already are, do not sleep.
    [[nodiscard]] bool arm(uint32_t more = 1) noexcept {
        store_once(&sring_->rsp_event, rsp_cons_ + more);
        mb(); // the event index before the re-check: pairs with the peer's publish()
        const uint32_t count = load_once(&sring_->rsp_prod) - rsp_cons_;
        return count >= more;
    }

private:
    Entry* entry(RingIndex index) const noexcept { return &sring_->ring[0] + slot_of(index); }

    Sring* sring_ = nullptr;
    uint32_t slots_ = 0;
    RingIndex req_prod_ = 0;
    RingIndex req_published_ = 0;
    RingIndex rsp_cons_ = 0;
};

// The end that reads requests and writes responses.
template <class Sring> class BackRing : NoCopy {
public:
    using Types = RingTypes<Sring>;
    using Entry = typename Types::Entry;
    using Request = typename Types::Request;
    using Response = typename Types::Response;

    BackRing() noexcept = default;

    // Take over a ring that the frontend initialised, of the given size in bytes,
    // going on where a former backend's responses ended. Protocol when the indices
    // cannot be those of a ring.
    Result<void> attach(void* shared, size_t bytes) noexcept {
        auto* sring = static_cast<Sring*>(shared);
        const RingIndex start = load_once(&sring->rsp_prod);
        const RingIndex produced = load_once(&sring->req_prod);
        const uint32_t slots = Types::slots(bytes);
        if (RingIndex(produced - start) > slots)
            return Error::Protocol;
        sring_ = sring;
        slots_ = slots;
        req_cons_ = rsp_prod_ = rsp_published_ = start;
        return {};
    }

    void detach() noexcept { sring_ = nullptr; }
    bool attached() const noexcept { return sring_ != nullptr; }

    uint32_t size() const noexcept { return slots_; }
    // Requests taken and not answered yet.
    uint32_t in_service() const noexcept { return req_cons_ - rsp_prod_; }
    RingIndex request_index() const noexcept { return req_cons_; }
    RingIndex response_index() const noexcept { return rsp_prod_; }
    uint32_t slot_of(RingIndex index) const noexcept { return index & (slots_ - 1); }
    // Indices and size, while it is attached; the numbers may be a moment old.
    void view(xpv_ring_view& view) const noexcept { detail::view_ring(*this, *sring_, view); }

    // Requests waiting, from one snapshot of req_prod; Protocol when they cannot
    // all be in the ring at once (an index too far ahead, or one gone backwards).
    Result<uint32_t> pending() noexcept {
        const RingIndex produced = load_once(&sring_->req_prod);
        rmb(); // the index before the slots that it covers
        const uint32_t count = produced - req_cons_;
        if (count > slots_ - in_service())
            return Error::Protocol;
        return count;
    }

    // Copy the next slot out as a request or as what the protocol lays over it.
    // Only as often as pending() said.
    template <class Slot = Request> [[gnu::always_inline]] Untrusted<Slot> take() noexcept {
        static_assert(sizeof(Slot) <= sizeof(Entry));
        return Untrusted<Slot>::of([this](Slot& to) noexcept {
            copy_from_shared(reinterpret_cast<const Slot*>(entry(req_cons_++)), to);
        });
    }

    // Write one response, visible after publish(). Needs in_service() > 0.
    template <class Slot> void put(const Slot& slot) noexcept {
        static_assert(sizeof(Slot) <= sizeof(Entry));
        copy_to_shared(reinterpret_cast<Slot*>(entry(rsp_prod_)), slot);
        ++rsp_prod_;
    }

    uint32_t unpublished() const noexcept { return rsp_prod_ - rsp_published_; }

    // Show all put responses to the peer. True: it asked to be notified.
    [[nodiscard]] bool publish() noexcept {
        const RingIndex old = rsp_published_;
        wmb(); // slots before the index that covers them
        store_once(&sring_->rsp_prod, rsp_prod_);
        rsp_published_ = rsp_prod_;
        mb(); // the index before our look at rsp_event: else both ends sleep
        return RingIndex(rsp_prod_ - load_once(&sring_->rsp_event)) < RingIndex(rsp_prod_ - old);
    }

    // Before sleeping: ask for an event once `more` further requests are there
    // (1..size). True: they already are, do not sleep.
    [[nodiscard]] bool arm(uint32_t more = 1) noexcept {
        store_once(&sring_->req_event, req_cons_ + more);
        mb(); // the event index before the re-check: pairs with the peer's publish()
        const uint32_t count = load_once(&sring_->req_prod) - req_cons_;
        return count >= more;
    }

private:
    Entry* entry(RingIndex index) const noexcept { return &sring_->ring[0] + slot_of(index); }

    Sring* sring_ = nullptr;
    uint32_t slots_ = 0;
    RingIndex req_cons_ = 0;
    RingIndex rsp_prod_ = 0;
    RingIndex rsp_published_ = 0;
};

} // namespace xpv
