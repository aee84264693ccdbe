// SPDX-License-Identifier: GPL-2.0-only
// One xenbus device: both ends' folders in xenstore, our transactions, our state.
#pragma once

#include "core/kapi.h"
#include "kunit/fake/account.hpp"

namespace xpv::fake {

// A folder of small text nodes.
class Folder : NoCopy {
public:
    Folder() noexcept;
    ~Folder();

    void set(const char* key, const char* text) noexcept;
    void set(const char* key, uint32_t number) noexcept;
    void remove(const char* key) noexcept;
    void clear() noexcept;
    // nullptr when there is no such node.
    const char* get(const char* key) const noexcept;
    // A number that is there and is one; else `otherwise`.
    uint32_t number(const char* key, uint32_t otherwise = ~uint32_t{0}) const noexcept;
    uint32_t count() const noexcept { return count_; }
    // "key=text" of each in turn.
    const char* key_at(uint32_t i) const noexcept;

    void copy_from(const Folder& other) noexcept;

private:
    struct Node {
        char key[48];
        char text[96];
    };
    static constexpr uint32_t max_nodes = 400;
    Node* find(const char* key) const noexcept;

    Node* nodes_;
    uint32_t count_ = 0;
};

} // namespace xpv::fake

// Tests may make further ones beside World::bus.
struct xpv_xenbus {
    explicit xpv_xenbus(uint16_t peer_domid) noexcept : domid{peer_domid} {}

    uint16_t domid;
    xpv::fake::Folder own;
    xpv::fake::Folder peer;
    int gone = -13; // what a look into a folder says that is no more; to dom0, -2

    // Every xpv_xenbus_switch(), in order; the last is also own's "state".
    static constexpr uint32_t max_switches = 64;
    uint8_t switches[max_switches] = {};
    uint32_t switched = 0;
    uint32_t state() const noexcept {
        return switched == 0 ? 0 : switches[(switched - 1) % max_switches];
    }

    uint32_t reports = 0;  // xpv_end_report()
    bool reported = false; // and not well since

    bool in_transaction = false;
    uint32_t transactions = 0; // ended with commit, EAGAIN not counted
    xpv::fake::Folder before;  // own, as it was when the transaction began
};
