// SPDX-License-Identifier: GPL-2.0-only
// The other end of a ring, played through raw memory: no code of core/ is used, so
// that two mistakes cannot hide each other. Offsets and rules: xen/io/ring.h.
#pragma once

#include <stdint.h>

namespace xpv::fake {

// The shared page as it is. Everything a hostile peer can write, it writes here.
class RawRing {
public:
    // slot_bytes and slots are the protocol's: 12 (tx, 256 per page), 8 (rx, 256), ...
    RawRing(void* shared, uint32_t slot_bytes, uint32_t slots) noexcept
        : words_{static_cast<volatile uint32_t*>(shared)}, slot_bytes_{slot_bytes}, slots_{slots} {}

    uint32_t req_prod() const noexcept { return words_[0]; }
    uint32_t req_event() const noexcept { return words_[1]; }
    uint32_t rsp_prod() const noexcept { return words_[2]; }
    uint32_t rsp_event() const noexcept { return words_[3]; }
    void req_prod(uint32_t value) noexcept { words_[0] = value; }
    void req_event(uint32_t value) noexcept { words_[1] = value; }
    void rsp_prod(uint32_t value) noexcept { words_[2] = value; }
    void rsp_event(uint32_t value) noexcept { words_[3] = value; }

    // SHARED_RING_INIT, with indices that may start anywhere.
    void initialise(uint32_t start = 0) noexcept {
        req_prod(start);
        rsp_prod(start);
        req_event(start + 1);
        rsp_event(start + 1);
    }

    uint32_t slots() const noexcept { return slots_; }
    uint32_t slot_bytes() const noexcept { return slot_bytes_; }
    volatile uint8_t* slot(uint32_t index) const noexcept {
        return reinterpret_cast<volatile uint8_t*>(const_cast<uint32_t*>(words_)) + 64 +
               (index % slots_) * slot_bytes_;
    }
    template <class Slot> void write(uint32_t index, const Slot& value) noexcept {
        const auto* from = reinterpret_cast<const uint8_t*>(&value);
        for (uint32_t i = 0; i < sizeof(Slot); ++i)
            slot(index)[i] = from[i];
    }
    template <class Slot> Slot read(uint32_t index) const noexcept {
        Slot value;
        auto* to = reinterpret_cast<uint8_t*>(&value);
        for (uint32_t i = 0; i < sizeof(Slot); ++i)
            to[i] = slot(index)[i];
        return value;
    }

private:
    volatile uint32_t* words_;
    uint32_t slot_bytes_;
    uint32_t slots_;
};

inline void fence() noexcept { __sync_synchronize(); }

// A frontend that keeps to the rules, unless the test reaches for raw.
class PeerFront {
public:
    PeerFront(void* shared, uint32_t slot_bytes, uint32_t slots, uint32_t start = 0) noexcept
        : raw{shared, slot_bytes, slots}, req_prod{start}, rsp_cons{start} {
        raw.initialise(start);
    }

    RawRing raw;
    uint32_t req_prod; // private copies: change them to misbehave
    uint32_t rsp_cons;

    uint32_t free() const noexcept { return raw.slots() - (req_prod - rsp_cons); }
    template <class Slot> void push(const Slot& slot) noexcept { raw.write(req_prod++, slot); }
    // Show what was pushed; true: the backend wants an event.
    bool publish() noexcept {
        const uint32_t old = raw.req_prod();
        fence();
        raw.req_prod(req_prod);
        fence();
        return req_prod - raw.req_event() < req_prod - old;
    }
    uint32_t responses() const noexcept { return raw.rsp_prod() - rsp_cons; }
    template <class Slot> Slot take() noexcept { return raw.read<Slot>(rsp_cons++); }
    // Ask for an event at the next response; true: it is there already.
    bool arm(uint32_t more = 1) noexcept {
        raw.rsp_event(rsp_cons + more);
        fence();
        return responses() >= more;
    }
};

// A backend that keeps to the rules, unless the test reaches for raw.
class PeerBack {
public:
    // Attaches where the frontend initialised the ring.
    PeerBack(void* shared, uint32_t slot_bytes, uint32_t slots) noexcept
        : raw{shared, slot_bytes, slots}, req_cons{raw.rsp_prod()}, rsp_prod{raw.rsp_prod()} {}

    RawRing raw;
    uint32_t req_cons;
    uint32_t rsp_prod;

    uint32_t requests() const noexcept { return raw.req_prod() - req_cons; }
    template <class Slot> Slot take() noexcept { return raw.read<Slot>(req_cons++); }
    template <class Slot> void push(const Slot& slot) noexcept { raw.write(rsp_prod++, slot); }
    // Show what was pushed; true: the frontend wants an event.
    bool publish() noexcept {
        const uint32_t old = raw.rsp_prod();
        fence();
        raw.rsp_prod(rsp_prod);
        fence();
        return rsp_prod - raw.rsp_event() < rsp_prod - old;
    }
    bool arm(uint32_t more = 1) noexcept {
        raw.req_event(req_cons + more);
        fence();
        return requests() >= more;
    }
};

} // namespace xpv::fake
