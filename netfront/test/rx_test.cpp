// SPDX-License-Identifier: GPL-2.0-only
// netfront/rx.cpp, against a backend that writes what was granted to it.
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "netfront/test/fake.hpp"

using namespace xpv;
using fake::Call;
using fake::Frontend;
using fake::idle;
using fake::Poll;
using fake::Wire;
using test::each;

namespace {

constexpr uint16_t more = NETRXF_more_data;
constexpr uint16_t extra = NETRXF_extra_info;
constexpr uint8_t gso = XEN_NETIF_EXTRA_TYPE_GSO;
constexpr uint8_t more_extra = XEN_NETIF_EXTRA_FLAG_MORE;

// A good packet still comes through, and no buffer is missing.
void still_works(Frontend& vif, Wire& wire) noexcept {
    wire.give_packet(3000);
    wire.give_packet(60);
    wire.publish_rx();
    const Poll poll = Poll::run(vif);
    CHECK_EQ(poll.packets, 2u);
    CHECK_EQ(poll.bytes, 3060u);
    CHECK_EQ(poll.wrong, 0u);
    CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, 256u);
    CHECK_EQ(vif.world.ends.asked(XPV_BROKE), 0u);
}

} // namespace

TEST(netfront_rx_posts_all_buffers) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    CHECK_EQ(wire.rx.requests(), 256u);
    bool taken[4096] = {};
    for (uint32_t i = 0; i < 256; ++i) {
        const auto request = wire.rx.take<net::RxRequest>();
        CHECK_EQ(request.id, i);
        CHECK(vif.world.grants.state(request.gref) == fake::OurGrants::State::Granted);
        CHECK(!vif.world.grants.readonly(request.gref));
        CHECK(!taken[request.gref]);
        taken[request.gref] = true;
        const uint8_t* bytes = vif.world.grants.page(request.gref)->bytes;
        for (uint32_t b = 0; b < 4096; ++b)
            CHECK_EQ(bytes[b], 0);
    }
    CHECK_EQ(vif.counters().grants_made, 256u);
}

TEST(netfront_rx_small_packets_are_copied) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const uint32_t grants = vif.world.account.calls(Call::Grant);
    for (uint32_t round = 0; round < 1000; ++round) {
        wire.give_packet(14 + round % 243);
        wire.publish_rx();
        const Poll poll = Poll::run(vif);
        CHECK_EQ(poll.packets, 1u);
        CHECK_EQ(poll.copied, 1u);
        CHECK_EQ(poll.bytes, 14 + round % 243);
        CHECK_EQ(poll.wrong, 0u);
    }
    CHECK_EQ(vif.world.account.calls(Call::Grant), grants);
    CHECK_EQ(vif.world.account.calls(Call::End), 0u);
    CHECK_EQ(vif.counters().rx_copied, 1000u);
    CHECK_EQ(vif.counters().rx_packets, 1000u);
}

TEST(netfront_rx_large_packets_take_their_pages) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t pages = 0;
    for (uint32_t size : each(257u, 1514u, 4096u, 4097u, 9014u, 61440u, 65535u, 65549u, 65557u)) {
        for (uint32_t i = 0; i < 3; ++i) {
            wire.give_packet(size);
            pages += (size + 4095) / 4096;
        }
        wire.publish_rx();
        const uint32_t ends = vif.world.account.calls(Call::End);
        const Poll poll = Poll::run(vif);
        CHECK_EQ(poll.packets, 3u);
        CHECK_EQ(poll.copied, 0u);
        CHECK_EQ(poll.bytes, 3 * size);
        CHECK_EQ(poll.wrong, 0u);
        CHECK_EQ(vif.world.account.calls(Call::End), ends + 1); // one batch per poll
        CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, 256u);
    }
    CHECK_EQ(vif.counters().rx_pages_up, pages);
    CHECK_EQ(vif.counters().grants_ended, pages);
    CHECK_EQ(vif.counters().grants_made, 256 + pages);
}

TEST(netfront_rx_copybreak) {
    for (uint32_t limit : each(0u, 14u, 1514u, 4096u)) {
        Frontend vif;
        vif.settings.rx_copybreak = limit;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t size : each(14u, 15u, 1514u, 1515u, 4096u, 4097u)) {
            wire.give_packet(size, 0, 1000);
            wire.publish_rx();
            CHECK_EQ(Poll::run(vif).copied, size <= limit);
        }
        xpv_netfront_set_copybreak(vif.device, 2000);
        CHECK_EQ(xpv_netfront_copybreak(vif.device), 2000u);
        wire.give_packet(2000);
        wire.give_packet(2001);
        wire.publish_rx();
        const Poll poll = Poll::run(vif);
        CHECK(poll.packets == 2 && poll.copied == 1);
    }
}

// Chains of 1..max+2 slots, with and without extras before the data goes on.
TEST(netfront_rx_chains) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t slots = 1; slots <= 21; ++slots) {
        for (uint32_t extras = 0; extras <= 5; ++extras) {
            const auto errors = vif.counters().rx_errors;
            for (uint32_t i = 0; i < slots; ++i) {
                uint16_t flags = i + 1 < slots ? more : 0;
                if (i == 0 && extras > 0)
                    flags |= extra;
                wire.give(100, flags);
                for (uint32_t k = 0; i == 0 && k < extras; ++k)
                    wire.give_extra(k == 0 ? gso : uint8_t{XEN_NETIF_EXTRA_TYPE_HASH},
                                    k + 1 < extras ? more_extra : 0, XEN_NETIF_GSO_TYPE_TCPV4, 500);
            }
            wire.publish_rx();
            const Poll poll = Poll::run(vif, 0, 64, false);
            const bool good = slots <= 19 && extras <= 4;
            CHECK_EQ(poll.packets, good);
            CHECK_EQ(vif.counters().rx_errors, errors + !good);
            if (good) {
                CHECK_EQ(poll.length, 100 * slots);
                CHECK_EQ(poll.pieces, slots);
                CHECK_EQ(poll.offload.gso, extras > 0 ? XPV_GSO_TCPV4 : XPV_GSO_NONE);
                CHECK_EQ(poll.offload.gso_size, extras > 0 ? 500 : 0);
            }
            CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, 256u);
        }
    }
    still_works(vif, wire);
}

TEST(netfront_rx_offloads) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint16_t flags : each<uint16_t>(0, NETRXF_csum_blank, NETRXF_data_validated,
                                         NETRXF_csum_blank | NETRXF_data_validated)) {
        wire.give_packet(1000, flags);
        wire.publish_rx();
        const Poll poll = Poll::run(vif);
        CHECK_EQ(poll.packets, 1u);
        CHECK_EQ(poll.offload.csum, flags & NETRXF_csum_blank ? XPV_CSUM_BLANK
                                    : flags != 0              ? XPV_CSUM_VALIDATED
                                                              : XPV_CSUM_NONE);
        CHECK_EQ(poll.offload.gso, XPV_GSO_NONE);
    }
}

TEST(netfront_rx_extras) {
    struct Row {
        uint8_t type;
        uint8_t gso_type;
        uint16_t size;
        bool good;
    };
    const auto rows =
        each(Row{gso, 1, 48, true}, Row{gso, 2, 65534, true}, Row{gso, 1, 0, false},
             Row{gso, 1, 1, false}, Row{gso, 2, 47, false}, Row{gso, 1, 65535, false},
             Row{gso, 0, 1448, false}, Row{gso, 3, 1448, false}, Row{gso, 255, 1448, false},
             Row{0, 1, 1448, false}, Row{XEN_NETIF_EXTRA_TYPE_MAX, 1, 1448, false},
             Row{255, 1, 1448, false}, Row{XEN_NETIF_EXTRA_TYPE_HASH, 0, 0, true},
             Row{XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 0, 0, true});
    for (const Row& row : rows) {
        for (uint32_t slots : each(1u, 3u)) {
            Frontend vif;
            CHECK(vif.connect());
            Wire wire{vif};
            for (uint32_t i = 0; i < slots; ++i) {
                wire.give(1000,
                          static_cast<uint16_t>((i == 0 ? extra : 0) | (i + 1 < slots ? more : 0)));
                if (i == 0)
                    wire.give_extra(row.type, 0, row.gso_type, row.size);
            }
            wire.publish_rx();
            const Poll poll = Poll::run(vif, 0, 64, false);
            CHECK_EQ(poll.packets, row.good);
            CHECK_EQ(vif.counters().rx_errors, !row.good);
            if (row.good) {
                CHECK_EQ(poll.offload.gso, row.type == gso ? row.gso_type : 0);
                CHECK_EQ(poll.length, 1000 * slots);
            }
            still_works(vif, wire);
        }
    }
}

// One bad slot, at each place of a packet: that packet is lost, nothing else.
TEST(netfront_rx_bad_slots) {
    struct Row {
        int16_t status;
        uint16_t offset;
        bool good;
    };
    const auto rows =
        each(Row{0, 0, false}, Row{-1, 0, false}, Row{-2, 0, false}, Row{-32768, 0, false},
             Row{4097, 0, false}, Row{32767, 0, false}, Row{100, 3997, false},
             Row{100, 4096, false}, Row{100, 65535, false}, Row{1, 65535, false},
             Row{4096, 1, false}, Row{4096, 0, true}, Row{100, 3996, true}, Row{14, 2, true});
    for (const Row& row : rows) {
        Frontend vif;
        CHECK(vif.connect());
        Wire wire{vif};
        for (uint32_t slots = 1; slots <= 4; ++slots) {
            for (uint32_t at = 0; at < slots; ++at) {
                const auto errors = vif.counters().rx_errors;
                wire.give(60);
                for (uint32_t i = 0; i < slots; ++i) {
                    const uint16_t flags = i + 1 < slots ? more : 0;
                    if (i == at)
                        wire.give(row.status, flags, row.offset);
                    else
                        wire.give(500, flags);
                }
                wire.give(61);
                wire.publish_rx();
                CHECK_EQ(Poll::run(vif, 0, 64, false).packets, 2u + row.good);
                CHECK_EQ(vif.counters().rx_errors, errors + !row.good);
            }
        }
        still_works(vif, wire);
    }
}

// The Ethernet header lies in the first slot.
TEST(netfront_rx_first_slot) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (int16_t first = 1; first <= 15; ++first) {
        wire.give(first, more);
        wire.give(1000);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif, 0, 64, false).packets, first >= 14);
    }
    wire.give(1000, NETRXF_gso_prefix);
    wire.publish_rx();
    CHECK_EQ(Poll::run(vif).packets, 0u);
    CHECK_EQ(vif.counters().rx_errors, 14u);
    still_works(vif, wire);
}

TEST(netfront_rx_size_limit) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t size : each(65557u, 65558u, 69632u, 77824u)) {
        wire.give_packet(size);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, size <= 65557);
    }
    CHECK_EQ(vif.counters().rx_errors, 3u);
    still_works(vif, wire);
}

// A backend may show a packet slot by slot.
TEST(netfront_rx_packets_in_pieces) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t slots = 1; slots <= 22; ++slots) {
        uint32_t packets = 0;
        uint32_t bytes = 0;
        for (uint32_t i = 0; i < slots; ++i) {
            wire.give(200,
                      static_cast<uint16_t>((i + 1 < slots ? more : 0) | (i == 0 ? extra : 0)));
            if (i == 0) {
                wire.publish_rx();
                CHECK_EQ(Poll::run(vif, 0, 64, false).packets, 0u);
                wire.give_extra(gso, 0, XEN_NETIF_GSO_TYPE_TCPV6, 900);
            }
            wire.publish_rx();
            const Poll poll = Poll::run(vif, 0, 64, false);
            packets += poll.packets;
            bytes += poll.bytes;
            CHECK(idle(vif)); // what is unfinished is no reason to stay awake
        }
        CHECK_EQ(packets, slots <= 19);
        CHECK_EQ(bytes, slots <= 19 ? 200 * slots : 0);
    }
    still_works(vif, wire);
}

// A chain that never ends costs nothing but the packet.
TEST(netfront_rx_endless_chain) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t round = 0; round < 20; ++round) {
        for (uint32_t i = 0; i < 256; ++i)
            wire.give(100, more);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif, 0, 64, false).packets, 0u);
    }
    wire.give(100);
    wire.give(100, extra);
    for (uint32_t i = 0; i < 254; ++i)
        wire.give_extra(gso, more_extra, 1, 1448);
    wire.publish_rx();
    CHECK_EQ(Poll::run(vif, 0, 64, false).packets, 0u);
    CHECK_EQ(vif.counters().rx_errors, 1u);
    // The packet's one page waits for the end.
    CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, 255u);
    for (uint32_t i = 0; i < 255; ++i)
        wire.give_extra(XEN_NETIF_EXTRA_TYPE_HASH, i < 254 ? more_extra : 0);
    wire.publish_rx();
    CHECK_EQ(Poll::run(vif, 0, 64, false).packets, 0u);
    CHECK_EQ(vif.counters().rx_errors, 2u);
    still_works(vif, wire);
}

TEST(netfront_rx_takes_no_more_than_asked) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    for (uint32_t i = 0; i < 200; ++i)
        wire.give_packet(i % 2 ? 60 : 1000);
    wire.publish_rx();
    for (uint32_t left = 200, max = 1; left > 0;) {
        const Poll poll = Poll::run(vif, 0, max);
        CHECK_EQ(poll.packets, min(max, left));
        CHECK_EQ(poll.wrong, 0u);
        left -= poll.packets;
        max = max % 64 + 1;
    }
    still_works(vif, wire);
}

// The buffers go round for long, in changing order.
TEST(netfront_rx_goes_round) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t random = 1;
    for (uint32_t round = 0; round < 2000; ++round) {
        random = random * 1664525 + 1013904223;
        uint32_t packets = 0;
        for (uint32_t i = 0; i < (random >> 8) % 8; ++i, ++packets)
            wire.give_packet(14 + (random >> (i + 4)) % 9000, 0, 1500);
        wire.publish_rx();
        const Poll poll = Poll::run(vif);
        CHECK_EQ(poll.packets, packets);
        CHECK_EQ(poll.wrong, 0u);
        CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, 256u);
    }
}

TEST(netfront_rx_without_memory) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    uint32_t posted = 256;
    vif.world.account.fail(fake::call_pages, 1, 100000);
    while (posted >= 10) {
        for (uint32_t i = 0; i < 10; ++i)
            wire.give_packet(1000);
        wire.publish_rx();
        const Poll poll = Poll::run(vif);
        CHECK_EQ(poll.packets, 10u);
        CHECK(!poll.enough); // so that the shim tries again
        posted -= 10;
        CHECK_EQ(wire.rx.raw.req_prod() - wire.rx.rsp_prod, posted);
    }
    // What is copied needs no memory.
    for (uint32_t i = 0; i < 100; ++i) {
        wire.give_packet(60);
        wire.publish_rx();
        CHECK_EQ(Poll::run(vif).packets, 1u);
    }
    CHECK(vif.counters().rx_refill_fails > 20);
    vif.world.account.fail_nothing();
    vif.world.account.fail(fake::call_pages, 100); // a part of it
    CHECK(!Poll::run(vif).enough);
    CHECK(Poll::run(vif).enough);
    still_works(vif, wire);
}

TEST(netfront_rx_notifies_when_asked) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.rx_port);
    const uint32_t before = channel->notified;
    wire.rx.req_cons = wire.rx.raw.req_prod();
    wire.give_packet(60);
    wire.publish_rx();
    Poll::run(vif);
    CHECK_EQ(channel->notified, before); // it did not ask
    CHECK(wire.rx.arm());                // sees that one
    wire.rx.req_cons = wire.rx.raw.req_prod();
    CHECK(!wire.rx.arm());
    wire.give_packet(60);
    wire.give_packet(1000);
    wire.publish_rx();
    Poll::run(vif);
    CHECK_EQ(channel->notified, before + 1); // once for both
}

TEST(netfront_rx_one_eoi_an_event) {
    Frontend vif;
    CHECK(vif.connect());
    Wire wire{vif};
    const xpv_evtchn* channel = vif.world.events.at(wire.rx_port);
    CHECK(idle(vif));
    wire.give_packet(60);
    CHECK(wire.publish_rx());
    CHECK_EQ(channel->raised, 1u);
    CHECK_EQ(vif.os.scheduled[0], 1u);
    CHECK(!idle(vif)); // there is work: no EOI, no sleep
    CHECK_EQ(channel->eois, 0u);
    CHECK_EQ(Poll::run(vif).packets, 1u);
    CHECK(idle(vif));
    CHECK_EQ(channel->eois, 1u);
    CHECK_EQ(channel->spurious, 0u);
    // A flood of empty events: each is marked.
    for (uint32_t i = 1; i <= 10; ++i) {
        vif.world.events.raise(wire.rx_port);
        CHECK_EQ(Poll::run(vif).packets, 0u);
        CHECK(idle(vif));
        CHECK_EQ(channel->spurious, i);
        CHECK_EQ(channel->eois, 1 + i);
    }
    CHECK_EQ(vif.counters().rx_spurious, 10u);
    CHECK_EQ(vif.world.events.owed(), 0u);
}
