// SPDX-License-Identifier: GPL-2.0-only
// net/features.hpp: what one end writes is what the other reads.
#include "net/features.hpp"

#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::Folder;
using fake::World;
using test::each;

namespace {

xpv_net_settings settings_of(uint32_t bits) noexcept {
    return {.max_queues = 4,
            .sg = (bits & 1) != 0,
            .gso = (bits & 2) != 0,
            .csum = (bits & 4) != 0,
            .split = (bits & 8) != 0};
}

// role's end with these settings writes what the other reads afterwards.
bool written(World& world, Role role, const xpv_net_settings& settings) noexcept {
    world.bus.own.clear();
    const Xenstore store{&world.bus};
    const bool done =
        store.transact([&]() noexcept { return net::write_features(store, role, settings); }).ok();
    world.bus.peer.copy_from(world.bus.own);
    return done;
}

struct Row {
    const char* node;
    bool xpv_net_features::*member;
    bool inverted;
    bool front; // who reads it
    bool back;
};
constexpr auto rows =
    each(Row{"feature-sg", &xpv_net_features::sg, false, true, true},
         Row{"feature-no-csum-offload", &xpv_net_features::csum_v4, true, true, true},
         Row{"feature-ipv6-csum-offload", &xpv_net_features::csum_v6, false, true, true},
         Row{"feature-gso-tcpv4", &xpv_net_features::gso_v4, false, true, true},
         Row{"feature-gso-tcpv6", &xpv_net_features::gso_v6, false, true, true},
         Row{"feature-split-event-channels", &xpv_net_features::split, false, true, false},
         Row{"feature-rx-notify", &xpv_net_features::rx_notify, false, false, true});

constexpr xpv_net_settings all = {4, true, true, true, true};

} // namespace

// All pairs of settings, each end's view of the other.
TEST(net_features_both_agree) {
    World world;
    const Xenstore store{&world.bus};
    for (const Role reader : each(Role::Front, Role::Back))
        for (uint32_t ours = 0; ours < 16; ++ours)
            for (uint32_t theirs = 0; theirs < 16; ++theirs) {
                const bool front = reader == Role::Front;
                CHECK(written(world, front ? Role::Back : Role::Front, settings_of(theirs)));
                const auto read = net::read_features(store, reader, settings_of(ours));
                CHECK(read.ok());
                const xpv_net_features& has = read.value();
                const xpv_net_settings both = settings_of(ours & theirs);
                const bool gso = both.sg && both.gso && both.csum;
                CHECK_EQ(has.sg, both.sg);
                CHECK_EQ(has.csum_v4, both.csum);
                CHECK_EQ(has.csum_v6, both.csum);
                CHECK_EQ(has.gso_v4, gso);
                CHECK_EQ(has.gso_v6, gso);
                CHECK_EQ(has.split, front && both.split);
                CHECK_EQ(has.rx_notify, !front);
            }
}

// Each node in every wording, and what needs it.
TEST(net_features_nodes) {
    struct Wording {
        const char* text; // nullptr: no such node
        bool offers;
    };
    for (const Role reader : each(Role::Front, Role::Back))
        for (const Row& row : rows)
            for (const Wording& wording :
                 each(Wording{nullptr, false}, Wording{"0", false}, Wording{"1", true},
                      Wording{"2", false}, Wording{"x", false}, Wording{"", false})) {
                World world;
                const bool front = reader == Role::Front;
                CHECK(written(world, front ? Role::Back : Role::Front, all));
                Folder& peer = world.bus.peer;
                if (wording.text == nullptr)
                    peer.remove(row.node);
                else
                    peer.set(row.node, wording.text);
                const auto read = net::read_features(Xenstore{&world.bus}, reader, all);
                CHECK(read.ok());
                const xpv_net_features& has = read.value();
                const bool reads = front ? row.front : row.back;
                CHECK_EQ(has.*row.member, reads && wording.offers != row.inverted);
                CHECK_EQ(has.gso_v4,
                         has.sg && has.csum_v4 && peer.number("feature-gso-tcpv4") == 1);
                CHECK_EQ(has.gso_v6,
                         has.sg && has.csum_v6 && peer.number("feature-gso-tcpv6") == 1);
            }
}

// Who writes which node: no end says what only the other may.
TEST(net_features_written) {
    World world;
    const Folder& own = world.bus.own;
    for (const Role role : each(Role::Front, Role::Back)) {
        const bool front = role == Role::Front;
        CHECK(written(world, role, all));
        for (const Row& row : rows) {
            const bool writes = front ? row.back : row.front;
            CHECK_EQ(own.number(row.node), writes ? uint32_t{!row.inverted} : ~0u);
        }
        CHECK_EQ(own.number("request-rx-copy"), front ? 1u : ~0u);
        CHECK_EQ(own.number("feature-rx-copy"), front ? ~0u : 1u);
        CHECK_EQ(own.number("feature-rx-flip"), front ? ~0u : 0u);
        CHECK_EQ(own.number("multi-queue-max-queues"), front ? ~0u : 4u);
        CHECK_EQ(own.count(), front ? 7u : 9u);
        // Nothing is offered that would not be used.
        for (uint32_t bits = 0; bits < 16; ++bits) {
            const xpv_net_settings settings = settings_of(bits);
            CHECK(written(world, role, settings));
            CHECK_EQ(own.number("feature-sg"), settings.sg);
            CHECK_EQ(own.number("feature-no-csum-offload"), !settings.csum);
            CHECK_EQ(own.number("feature-ipv6-csum-offload"), settings.csum);
            for (const char* gso : each("feature-gso-tcpv4", "feature-gso-tcpv6"))
                CHECK_EQ(own.number(gso), settings.gso && settings.sg && settings.csum);
            CHECK_EQ(own.number("feature-split-event-channels"), front ? ~0u : settings.split);
        }
    }
}

TEST(net_features_need_copy) {
    for (const Role reader : each(Role::Front, Role::Back)) {
        const bool front = reader == Role::Front;
        const char* const node = front ? "feature-rx-copy" : "request-rx-copy";
        for (const char* text : each(static_cast<const char*>(nullptr), "0", "2", "x", "")) {
            World world;
            CHECK(written(world, front ? Role::Back : Role::Front, all));
            if (text == nullptr)
                world.bus.peer.remove(node);
            else
                world.bus.peer.set(node, text);
            const auto read = net::read_features(Xenstore{&world.bus}, reader, all);
            CHECK(!read.ok());
            CHECK_EQ(read.error(), Error::Unsupported);
            CHECK(world.log.has(node));
        }
        // That xenstore could not be read says nothing of the other end.
        World world;
        CHECK(written(world, front ? Role::Back : Role::Front, all));
        world.account.fail_nth(1);
        const auto read = net::read_features(Xenstore{&world.bus}, reader, all);
        CHECK_EQ(world.account.injected(), 1u);
        CHECK(!read.ok());
        CHECK(read.error() != Error::Unsupported);
    }
}

TEST(net_features_each_write_fails) {
    for (const Role role : each(Role::Front, Role::Back)) {
        uint32_t nth = 1;
        for (;; ++nth) {
            World world;
            const Xenstore store{&world.bus};
            world.account.fail_nth(nth);
            const bool done = net::write_features(store, role, all).ok();
            if (world.account.injected() == 0)
                break;
            CHECK(!done);
        }
        CHECK_EQ(nth - 1, role == Role::Front ? 7u : 9u);
    }
}
