// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

namespace xpv::fake {
namespace {

bool same(const char* a, const char* b) noexcept {
    while (*a != '\0' && *a == *b)
        ++a, ++b;
    return *a == *b;
}

bool is_or_is_below(const char* node, const char* folder) noexcept {
    while (*folder != '\0' && *node == *folder)
        ++node, ++folder;
    return *folder == '\0' && (*node == '\0' || *node == '/');
}

uint32_t length_of(const char* text) noexcept {
    uint32_t length = 0;
    while (text[length] != '\0')
        ++length;
    return length;
}

template <uint32_t size> void put(char (&to)[size], const char* from) noexcept {
    const uint32_t length = length_of(from);
    if (length >= size)
        XPV_FAKE_FAIL("too long for the fake xenstore: %s", from);
    const uint32_t n = length < size ? length : size - 1;
    __builtin_memcpy(to, from, n);
    to[n] = '\0';
}

} // namespace

Folder::Folder() noexcept : nodes_{static_cast<Node*>(xpv_test_alloc(max_nodes * sizeof(Node)))} {}
Folder::~Folder() { xpv_test_free(nodes_); }

Folder::Node* Folder::find(const char* key) const noexcept {
    for (uint32_t i = 0; i < count_; ++i)
        if (same(nodes_[i].key, key))
            return &nodes_[i];
    return nullptr;
}

void Folder::set(const char* key, const char* text) noexcept {
    Node* node = find(key);
    if (node == nullptr) {
        if (count_ == max_nodes) {
            XPV_FAKE_FAIL("the fake xenstore is full");
            return;
        }
        node = &nodes_[count_++];
        put(node->key, key);
    }
    put(node->text, text);
}

void Folder::set(const char* key, uint32_t number) noexcept {
    char text[11];
    char* digit = text + sizeof(text) - 1;
    *digit = '\0';
    do {
        *--digit = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    set(key, digit);
}

void Folder::remove(const char* key) noexcept {
    if (Node* node = find(key))
        *node = nodes_[--count_];
}

void Folder::clear() noexcept { count_ = 0; }

const char* Folder::get(const char* key) const noexcept {
    const Node* node = find(key);
    return node != nullptr ? node->text : nullptr;
}

uint32_t Folder::number(const char* key, uint32_t otherwise) const noexcept {
    const char* text = get(key);
    if (text == nullptr || *text == '\0')
        return otherwise;
    uint64_t number = 0;
    for (; *text != '\0'; ++text) {
        if (*text < '0' || *text > '9' || number > UINT32_MAX)
            return otherwise;
        number = number * 10 + static_cast<uint64_t>(*text - '0');
    }
    return number > UINT32_MAX ? otherwise : static_cast<uint32_t>(number);
}

const char* Folder::key_at(uint32_t i) const noexcept { return nodes_[i].key; }

void Folder::copy_from(const Folder& other) noexcept {
    __builtin_memcpy(nodes_, other.nodes_, other.count_ * sizeof(Node));
    count_ = other.count_;
}

} // namespace xpv::fake

using xpv::fake::Account;
using xpv::fake::Call;
using xpv::fake::Context;
using xpv::fake::world;

int xpv_xs_read(xpv_xenbus* bus, xpv_xs_dir dir, const char* key, char* buffer, uint32_t size) {
    Account& account = world().account;
    account.enter(Call::XsRead, Context::Process);
    if (const int code = account.inject(Call::XsRead, -5); code != 0)
        return code;
    const char* text = (dir == XPV_XS_PEER ? bus->peer : bus->own).get(key);
    if (text == nullptr)
        return dir == XPV_XS_PEER && bus->peer.count() == 0 ? bus->gone : -2;
    const uint32_t length = xpv::fake::length_of(text);
    if (length >= size)
        return -7;
    __builtin_memcpy(buffer, text, length + 1);
    return static_cast<int>(length);
}

int xpv_xs_begin(xpv_xenbus* bus) {
    Account& account = world().account;
    account.enter(Call::XsBegin, Context::Process);
    if (bus->in_transaction)
        XPV_FAKE_FAIL("a transaction inside a transaction");
    if (const int code = account.inject(Call::XsBegin, -12); code != 0)
        return code;
    bus->in_transaction = true;
    bus->before.copy_from(bus->own);
    account.transactions.take();
    return 0;
}

int xpv_xs_write(xpv_xenbus* bus, const char* key, const char* text) {
    Account& account = world().account;
    account.enter(Call::XsWrite, Context::Process);
    if (const int code = account.inject(Call::XsWrite, -5); code != 0)
        return code;
    bus->own.set(key, text);
    return 0;
}

int xpv_xs_remove(xpv_xenbus* bus, const char* key) {
    Account& account = world().account;
    account.enter(Call::XsRemove, Context::Process);
    if (const int code = account.inject(Call::XsRemove, -5); code != 0)
        return code;
    // A node goes with all that is below it.
    bool found = false;
    for (uint32_t i = bus->own.count(); i-- > 0;) {
        if (xpv::fake::is_or_is_below(bus->own.key_at(i), key)) {
            bus->own.remove(bus->own.key_at(i));
            found = true;
        }
    }
    return found ? 0 : -2;
}

int xpv_xs_end(xpv_xenbus* bus, bool abort) {
    Account& account = world().account;
    account.enter(Call::XsEnd, Context::Process);
    if (!bus->in_transaction) {
        XPV_FAKE_FAIL("the end of a transaction that was not begun");
        return -22;
    }
    bus->in_transaction = false;
    account.transactions.give();
    const int code = abort ? 0 : account.inject(Call::XsEnd, -11);
    if (abort || code != 0)
        bus->own.copy_from(bus->before);
    else
        ++bus->transactions;
    return code;
}

int xpv_xenbus_switch(xpv_xenbus* bus, uint32_t state) {
    Account& account = world().account;
    account.enter(Call::Switch, Context::Process);
    if (bus->in_transaction)
        XPV_FAKE_FAIL("a state is set inside a transaction");
    if (const int code = account.inject(Call::Switch, -5); code != 0)
        return code;
    bus->switches[bus->switched++ % xpv_xenbus::max_switches] = static_cast<uint8_t>(state);
    bus->own.set("state", state);
    return 0;
}

uint16_t xpv_xenbus_peer(const xpv_xenbus* bus) { return bus->domid; }
