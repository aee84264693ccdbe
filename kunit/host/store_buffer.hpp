// SPDX-License-Identifier: GPL-2.0-only
// What a CPU stored and the others do not see yet: x86's TSO. Stores reach memory in their
// order, at any time; the CPU itself sees the newest.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace xpv::host {

struct Store {
    void* address;
    uint64_t value;
    uint32_t size;
    bool late; // locked instructions do not wait for it: no such thing on x86
};

class StoreBuffer {
public:
    void clear() { count_ = 0; }
    bool empty() const { return count_ == 0; }
    bool full() const { return count_ == static_cast<int>(stores_.size()); }
    int count() const { return count_; }
    const Store& operator[](int i) const { return stores_[static_cast<size_t>(i)]; }
    const Store& oldest() const { return stores_[0]; }

    // Only when not full.
    Store& push(const Store& store) { return stores_[static_cast<size_t>(count_++)] = store; }
    // The newest store to an address, or nullptr.
    Store* find(const void* address) {
        for (int i = count_; i-- > 0;)
            if (stores_[static_cast<size_t>(i)].address == address)
                return &stores_[static_cast<size_t>(i)];
        return nullptr;
    }
    // The oldest store reaches memory. What was there before.
    uint64_t drain_one() {
        const Store& s = stores_[0];
        uint64_t old = 0;
        memcpy(&old, s.address, s.size);
        memcpy(s.address, &s.value, s.size);
        for (size_t i = 1; i < static_cast<size_t>(count_); ++i)
            stores_[i - 1] = stores_[i];
        --count_;
        return old;
    }

private:
    std::array<Store, 8> stores_;
    int count_ = 0;
};

} // namespace xpv::host
