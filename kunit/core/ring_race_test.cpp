// SPDX-License-Identifier: GPL-2.0-only
// Both ends of a ring at the same time, in every order. The ring classes run over
// a ring whose index words call the test just before each access, so the peer's
// steps can be put between any two of ours: an event must never get lost.
#include "core/ring.hpp"
#include "kunit/check.hpp"

using namespace xpv;

namespace {

void before_access() noexcept;

// Taking its address is what the ring does before every load and store.
struct HookedIndex {
    uint32_t value;
    uint32_t* operator&() noexcept {
        before_access();
        return &value;
    }
};

struct HookedSring {
    HookedIndex req_prod, req_event, rsp_prod, rsp_event;
    uint8_t pad[48];
    union Entry {
        uint32_t req;
        uint32_t rsp;
    } ring[1];
};

constexpr uint32_t slots = 8;
constexpr size_t bytes = 64 + slots * sizeof(HookedSring::Entry);

// Two steps of the peer, each at a chosen one of our accesses (or after the last).
struct Peer {
    void (*step[2])(Peer&) = {};
    uint32_t at[2] = {};
    uint32_t done = 0;
    uint32_t accesses = 0;
    HookedSring* ring = nullptr;
    // What its steps found out.
    uint32_t want = 0;
    uint32_t index = 0;
    bool result = false;

    void run_until(uint32_t access) noexcept {
        while (done < 2 && at[done] <= access)
            step[done++](*this);
    }
};

Peer* playing = nullptr;

void before_access() noexcept {
    if (playing != nullptr)
        playing->run_until(playing->accesses++);
}

volatile uint32_t& raw(HookedIndex& index) noexcept { return index.value; }

// Producer: show `want` slots from `index` on, then look who wants an event. As a
// backend over responses, or a frontend over requests.
void show_responses(Peer& p) noexcept { raw(p.ring->rsp_prod) = p.index + p.want; }
void wants_response_event(Peer& p) noexcept {
    p.result = p.index + p.want - raw(p.ring->rsp_event) < p.want;
}
void show_requests(Peer& p) noexcept { raw(p.ring->req_prod) = p.index + p.want; }
void wants_request_event(Peer& p) noexcept {
    p.result = p.index + p.want - raw(p.ring->req_event) < p.want;
}

// Consumer: ask for an event at the next slot, then look again; result: it sleeps.
void arm_requests(Peer& p) noexcept { raw(p.ring->req_event) = p.index + 1; }
void sleeps_without_requests(Peer& p) noexcept { p.result = raw(p.ring->req_prod) == p.index; }
void arm_responses(Peer& p) noexcept { raw(p.ring->rsp_event) = p.index + 1; }
void sleeps_without_responses(Peer& p) noexcept { p.result = raw(p.ring->rsp_prod) == p.index; }

constexpr RingIndex starts[] = {0, 0xfffffffe, 0x7fffffff};
constexpr uint32_t last_gap = 12; // more than any call's accesses

class Memory : NoCopy {
public:
    Memory() noexcept : ring{static_cast<HookedSring*>(xpv_test_alloc(bytes))} {}
    ~Memory() { xpv_test_free(ring); }
    HookedSring* const ring;
};

// ours(start, peer) runs our end and returns whether an event was lost. How many of
// all orders of the peer's two steps lose one?
template <class Ours>
uint32_t lost_in_all_orders(void (*first)(Peer&), void (*second)(Peer&), Ours ours) noexcept {
    uint32_t lost = 0;
    for (RingIndex start : starts)
        for (uint32_t a = 0; a <= last_gap; ++a)
            for (uint32_t b = a; b <= last_gap; ++b) {
                Peer peer;
                peer.step[0] = first;
                peer.step[1] = second;
                peer.at[0] = a;
                peer.at[1] = b;
                peer.index = start;
                lost += ours(start, peer) ? 1 : 0;
            }
    return lost;
}

// Run one call of ours with the peer between its accesses, the rest of it after.
template <class Call> auto with(Peer& peer, HookedSring* ring, Call call) noexcept {
    peer.ring = ring;
    playing = &peer;
    const auto result = call();
    playing = nullptr;
    peer.run_until(last_gap);
    return result;
}

void fill(FrontRing<HookedSring>& front) noexcept {
    for (uint32_t i = 0; i < slots; ++i)
        front.put(i);
    (void)front.publish();
}

// Ends that sleep in the wrong way, to see that the search finds it.
bool arm_after_the_check(HookedSring* ring, RingIndex consumer) noexcept {
    const bool there = load_once(&ring->rsp_prod) != consumer;
    store_once(&ring->rsp_event, consumer + 1);
    return there;
}

bool arm_without_a_check(HookedSring* ring, RingIndex consumer) noexcept {
    store_once(&ring->rsp_event, consumer + 1);
    return false;
}

bool publish_after_the_look(HookedSring* ring, RingIndex old, RingIndex now) noexcept {
    const bool notify = RingIndex(now - load_once(&ring->rsp_event)) < RingIndex(now - old);
    store_once(&ring->rsp_prod, now);
    return notify;
}

} // namespace

TEST(ring_race_front_sleeps) {
    for (uint32_t more = 1; more <= slots; ++more)
        for (uint32_t shown = more; shown <= slots; ++shown)
            CHECK_EQ(lost_in_all_orders(show_responses, wants_response_event,
                                        [&](RingIndex start, Peer& peer) {
                                            Memory memory;
                                            FrontRing<HookedSring> front;
                                            front.attach_at(memory.ring, bytes, start);
                                            fill(front);
                                            peer.want = shown;
                                            const bool awake = with(
                                                peer, memory.ring, [&] { return front.arm(more); });
                                            return !awake && !peer.result;
                                        }),
                     0u);
}

TEST(ring_race_back_sleeps) {
    for (uint32_t more = 1; more <= slots; ++more)
        for (uint32_t shown = more; shown <= slots; ++shown)
            CHECK_EQ(lost_in_all_orders(show_requests, wants_request_event,
                                        [&](RingIndex start, Peer& peer) {
                                            Memory memory;
                                            FrontRing<HookedSring> initialise;
                                            initialise.attach_at(memory.ring, bytes, start);
                                            BackRing<HookedSring> back;
                                            (void)back.attach(memory.ring, bytes);
                                            peer.want = shown;
                                            const bool awake = with(peer, memory.ring,
                                                                    [&] { return back.arm(more); });
                                            return !awake && !peer.result;
                                        }),
                     0u);
}

TEST(ring_race_front_publishes) {
    for (uint32_t n = 1; n <= slots; ++n)
        CHECK_EQ(lost_in_all_orders(arm_requests, sleeps_without_requests,
                                    [&](RingIndex start, Peer& peer) {
                                        Memory memory;
                                        FrontRing<HookedSring> front;
                                        front.attach_at(memory.ring, bytes, start);
                                        memory.ring->req_event.value = start - 1; // long past
                                        for (uint32_t i = 0; i < n; ++i)
                                            front.put(i);
                                        const bool notified = with(peer, memory.ring,
                                                                   [&] { return front.publish(); });
                                        return peer.result && !notified;
                                    }),
                 0u);
}

TEST(ring_race_back_publishes) {
    for (uint32_t n = 1; n <= slots; ++n)
        CHECK_EQ(lost_in_all_orders(arm_responses, sleeps_without_responses,
                                    [&](RingIndex start, Peer& peer) {
                                        Memory memory;
                                        FrontRing<HookedSring> front;
                                        front.attach_at(memory.ring, bytes, start);
                                        fill(front);
                                        memory.ring->rsp_event.value = start - 1;
                                        BackRing<HookedSring> back;
                                        (void)back.attach(memory.ring, bytes);
                                        for (uint32_t i = 0; i < n; ++i) {
                                            (void)back.take();
                                            back.put(i);
                                        }
                                        const bool notified =
                                            with(peer, memory.ring, [&] { return back.publish(); });
                                        return peer.result && !notified;
                                    }),
                 0u);
}

// A producer index that moves while pending() looks: one value counts, and no slot
// beyond it is taken.
TEST(ring_race_pending_is_one_snapshot) {
    for (uint32_t gap = 0; gap <= 4; ++gap) {
        Memory memory;
        FrontRing<HookedSring> front;
        front.attach_at(memory.ring, bytes, 0xfffffffe);
        fill(front);
        raw(memory.ring->rsp_prod) = 0; // two responses
        Peer peer;
        peer.step[0] = [](Peer& p) { raw(p.ring->rsp_prod) = 1; };          // a third
        peer.step[1] = [](Peer& p) { raw(p.ring->rsp_prod) = 0x40000000; }; // nonsense
        peer.at[0] = gap;
        peer.at[1] = gap + 1;
        const Result<uint32_t> pending = with(peer, memory.ring, [&] { return front.pending(); });
        CHECK(pending.ok()); // the nonsense comes after the only look
        CHECK_EQ(pending.value(), gap == 0 ? 3u : 2u);
    }
}

// What the peer does to our own producer index while we publish changes nothing.
TEST(ring_race_reads_nothing_back) {
    for (uint32_t gap = 0; gap <= 4; ++gap) {
        Memory memory;
        FrontRing<HookedSring> front;
        front.attach_at(memory.ring, bytes, 0xfffffffe);
        Peer peer;
        peer.step[0] = peer.step[1] = [](Peer& p) {
            raw(p.ring->req_prod) = 77;
            raw(p.ring->rsp_prod) = 77;
        };
        peer.at[0] = gap;
        peer.at[1] = last_gap;
        for (uint32_t i = 0; i < 3; ++i)
            front.put(i);
        (void)with(peer, memory.ring, [&] { return front.publish(); });
        CHECK_EQ(front.in_flight(), 3u);
        CHECK_EQ(front.unpublished(), 0u);
        CHECK_EQ(front.free(), slots - 3);

        Memory other;
        FrontRing<HookedSring> initialise;
        initialise.attach_at(other.ring, bytes, 0xfffffffe);
        fill(initialise);
        BackRing<HookedSring> back;
        CHECK(back.attach(other.ring, bytes).ok());
        for (uint32_t i = 0; i < 3; ++i) {
            (void)back.take();
            back.put(i);
        }
        peer.done = peer.accesses = 0;
        (void)with(peer, other.ring, [&] { return back.publish(); });
        CHECK_EQ(back.unpublished(), 0u);
        CHECK_EQ(back.in_service(), 0u);
    }
}

// The search does find what it looks for.
TEST(ring_race_search_finds_broken_ends) {
    const auto sleeping = [](auto arm) {
        return lost_in_all_orders(
            show_responses, wants_response_event, [&](RingIndex start, Peer& peer) {
                Memory memory;
                FrontRing<HookedSring> front;
                front.attach_at(memory.ring, bytes, start);
                memory.ring->rsp_event.value = start - 1;
                fill(front);
                peer.want = 1;
                const bool awake = with(peer, memory.ring, [&] { return arm(memory.ring, start); });
                return !awake && !peer.result;
            });
    };
    CHECK(sleeping(arm_after_the_check) > 0);
    CHECK(sleeping(arm_without_a_check) > 0);
    CHECK(lost_in_all_orders(arm_responses, sleeps_without_responses,
                             [&](RingIndex start, Peer& peer) {
                                 Memory memory;
                                 FrontRing<HookedSring> front;
                                 front.attach_at(memory.ring, bytes, start);
                                 memory.ring->rsp_event.value = start - 1;
                                 const bool notified = with(peer, memory.ring, [&] {
                                     return publish_after_the_look(memory.ring, start, start + 1);
                                 });
                                 return peer.result && !notified;
                             }) > 0);
}
