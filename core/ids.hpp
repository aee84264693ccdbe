// SPDX-License-Identifier: GPL-2.0-only
// Small integers handed out and taken back, each with a generation: an id that
// comes back twice, out of range or from a former life is noticed.
#pragma once

#include "core/id.hpp"
#include "core/result.hpp"

namespace xpv {

// At most `capacity` ids, last in first out so that warm buffers are used again.
// The owner's lock protects it; nothing allocates. take() and give() are O(1).
// What others send back becomes an Id in find() only.
template <class Id, uint32_t capacity> class IdPool : NoCopy {
public:
    static_assert(capacity > 0 && capacity <= 65536);

    IdPool() noexcept { reset(); }

    // All ids free again. Generations go on counting, so old tickets stay void.
    void reset() noexcept {
        for (uint32_t i = 0; i < capacity; ++i) {
            free_[i] = static_cast<uint16_t>(capacity - 1 - i);
            if (generation_[i] & 1)
                ++generation_[i];
        }
        count_ = capacity;
    }

    uint32_t available() const noexcept { return count_; }
    uint32_t in_use() const noexcept { return capacity - count_; }

    // An id, or none().
    Id take() noexcept {
        if (count_ == 0)
            return Id::none();
        const uint32_t number = free_[--count_];
        ++generation_[number]; // odd: in use
        return Id{number};
    }

    bool is_taken(uint32_t number) const noexcept {
        return number < capacity && (generation_[number] & 1);
    }

    // Give an id back. Protocol when it is not out.
    Result<void> give(Id id) noexcept {
        if (!is_taken(id.number()))
            return Error::Protocol;
        ++generation_[id.number()];
        free_[count_++] = static_cast<uint16_t>(id.number());
        return {};
    }

    // What a peer sent back: the id that is out. Protocol: there is none.
    Result<Id> find(uint32_t number) const noexcept {
        if (!is_taken(number))
            return Error::Protocol;
        return Id{number};
    }
    // The same, in the same life.
    Result<Id> find(uint32_t number, uint32_t life) const noexcept {
        if (!is_taken(number) || generation_[number] != life)
            return Error::Protocol;
        return Id{number};
    }

    // The life that this id is in; even when it is free.
    uint32_t generation(Id id) const noexcept { return generation_[id.number()]; }

private:
    uint16_t free_[capacity];
    uint32_t generation_[capacity] = {};
    uint32_t count_ = 0;
};

} // namespace xpv
