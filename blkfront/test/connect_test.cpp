// SPDX-License-Identifier: GPL-2.0-only
// What both ends say in xenstore, and the life of a connection.
#include "blkfront/features.hpp"
#include "blkfront/test/fake.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using fake::Blkback;
using fake::BlockRequest;
using fake::Call;
using fake::Disk;
using test::each;

TEST(blkfront_names) {
    const struct {
        uint32_t vdevice;
        const char* text;
        uint32_t minor, minors;
    } rows[] = {
        {51712, "xvda", 0, 16},
        {51713, "xvda1", 1, 1},
        {51728, "xvdb", 16, 16},
        {51952, "xvdp", 240, 16},
        {51967, "xvdp15", 255, 1},
        {268439552, "xvdq", 4096, 256},
        {(1 << 28) | (25 << 8), "xvdz", 6400, 256},
        {(1 << 28) | (26 << 8), "xvdaa", 6656, 256},
        {(1 << 28) | (26 << 8) | 3, "xvdaa3", 6659, 1},
        {(1 << 28) | (4095 << 8), "xvdfan", 1048320, 256},
        {3 << 8, "xvda", 0, 16},         // hda
        {(3 << 8) | 64, "xvdb", 16, 16}, // hdb
        {(22 << 8) | 65, "xvdd1", 49, 1},
        {8 << 8, "xvda", 0, 16}, // sda
        {(8 << 8) | 33, "xvdc1", 33, 1},
        {65 << 8, "xvdq", 256, 16},
        {(71 << 8) | 240, "xvddx", 2032, 16},
        {128 << 8, "xvddy", 2048, 16},
    };
    for (const auto& row : rows) {
        const auto name = blkfront::disk_name(row.vdevice);
        CHECK(name.ok());
        CHECK_STREQ(name.value().text, row.text);
        CHECK_EQ(name.value().minor, row.minor);
        CHECK_EQ(name.value().minors, row.minors);
    }
    for (uint32_t bad : each(0u, 1u, 201u << 8, 203u << 8, 64u << 8, 72u << 8, 136u << 8,
                             (3u << 8) | 16, (1u << 28) | (1u << 20), 1u << 29, ~0u))
        CHECK(!blkfront::disk_name(bad).ok());
}

TEST(blkfront_connects) {
    Disk disk;
    CHECK(disk.create());
    disk.peer_state(XenbusStateInitialising);
    CHECK_EQ(disk.handle(XPV_PROBED), 0);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateInitialising});
    disk.peer_state(XenbusStateInitWait);
    CHECK_EQ(disk.handle(XPV_CHANGED), 0);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateInitialised});
    CHECK_EQ(disk.os.disks, 0u);
    CHECK(disk.os.stopped);
    CHECK_STREQ(disk.world.bus.own.get("protocol"), "x86_64-abi");
    CHECK_EQ(disk.node("feature-persistent"), 1u);
    CHECK(disk.world.bus.own.get("ring-page-order") == nullptr);
    CHECK(disk.world.bus.own.get("multi-queue-num-queues") == nullptr);
    disk.peer_state(XenbusStateConnected);
    CHECK_EQ(disk.handle(XPV_CHANGED), 0);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateConnected});
    CHECK_EQ(disk.os.disks, 1u);
    CHECK(!disk.os.stopped);
    CHECK_EQ(disk.os.disk.sectors, uint64_t{Disk::sectors});
    CHECK(disk.os.disk.flush && disk.os.disk.discard && disk.os.disk.erase);
    disk.handle(XPV_CHANGED); // nothing new
    CHECK_EQ(disk.os.disks, 1u);
    CHECK(!disk.os.disk.readonly && !disk.os.disk.barrier);
}

// Every layout of keys after every other: nothing of the former one stays.
TEST(blkfront_keys_of_each_layout) {
    for (uint32_t before : each(0u, 1u, 2u, 3u))
        for (uint32_t after : each(0u, 1u, 2u, 3u)) {
            Disk disk{4, 4};
            CHECK(disk.create());
            const auto offer = [&disk](uint32_t layout) noexcept {
                disk.world.bus.peer.set("multi-queue-max-queues", layout & 1 ? 2u : 1u);
                disk.world.bus.peer.set("max-ring-page-order", layout & 2 ? 4u : 0u);
            };
            offer(before);
            CHECK(disk.connect());
            disk.peer_state(XenbusStateClosed);
            disk.world.grants.let_go_all();
            disk.handle(XPV_CHANGED);
            offer(after);
            CHECK(disk.settle());
            const uint32_t rings = after & 1 ? 2 : 1;
            // 128 slots of a ring, 256 of a disk.
            const uint32_t order = after & 2 ? 2 : 0;
            CHECK_EQ(disk.summary().rings, rings);
            CHECK_EQ(disk.world.bus.own.get("ring-page-order") != nullptr, order != 0);
            CHECK_EQ(disk.world.bus.own.get("multi-queue-num-queues") != nullptr, rings > 1);
            CHECK_EQ(disk.world.bus.own.get("ring-ref") != nullptr, rings == 1 && order == 0);
            CHECK_EQ(disk.world.bus.own.get("ring-ref0") != nullptr, rings == 1 && order != 0);
            CHECK_EQ(disk.world.bus.own.get("event-channel") != nullptr, rings == 1);
            CHECK_EQ(disk.world.bus.own.get("queue-0/ring-ref") != nullptr,
                     rings > 1 && order == 0);
            CHECK_EQ(disk.world.bus.own.get("queue-1/ring-ref3") != nullptr,
                     rings > 1 && order != 0);
            for (uint32_t i = 0; i < rings; ++i) {
                Blkback back{disk, i};
                CHECK(back.valid);
                CHECK_EQ(back.order, order);
            }
            disk.world.grants.let_go_all();
        }
}

TEST(blkfront_takes_what_is_offered) {
    const struct {
        const char* node;
        const char* text;
        uint32_t rings, order, segments;
    } rows[] = {
        {"multi-queue-max-queues", "0", 1, 2, 256},
        {"multi-queue-max-queues", "3", 3, 1, 256},
        {"multi-queue-max-queues", "4294967295", 4, 1, 256},
        {"multi-queue-max-queues", "-1", 1, 2, 256},
        {"multi-queue-max-queues", "two", 1, 2, 256},
        {"max-ring-page-order", "0", 4, 0, 256},
        {"max-ring-page-order", "1", 4, 1, 256},
        {"max-ring-page-order", "4000000000", 4, 1, 256},
        {"max-ring-page-order", "x", 4, 0, 256},
        {"feature-max-indirect-segments", "0", 4, 1, 11},
        {"feature-max-indirect-segments", "11", 4, 1, 11},
        {"feature-max-indirect-segments", "12", 4, 1, 12},
        {"feature-max-indirect-segments", "4096", 4, 1, 256},
        {"feature-max-indirect-segments", "many", 4, 1, 11},
    };
    for (const auto& row : rows) {
        Disk disk{4, 4};
        disk.world.bus.peer.set(row.node, row.text);
        CHECK(disk.connect());
        CHECK_EQ(disk.summary().rings, row.rings);
        CHECK_EQ(disk.summary().segments, row.segments);
        Blkback back{disk};
        CHECK_EQ(back.order, row.order);
        disk.world.grants.let_go_all();
    }
    // RedHat's scheme.
    Disk disk{1, 4};
    disk.world.bus.peer.remove("max-ring-page-order");
    disk.world.bus.peer.set("max-ring-pages", 2);
    CHECK(disk.connect());
    CHECK_EQ(disk.node("num-ring-pages"), 2u);
    CHECK_EQ(disk.node("ring-page-order"), 1u);
}

// Copies are what persistence needs and what an untrusted backend gets.
TEST(blkfront_persistence_is_decided_blind) {
    const struct {
        xpv_blkfront_persistent wish;
        uint32_t indirect;
        const char* trusted;
        uint32_t promised;
        bool copies;
    } rows[] = {
        {XPV_BLKFRONT_AUTO, 256, "1", 1, true},     {XPV_BLKFRONT_AUTO, 0, "1", 0, false},
        {XPV_BLKFRONT_ON, 0, "1", 1, true},         {XPV_BLKFRONT_OFF, 256, "1", 0, false},
        {XPV_BLKFRONT_OFF, 256, "0", 0, true},      {XPV_BLKFRONT_AUTO, 0, "0", 0, true},
        {XPV_BLKFRONT_OFF, 256, nullptr, 0, false},
    };
    for (const auto& row : rows) {
        Disk disk{1, 0, row.indirect};
        disk.settings.persistent = static_cast<uint8_t>(row.wish);
        if (row.trusted != nullptr)
            disk.world.bus.own.set("trusted", row.trusted);
        CHECK(disk.connect());
        CHECK_EQ(disk.node("feature-persistent"), row.promised);
        CHECK_EQ(disk.summary().persistent, row.copies);
    }
}

TEST(blkfront_refuses_disks_that_cannot_be) {
    const struct {
        const char* node;
        const char* text;
    } rows[] = {
        {"sectors", ""},         {"sectors", "-1"},       {"sectors", "18446744073709551615"},
        {"sectors", "1e3"},      {"sector-size", "0"},    {"sector-size", "3"},
        {"sector-size", "513"},  {"sector-size", "1536"}, {"sector-size", "2147483648"},
        {"sector-size", "8192"}, {"sector-size", "x"},
    };
    for (const auto& row : rows) {
        Disk disk;
        disk.world.bus.peer.set(row.node, row.text);
        (void)disk.connect();
        CHECK_EQ(disk.os.disks, 0u);
        CHECK_EQ(disk.world.ends.reports, 1u);
        CHECK(disk.world.log.has(row.node));
        CHECK(disk.summary().failing);
        // It comes to its senses.
        disk.world.bus.peer.set("sectors", 100u);
        disk.world.bus.peer.set("sector-size", 512u);
        disk.handle(XPV_CHANGED);
        CHECK_EQ(disk.os.disks, 1u);
        CHECK(!disk.summary().failing);
    }
    Disk disk;
    disk.world.bus.peer.remove("sectors");
    (void)disk.connect();
    CHECK_EQ(disk.os.disks, 0u);
}

TEST(blkfront_reads_the_disk) {
    Disk disk;
    disk.world.bus.peer.set("sector-size", 4096u);
    disk.world.bus.peer.set("sectors", 1003u);
    disk.world.bus.peer.set("physical-sector-size", 512u);
    disk.world.bus.peer.set("info", 4u | 2u | 1u);
    disk.world.bus.peer.set("discard-granularity", 5u);
    CHECK(disk.connect());
    CHECK_EQ(disk.os.disk.sectors, 1000u);
    CHECK_EQ(disk.os.disk.sector_size, 4096u);
    CHECK_EQ(disk.os.disk.physical_size, 4096u);
    CHECK(disk.os.disk.readonly && disk.os.disk.removable && disk.os.disk.cdrom);
    CHECK(!disk.os.disk.discard && !disk.os.disk.erase); // read-only

    disk.world.bus.peer.set("info", 0u);
    disk.world.bus.peer.set("feature-flush-cache", 0u);
    disk.world.bus.peer.set("feature-barrier", 1u);
    disk.world.bus.peer.set("sectors", "9007199254740992");
    disk.handle(XPV_CHANGED); // Connected once more
    CHECK_EQ(disk.os.disks, 2u);
    CHECK_EQ(disk.os.disk.sectors, uint64_t{9007199254740992});
    CHECK_EQ(disk.os.disk.discard_bytes, 4096u);
    CHECK(disk.os.disk.barrier && disk.os.disk.flush);

    // Blocks of another size are another disk.
    disk.world.bus.peer.set("sector-size", 512u);
    disk.handle(XPV_CHANGED);
    CHECK_EQ(disk.os.disks, 2u);
    CHECK(disk.summary().failing);
}

TEST(blkfront_stays_while_in_use) {
    Disk disk;
    CHECK(disk.connect());
    disk.os.in_use = true;
    disk.world.bus.peer.set("online", 0u);
    disk.peer_state(XenbusStateClosing);
    disk.handle(XPV_CHANGED);
    disk.handle(XPV_CHANGED);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateConnected});
    CHECK(!disk.os.stopped);
    CHECK_EQ(disk.world.log.warnings, 1u);
    disk.os.in_use = false;
    disk.handle(XPV_CHANGED); // the last close
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateClosed});
    CHECK(disk.os.stopped);
}

TEST(blkfront_insists_if_told) {
    Disk disk;
    disk.settings.insist = true;
    CHECK(disk.connect());
    disk.os.in_use = true;
    disk.peer_state(XenbusStateClosing);
    disk.handle(XPV_CHANGED);
    CHECK_EQ(disk.world.bus.state(), uint32_t{XenbusStateClosed});
}

// One failure at each place in turn: no leak, and a connection afterwards.
TEST(blkfront_connect_failures) {
    for (uint32_t lent : each(0u, 1u))
        for (uint32_t nth = 1;; ++nth) {
            Disk disk{2, 1};
            disk.settings.persistent = lent != 0 ? XPV_BLKFRONT_OFF : XPV_BLKFRONT_ON;
            disk.world.account.fail_nth(nth);
            if (disk.create()) {
                (void)disk.handle(XPV_PROBED);
                disk.peer_state(XenbusStateConnected);
                if (disk.world.bus.state() == XenbusStateInitialised)
                    (void)disk.handle(XPV_CHANGED);
                disk.world.account.fail_nothing();
                disk.later();
                CHECK(disk.settle());
                disk.later();
                CHECK_EQ(disk.os.disk.sectors, uint64_t{Disk::sectors});
            }
            const bool injected = disk.world.account.injected() != 0;
            disk.remove();
            CHECK(disk.world.clean());
            if (!injected)
                break;
        }
}
