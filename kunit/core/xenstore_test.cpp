// SPDX-License-Identifier: GPL-2.0-only
// core/xenstore.hpp: what the peer wrote is text until it has been checked.
#include "core/xenstore.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::World;
using xpv::test::each;

namespace {

struct Parse {
    const char* text;
    uint32_t number;
    bool ok;
};

constexpr Parse numbers[] = {
    {"0", 0, true},
    {"1", 1, true},
    {"9", 9, true},
    {"10", 10, true},
    {"007", 7, true},
    {"65535", 65535, true},
    {"2147483647", 0x7fffffff, true},
    {"2147483648", 0x80000000, true},
    {"4294967289", 4294967289u, true},
    {"4294967295", 0xffffffff, true},
    {"00000000000000000000000000001", 1, true},
    {"", 0, false},
    {"4294967296", 0, false},
    {"4294967300", 0, false},
    {"5000000000", 0, false},
    {"9999999999", 0, false},
    {"42949672950", 0, false},
    {"18446744073709551616", 0, false}, // 2^64: 0 to whoever does not look
    {"18446744073709551617", 0, false},
    {"99999999999999999999999999999", 0, false},
    {"+1", 0, false},
    {"-1", 0, false},
    {"-0", 0, false},
    {"0x1", 0, false},
    {"0X10", 0, false},
    {" 1", 0, false},
    {"1 ", 0, false},
    {"1\n", 0, false},
    {"\t1", 0, false},
    {"1 2", 0, false},
    {"1.0", 0, false},
    {"1e3", 0, false},
    {"x", 0, false},
    {"1x", 0, false},
    {"/", 0, false}, // beside '0' and '9'
    {":", 0, false},
    {"1/", 0, false},
    {"1:", 0, false},
    {"\xb2", 0, false},
    {"true", 0, false},
};

constexpr const char* long_text = "000000000000000000000000000000000000000000000000000000000001";

} // namespace

TEST(xenstore_parses_digits_only) {
    for (const Parse& entry : numbers) {
        const Result<uint32_t> number = parse_number(entry.text);
        if (number.ok() != entry.ok || (entry.ok && number.value() != entry.number))
            CHECK_STREQ(entry.text, "parsed as the table says");
    }
    CHECK(!parse_number64("/").ok()); // all of whose bits fit, were it taken for a digit
}

// The same table through a node, where rubbish is always Range, and is logged.
TEST(xenstore_requires_a_number) {
    World world;
    const Xenstore store{&world.bus};
    for (const Parse& entry : numbers) {
        world.bus.peer.set("node", entry.text);
        const uint32_t errors = world.log.errors;
        const Result<uint32_t> number = store.require(XPV_XS_PEER, "node", 0, 0xffffffff);
        CHECK_EQ(number.ok(), entry.ok);
        CHECK_EQ(world.log.errors, errors + (entry.ok ? 0 : 1));
        if (entry.ok)
            CHECK_EQ(number.value(), entry.number);
        else
            CHECK_EQ(number.error(), Error::Range);
    }
}

TEST(xenstore_ranges) {
    World world;
    const Xenstore store{&world.bus};
    for (uint32_t n : each(0u, 1u, 2u, 63u, 64u, 65u, 0x7fffffffu, 0x80000000u, 0xffffffffu)) {
        world.bus.peer.set("n", n);
        world.bus.own.set("n", 5u);
        const bool in = n >= 1 && n <= 64;
        CHECK_EQ(store.require(XPV_XS_PEER, "n", 1, 64).ok(), in);
        CHECK_EQ(store.optional(XPV_XS_PEER, "n", 1, 64, 1).ok(), in);
        CHECK_EQ(store.require(XPV_XS_PEER, "n", n, n).value_or(77), n);
        CHECK_EQ(store.require(XPV_XS_OWN, "n", 1, 64).value_or(77), 5u);
    }
}

// The message names whose node, which, what it says and what would be right.
TEST(xenstore_says_what_is_wrong) {
    World world;
    const Xenstore store{&world.bus};
    world.bus.peer.set("queues", "four");
    CHECK(!store.require(XPV_XS_PEER, "queues", 1, 64).ok());
    CHECK_STREQ(world.log.last(), "the other end's queues = \"four\" is not a number in 1..64");
    world.bus.peer.set("queues", 65u);
    CHECK(!store.require(XPV_XS_PEER, "queues", 1, 64).ok());
    CHECK_STREQ(world.log.last(), "the other end's queues = \"65\" is not a number in 1..64");
    world.bus.peer.set("queues", "\x1b[2J\n\x07\xff");
    CHECK(!store.require(XPV_XS_PEER, "queues", 1, 64).ok());
    CHECK_STREQ(world.log.last(), "the other end's queues = \"?[2J???\" is not a number in 1..64");
    world.bus.peer.set("queues", long_text);
    CHECK_EQ(store.require(XPV_XS_PEER, "queues", 1, 64).error(), Error::Range);
    CHECK_STREQ(world.log.last(), "the other end's queues is too long for a number in 1..64");
    CHECK_EQ(store.require(XPV_XS_PEER, "rings", 8, 0xffffffff).error(), Error::NoEntry);
    CHECK_STREQ(world.log.last(),
                "the other end's rings is missing, a number in 8..4294967295 is needed");
    CHECK_EQ(store.require(XPV_XS_OWN, "mtu", 68, 65535).error(), Error::NoEntry);
    CHECK_STREQ(world.log.last(), "mtu is missing, a number in 68..65535 is needed");
    CHECK_EQ(world.log.errors, 6u);
}

TEST(xenstore_optional) {
    World world;
    const Xenstore store{&world.bus};
    CHECK_EQ(store.optional(XPV_XS_PEER, "mtu", 68, 65535, 1500).value_or(0), 1500u);
    world.bus.gone = -2;
    CHECK_EQ(store.optional(XPV_XS_PEER, "mtu", 68, 65535, 1500).value_or(0), 1500u);
    CHECK_EQ(world.log.lines(), 0u); // its absence is nobody's fault
    world.bus.peer.set("mtu", 9000u);
    CHECK_EQ(store.optional(XPV_XS_PEER, "mtu", 68, 65535, 1500).value_or(0), 9000u);
    for (const char* text : each("", "67", "65536", "x", long_text)) {
        world.bus.peer.set("mtu", text);
        CHECK_EQ(store.optional(XPV_XS_PEER, "mtu", 68, 65535, 1500).error(), Error::Range);
    }
    CHECK_EQ(world.log.errors, 5u);
}

TEST(xenstore_flags) {
    World world;
    const Xenstore store{&world.bus};
    for (bool absent : each(false, true)) {
        world.bus.peer.clear();
        CHECK_EQ(store.flag(XPV_XS_PEER, "feature-sg", absent), absent);
        world.bus.peer.set("feature-sg", "0");
        CHECK_EQ(store.flag(XPV_XS_PEER, "feature-sg", absent), false);
        world.bus.peer.set("feature-sg", "1");
        CHECK_EQ(store.flag(XPV_XS_PEER, "feature-sg", absent), true);
        const uint32_t errors = world.log.errors;
        for (const char* text : each("", "2", "-1", "yes", " 1", "4294967297", long_text)) {
            world.bus.peer.set("feature-sg", text);
            CHECK_EQ(store.flag(XPV_XS_PEER, "feature-sg", absent), absent);
        }
        CHECK_EQ(world.log.errors, errors + 7);
    }
}

// A node that the peer changes while it is being read is read once: the number that
// was checked is the number that is used, and one that vanishes is absent.
TEST(xenstore_reads_once) {
    World world;
    const Xenstore store{&world.bus};
    world.account.at_each_call(
        [](void* context, Call) {
            auto* bus = static_cast<xpv_xenbus*>(context);
            bus->peer.set("n", bus->peer.number("n") == 1 ? "1000000" : "1");
        },
        &world.bus);
    const uint32_t before = world.account.calls(Call::XsRead);
    (void)store.require(XPV_XS_PEER, "n", 1, 64);
    CHECK_EQ(world.account.calls(Call::XsRead), before + 1);
    (void)store.optional(XPV_XS_PEER, "n", 1, 64, 1);
    CHECK_EQ(world.account.calls(Call::XsRead), before + 2);
    (void)store.flag(XPV_XS_PEER, "n");
    CHECK_EQ(world.account.calls(Call::XsRead), before + 3);
    for (int i = 0; i < 4; ++i)
        if (const Result<uint32_t> n = store.require(XPV_XS_PEER, "n", 1, 64); n.ok())
            CHECK_EQ(n.value(), 1u);
}

TEST(xenstore_read_errors) {
    World world;
    const Xenstore store{&world.bus};
    world.bus.peer.set("n", 3u);
    world.account.fail(Call::XsRead, 1, 1, -5);
    CHECK_EQ(to_errno(store.require(XPV_XS_PEER, "n", 1, 64).error()), -5);
    world.account.fail(Call::XsRead, 1, 1, -5);
    CHECK_EQ(to_errno(store.optional(XPV_XS_PEER, "n", 1, 64, 9).error()), -5);
    world.account.fail(Call::XsRead, 1, 1, -5);
    CHECK_EQ(store.flag(XPV_XS_PEER, "n", true), true);
    CHECK_EQ(store.require(XPV_XS_PEER, "n", 1, 64).value_or(0), 3u);
}

TEST(xenstore_keys) {
    CHECK_STREQ(NodeName{"state"}.text(), "state");
    const NodeName ring{"queue-", 63, "/tx-ring-ref"};
    CHECK_STREQ(ring.text(), "queue-63/tx-ring-ref");
    CHECK_STREQ(NodeName("ring-ref", 0).text(), "ring-ref0");
    CHECK_STREQ(NodeName("x", 0xffffffff, "y").text(), "x4294967295y");
    const NodeName cut{"0123456789012345678901234567890123456789", 4294967295, "/and-more"};
    CHECK_STREQ(cut.text(), "01234567890123456789012345678901234567894294967");
}

TEST(xenstore_writes) {
    World world;
    const Xenstore store{&world.bus};
    for (uint32_t n : each(0u, 9u, 10u, 4294967295u)) {
        CHECK(store.write("n", n).ok());
        CHECK_EQ(world.bus.own.number("n", 1), n);
        CHECK_EQ(store.require(XPV_XS_OWN, "n", n, n).value_or(n + 1), n);
    }
    CHECK(store.write("text", "de:ad").ok());
    CHECK_STREQ(world.bus.own.get("text"), "de:ad");
    CHECK(store.remove("text").ok());
    CHECK(world.bus.own.get("text") == nullptr);
    CHECK_EQ(store.remove("text").error(), Error::NoEntry);
    world.account.fail(Call::XsWrite);
    CHECK(!store.write("n", 1u).ok());
}

TEST(xenstore_transaction_is_all_or_nothing) {
    World world;
    const Xenstore store{&world.bus};
    world.bus.own.set("old", "kept");
    uint32_t runs = 0;
    const auto body = [&]() -> Result<void> {
        ++runs;
        XPV_TRY(store.remove("old"));
        XPV_TRY(store.write("a", 1u));
        return store.write("b", 2u);
    };
    for (Call call : each(Call::XsWrite, Call::XsRemove)) {
        world.account.fail(call);
        CHECK(!store.transact(body).ok());
        CHECK_EQ(world.bus.own.count(), 1u);
        CHECK_STREQ(world.bus.own.get("old"), "kept");
    }
    world.account.fail(Call::XsBegin);
    runs = 0;
    CHECK_EQ(store.transact(body).error(), Error::NoMemory);
    CHECK_EQ(runs, 0u);
    CHECK(store.transact(body).ok());
    CHECK_EQ(runs, 1u);
    CHECK_EQ(world.bus.own.count(), 2u);
    CHECK_EQ(world.bus.transactions, 1u);
}

// Others wrote at the same time: again from the start, but not for ever.
TEST(xenstore_transaction_is_repeated) {
    World world;
    const Xenstore store{&world.bus};
    uint32_t runs = 0;
    const auto body = [&]() -> Result<void> {
        ++runs;
        return store.write("run", runs);
    };
    for (uint32_t conflicts : each(1u, 2u, 99u)) {
        runs = 0;
        world.account.fail(Call::XsEnd, 1, conflicts);
        CHECK(store.transact(body).ok());
        CHECK_EQ(runs, conflicts + 1);
        CHECK_EQ(world.bus.own.number("run"), runs);
    }
    world.account.fail(Call::XsEnd, 1, 1000);
    runs = 0;
    CHECK_EQ(store.transact(body).error(), Error::TryAgain);
    CHECK_EQ(runs, 100u);
    world.account.fail(Call::XsEnd, 1, 1, -28); // not a conflict
    runs = 0;
    CHECK_EQ(store.transact(body).error(), Error::NoSpace);
    CHECK_EQ(runs, 1u);
}
