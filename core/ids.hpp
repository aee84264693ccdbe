// SPDX-License-Identifier: GPL-2.0-only
// Small integers handed out and taken back, each with a generation: an id that
// comes back twice, out of range or from a former life is noticed.
#pragma once

#include "core/result.hpp"

namespace xpv {

// At most `capacity` ids, last in first out so that warm buffers are used again.
// The owner's lock protects it; nothing allocates. take() and give() are O(1).
template <uint32_t capacity> class IdPool : NoCopy {
public:
    static_assert(capacity > 0 && capacity <= 65536);
    using Id = uint16_t;
    static constexpr uint32_t none = ~uint32_t{0};

    // An id that is out, from find(): nobody else makes one.
    class Known {
    public:
        constexpr Known() noexcept = default;
        constexpr uint32_t number() const noexcept { return number_; }

    private:
        friend class IdPool;
        explicit constexpr Known(uint32_t number) noexcept : number_{number} {}
        uint32_t number_ = none;
    };

    IdPool() noexcept { reset(); }

    // All ids free again. Generations go on counting, so old tickets stay void.
    void reset() noexcept {
        for (uint32_t i = 0; i < capacity; ++i) {
            free_[i] = static_cast<Id>(capacity - 1 - i);
            if (generation_[i] & 1)
                ++generation_[i];
        }
        count_ = capacity;
    }

    uint32_t available() const noexcept { return count_; }
    uint32_t in_use() const noexcept { return capacity - count_; }

    // An id, or `none`.
    uint32_t take() noexcept {
        if (count_ == 0)
            return none;
        const Id id = free_[--count_];
        ++generation_[id]; // odd: in use
        return id;
    }

    bool is_taken(uint32_t id) const noexcept { return id < capacity && (generation_[id] & 1); }

    // Give an id back. Protocol when it is not out: the caller got it from a peer.
    Result<void> give(uint32_t id) noexcept {
        if (!is_taken(id))
            return Error::Protocol;
        ++generation_[id];
        free_[count_++] = static_cast<Id>(id);
        return {};
    }

    // What a peer sent back: the id that is out, in the same life. Protocol: there is none.
    Result<Known> find(uint32_t id, uint32_t life) const noexcept {
        if (!is_taken(id) || generation(id) != life)
            return Error::Protocol;
        return Known{id};
    }
    // The same of an id whose lives nobody counts.
    Result<Known> find(uint32_t id) const noexcept {
        if (!is_taken(id))
            return Error::Protocol;
        return Known{id};
    }
    // Once only.
    void give(Known id) noexcept { (void)give(id.number_); }

    // The life that this id is in; even when it is free.
    uint32_t generation(uint32_t id) const noexcept { return generation_[id]; }

private:
    Id free_[capacity];
    uint32_t generation_[capacity] = {};
    uint32_t count_ = 0;
};

} // namespace xpv
