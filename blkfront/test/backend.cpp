// SPDX-License-Identifier: GPL-2.0-only
// The backend's end of a ring.
#include "blkfront/test/fake.hpp"

namespace xpv::fake {

namespace {

// folder + name + number, as a node's name.
struct NodeName {
    char text[48] = {};
    uint32_t length = 0;
    NodeName& add(const char* part) noexcept {
        while (*part != '\0')
            text[length++] = *part++;
        return *this;
    }
    NodeName& add(uint32_t number) noexcept {
        if (number >= 10)
            add(number / 10);
        text[length++] = static_cast<char>('0' + number % 10);
        return *this;
    }
};

} // namespace

// Contiguous in our memory, since the frontend's are.
Blkback::Blkback(Disk& of, uint32_t index) noexcept : disk{of} {
    const uint32_t queues = of.world.bus.own.number("multi-queue-num-queues", 1);
    NodeName folder;
    if (queues > 1)
        folder.add("queue-").add(index).add("/");
    const auto node = [&of, &folder](const char* name, uint32_t number) noexcept {
        NodeName full = folder;
        full.add(name);
        if (number != ~0u)
            full.add(number);
        return of.world.bus.own.number(full.text);
    };
    // The mere presence of ring-page-order changes the names of the others.
    const bool orders = of.world.bus.own.get("ring-page-order") != nullptr;
    order = orders ? of.node("ring-page-order") : 0;
    for (uint32_t i = 0; i < 1U << order; ++i) {
        uint8_t* const page =
            of.world.grants.map(of.world.bus.domid, node("ring-ref", orders ? i : ~0u), true);
        if (page == nullptr || (i != 0 && page != static_cast<uint8_t*>(shared) + i * page_size)) {
            XPV_FAKE_FAIL("page %u of ring %u is not granted", i, index);
            return;
        }
        if (i == 0)
            shared = page;
    }
    port = node("event-channel", ~0u);
    req_cons = rsp_prod = words()[2];
    valid = true;
}

uint32_t Blkback::requests() const noexcept { return valid ? words()[0] - req_cons : 0; }

namespace {

template <class T> T word(const volatile uint8_t* from) noexcept {
    uint8_t bytes[sizeof(T)];
    for (uint32_t i = 0; i < sizeof(T); ++i)
        bytes[i] = from[i];
    T value;
    __builtin_memcpy(&value, bytes, sizeof(T));
    return value;
}

} // namespace

bool Blkback::take(Taken& taken) noexcept {
    if (requests() == 0)
        return false;
    const volatile uint8_t* const s = slot(req_cons++);
    taken = {};
    taken.op = taken.inner = s[0];
    taken.id = word<uint64_t>(s + 8);
    taken.sector = word<uint64_t>(s + 16);
    if (word<uint32_t>(s + 4) != 0)
        XPV_FAKE_FAIL("padding that is not zero");
    switch (taken.op) {
    case 5:
        taken.flag = s[1];
        taken.count = word<uint64_t>(s + 24);
        return true;
    case 0:
    case 1:
    case 2:
    case 3:
        taken.segments = s[1];
        if (taken.segments > 11 || (taken.segments == 0 && taken.op < 2))
            XPV_FAKE_FAIL("%u segments in operation %u", taken.segments, taken.op);
        for (uint32_t i = 0; i < taken.segments; ++i) {
            taken.refs[i] = word<uint32_t>(s + 24 + 8 * i);
            taken.first[i] = s[28 + 8 * i];
            taken.last[i] = s[29 + 8 * i];
        }
        return true;
    case 6: {
        taken.inner = s[1];
        taken.segments = word<uint16_t>(s + 2);
        const uint32_t ref = word<uint32_t>(s + 28);
        static uint8_t page[page_size];
        if (taken.inner > 1 || taken.segments <= 11 || taken.segments > 256 ||
            taken.segments > disk.world.bus.peer.number("feature-max-indirect-segments", 0) ||
            disk.world.grants.read(disk.world.bus.domid, ref, 0, page, page_size) != 0) {
            XPV_FAKE_FAIL("an indirect request of %u segments, operation %u", taken.segments,
                          taken.inner);
            return false;
        }
        for (uint32_t i = 0; i < taken.segments; ++i) {
            taken.refs[i] = word<uint32_t>(page + 8 * i);
            taken.first[i] = page[8 * i + 4];
            taken.last[i] = page[8 * i + 5];
        }
        return true;
    }
    default:
        XPV_FAKE_FAIL("operation %u", taken.op);
        return false;
    }
}

void Blkback::perform(const Taken& taken) noexcept {
    if (taken.op == 5) {
        for (uint64_t i = taken.sector * 512; i < (taken.sector + taken.count) * 512; ++i)
            disk.medium[i] = 0;
        return;
    }
    uint64_t at = taken.sector;
    for (uint32_t i = 0; i < taken.segments; ++i) {
        const uint32_t first = taken.first[i];
        const uint32_t count = taken.last[i] - first + 1U;
        if (taken.last[i] < first || taken.last[i] > 7 || at + count > Disk::sectors) {
            XPV_FAKE_FAIL("segment %u: sectors %u..%u at %llu", i, first, taken.last[i],
                          static_cast<unsigned long long>(at));
            return;
        }
        uint8_t* const bytes = disk.medium + at * 512;
        OurGrants& grants = disk.world.grants;
        const int status =
            taken.inner == 0
                ? grants.write(disk.world.bus.domid, taken.refs[i], first * 512, bytes, count * 512)
                : grants.read(disk.world.bus.domid, taken.refs[i], first * 512, bytes, count * 512);
        if (status != 0)
            XPV_FAKE_FAIL("segment %u: reference %u cannot be used: %d", i, taken.refs[i], status);
        at += count;
    }
    const uint64_t size = disk.world.bus.peer.number("sector-size", 512) / 512;
    if (taken.sector % size != 0 || (at - taken.sector) % size != 0)
        XPV_FAKE_FAIL("a part of a block: %llu sectors",
                      static_cast<unsigned long long>(at - taken.sector));
}

void Blkback::answer(uint64_t id, uint8_t op, int16_t status) noexcept {
    volatile uint8_t* const s = slot(rsp_prod++);
    const auto* const from = reinterpret_cast<const uint8_t*>(&id);
    for (uint32_t i = 0; i < 8; ++i)
        s[i] = from[i];
    s[8] = op;
    s[10] = static_cast<uint8_t>(status);
    s[11] = static_cast<uint8_t>(static_cast<uint16_t>(status) >> 8);
}

bool Blkback::publish() noexcept {
    const uint32_t old = words()[2];
    fence();
    words()[2] = rsp_prod;
    fence();
    const bool wanted = rsp_prod - words()[3] < rsp_prod - old;
    if (wanted)
        disk.world.events.raise(port);
    return wanted;
}

uint32_t Blkback::serve() noexcept {
    uint32_t count = 0;
    Taken taken;
    while (requests() != 0) {
        while (take(taken)) {
            perform(taken);
            answer(taken.id, taken.inner);
            ++count;
        }
        publish();
    }
    return count;
}

} // namespace xpv::fake
