// SPDX-License-Identifier: GPL-2.0-only
// CopyBatch over a hypervisor that checks as Xen does.
#include "core/copy.hpp"
#include "core/grant.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"
#include "kunit/fake/world.hpp"

using namespace xpv;
using fake::Call;
using fake::World;

namespace {

constexpr uint16_t peer = World::peer_domid;

// The failures of a run, by tag.
struct Failures {
    uint32_t count = 0;
    uint32_t tags[XPV_COPY_BATCH] = {};
    int16_t status[XPV_COPY_BATCH] = {};
};

Failures run(CopyBatch& batch) noexcept {
    Failures failures;
    batch.run([&](uint32_t tag, int16_t status) {
        failures.tags[failures.count] = tag;
        failures.status[failures.count++] = status;
    });
    return failures;
}

// On the heap: a batch is larger than a kernel stack likes.
class Batch : NoCopy {
public:
    Batch() noexcept : batch_{*new (xpv_test_alloc(sizeof(CopyBatch))) CopyBatch} {}
    ~Batch() { xpv_test_free(&batch_); }
    CopyBatch* operator->() const noexcept { return &batch_; }
    CopyBatch& operator*() const noexcept { return batch_; }

private:
    CopyBatch& batch_;
};

class Ours : NoCopy {
public:
    Ours() noexcept : page_{OwnedPage::allocate(XPV_ALLOC_SLEEP).take()} {}
    uint8_t* bytes() const noexcept { return static_cast<uint8_t*>(page_.address()); }
    uint64_t gfn() const noexcept { return xpv_gfn_of(bytes()); }

private:
    OwnedPage page_;
};

} // namespace

TEST(copy_from_the_peer) {
    World world;
    const Ours ours;
    Batch batch;
    void* theirs = nullptr;
    const GrantRef ref{world.peers.share(peer, true, &theirs)}; // reading is enough
    auto* const bytes = static_cast<uint8_t*>(theirs);
    for (uint32_t i = 0; i < page_size; ++i)
        bytes[i] = static_cast<uint8_t>(i * 7);
    batch->from_peer(peer, ref, 100, ours.gfn(), 3000, 200, 1);
    batch->from_peer(peer, ref, 0, ours.gfn(), 0, 1, 2);
    batch->from_peer(peer, ref, 4095, ours.gfn(), 4095, 1, 3);
    CHECK_EQ(batch->count(), 3u);
    CHECK_EQ(batch->free(), XPV_COPY_BATCH - 3u);
    CHECK_EQ(run(*batch).count, 0u);
    CHECK_EQ(batch->count(), 0u);
    CHECK_EQ(__builtin_memcmp(ours.bytes() + 3000, bytes + 100, 200), 0);
    CHECK_EQ(ours.bytes()[2999], 0);
    CHECK_EQ(ours.bytes()[3200], 0);
    CHECK_EQ(ours.bytes()[4095], bytes[4095]);
}

TEST(copy_to_the_peer) {
    World world;
    const Ours ours;
    Batch batch;
    void* theirs = nullptr;
    const GrantRef ref{world.peers.share(peer, false, &theirs)};
    const GrantRef readonly{world.peers.share(peer, true)};
    const auto* const bytes = static_cast<const uint8_t*>(theirs);
    for (uint32_t i = 0; i < page_size; ++i)
        ours.bytes()[i] = static_cast<uint8_t>(i * 5 + 1);
    batch->to_peer(peer, ref, 10, ours.gfn(), 500, 1000, 1);
    batch->to_peer(peer, readonly, 0, ours.gfn(), 0, 8, 2);
    const Failures failures = run(*batch);
    CHECK_EQ(failures.count, 1u);
    CHECK_EQ(failures.tags[0], 2u);
    CHECK_EQ(__builtin_memcmp(bytes + 10, ours.bytes() + 500, 1000), 0);
    CHECK_EQ(bytes[9], 0);
    CHECK_EQ(bytes[1010], 0);
}

TEST(copy_from_peer_to_peer) {
    World world;
    Batch batch;
    void* from = nullptr;
    void* to = nullptr;
    const GrantRef source{world.peers.share(peer, true, &from)};
    const GrantRef target{world.peers.share(peer + 1, false, &to)};
    __builtin_memset(from, 0x42, page_size);
    batch->peer_to_peer(peer, source, 8, peer + 1, target, 16, 32, 1);
    batch->peer_to_peer(peer + 1, source, 8, peer + 1, target, 16, 32, 2); // whose is it?
    batch->peer_to_peer(peer + 1, target, 0, peer, source, 0, 32, 3);      // read-only
    const Failures failures = run(*batch);
    CHECK_EQ(failures.count, 2u);
    CHECK_EQ(failures.tags[0], 2u);
    CHECK_EQ(failures.tags[1], 3u);
    CHECK_EQ(static_cast<const uint8_t*>(to)[15], 0);
    CHECK_EQ(static_cast<const uint8_t*>(to)[16], 0x42);
    CHECK_EQ(static_cast<const uint8_t*>(to)[47], 0x42);
    CHECK_EQ(static_cast<const uint8_t*>(to)[48], 0);
}

// Each failure comes back under its own tag with its own status; the others are done.
TEST(copy_tags_and_statuses) {
    World world;
    const Ours ours;
    Batch batch;
    const GrantRef good{world.peers.share(peer)};
    const GrantRef foreign{world.peers.share(peer + 1)};
    const GrantRef revoked{world.peers.share(peer)};
    CHECK(world.peers.revoke(revoked.number()));
    batch->from_peer(peer, good, 0, ours.gfn(), 0, 64, 100);
    batch->from_peer(peer, GrantRef{0xffffffff}, 0, ours.gfn(), 0, 64, 101);
    batch->from_peer(peer, foreign, 0, ours.gfn(), 0, 64, 102);
    batch->from_peer(peer, revoked, 0, ours.gfn(), 0, 64, 103);
    batch->from_peer(peer, good, 4000, ours.gfn(), 0, 97, 104);
    batch->from_peer(peer, good, 0, ours.gfn(), 4000, 97, 105);
    batch->from_peer(peer, good, 4000, ours.gfn(), 4000, 96, 106);
    batch->from_peer(peer, good, 65535, ours.gfn(), 0, 65535, 107);
    const Failures failures = run(*batch);
    CHECK_EQ(failures.count, 6u);
    CHECK_EQ(failures.tags[0], 101u);
    CHECK_EQ(failures.status[0], GNTST_bad_gntref);
    CHECK_EQ(failures.tags[1], 102u);
    CHECK_EQ(failures.status[1], GNTST_general_error);
    CHECK_EQ(failures.tags[2], 103u);
    CHECK_EQ(failures.tags[3], 104u);
    CHECK_EQ(failures.status[3], GNTST_bad_copy_arg);
    CHECK_EQ(failures.tags[4], 105u);
    CHECK_EQ(failures.tags[5], 107u);
}

TEST(copy_batch_is_full_and_used_again) {
    World world;
    const Ours ours;
    Batch batch;
    const GrantRef ref{world.peers.share(peer)};
    for (uint32_t round = 0; round < 3; ++round) {
        for (uint32_t i = 0; batch->free() != 0; ++i)
            batch->to_peer(peer, ref, 0, ours.gfn(), 0, 4, i);
        CHECK_EQ(batch->count(), uint32_t{XPV_COPY_BATCH});
        world.account.fail(Call::Copy, round + 1, 2);
        const Failures failures = run(*batch);
        CHECK_EQ(failures.count, 2u);
        CHECK_EQ(failures.tags[0], round);
        CHECK_EQ(failures.tags[1], round + 1);
        CHECK_EQ(batch->free(), uint32_t{XPV_COPY_BATCH});
    }
    CHECK_EQ(run(*batch).count, 0u); // nothing to do, nothing asked of Xen
    CHECK_EQ(world.account.calls(Call::Copy), 3u * XPV_COPY_BATCH);
}

// A page that Xen has to fetch first is asked for again, a bounded number of times, and
// the operations beside it only once.
TEST(copy_asks_again_for_a_page_that_is_out) {
    World world;
    const Ours ours;
    Batch batch;
    void* theirs = nullptr;
    const GrantRef ref{world.peers.share(peer, true, &theirs)};
    __builtin_memset(theirs, 0x42, page_size);
    for (const uint32_t times : test::each(1u, 5u, 1000u)) {
        const uint32_t before = world.account.calls(Call::Copy);
        for (uint32_t i = 0; i < 3; ++i)
            batch->from_peer(peer, ref, 0, ours.gfn(), static_cast<uint16_t>(i * 64), 64, i);
        __builtin_memset(ours.bytes(), 0, page_size);
        world.account.fail(Call::Copy, 3, times, GNTST_eagain);
        const Failures failures = run(*batch);
        world.account.fail_nothing();
        const uint32_t calls = world.account.calls(Call::Copy) - before;
        const bool good = times < 1000;
        CHECK_EQ(failures.count, good ? 0u : 1u);
        CHECK_EQ(ours.bytes()[64], 0x42);
        CHECK_EQ(ours.bytes()[128], good ? 0x42 : 0);
        if (good) {
            CHECK_EQ(calls, 3 + times);
        } else {
            CHECK_EQ(failures.tags[0], 2u);
            CHECK_EQ(failures.status[0], GNTST_eagain);
            CHECK(calls <= 3 + 8u);
        }
    }
}
