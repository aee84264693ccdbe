// SPDX-License-Identifier: GPL-2.0-only
#include "core/ids.hpp"
#include "core/untrusted.hpp"
#include "kunit/check.hpp"
#include "kunit/each.hpp"

using namespace xpv;
using xpv::test::each;

namespace {

constexpr uint32_t size = 256;
using Pool = IdPool<RequestId, size>;
constexpr uint32_t none = RequestId::none().number();

// Small, and reproducible.
struct Dice {
    uint32_t state = 12345;
    uint32_t roll(uint32_t sides) noexcept {
        state = state * 1664525 + 1013904223;
        return (state >> 8) % sides;
    }
};

} // namespace

TEST(ids_each_is_handed_out_once) {
    Pool pool;
    bool out[size] = {};
    CHECK_EQ(pool.available(), size);
    for (uint32_t i = 0; i < size; ++i) {
        const uint32_t id = pool.take().number();
        CHECK(id < size);
        CHECK(!out[id]);
        out[id] = true;
        CHECK(pool.is_taken(id));
        CHECK_EQ(pool.in_use(), i + 1);
    }
    CHECK_EQ(pool.take(), none);
    CHECK_EQ(pool.available(), 0u);
    for (uint32_t id = 0; id < size; ++id)
        CHECK(pool.give(RequestId{id}).ok());
    CHECK_EQ(pool.available(), size);
}

TEST(ids_of_a_liar_are_refused) {
    Pool pool;
    const RequestId id = pool.take();
    for (uint32_t wrong : each(size, size + 1, 0x10000u + id.number(), 0x80000000u, none)) {
        CHECK(!pool.is_taken(wrong));
        CHECK_EQ(pool.find(wrong).error(), Error::Protocol);
        CHECK_EQ(pool.give(RequestId{wrong}).error(), Error::Protocol);
    }
    for (uint32_t other = 0; other < size; ++other)
        if (other != id.number()) {
            CHECK_EQ(pool.find(other).error(), Error::Protocol);
            CHECK_EQ(pool.give(RequestId{other}).error(), Error::Protocol);
        }
    CHECK_EQ(pool.in_use(), 1u);
    CHECK_EQ(pool.find(id.number()).value(), id);
    CHECK(pool.give(id).ok());
    CHECK_EQ(pool.find(id.number()).error(), Error::Protocol); // twice
    CHECK_EQ(pool.give(id).error(), Error::Protocol);
    CHECK_EQ(pool.available(), size);
}

TEST(ids_used_last_come_first) {
    Pool pool;
    const RequestId a = pool.take();
    const RequestId b = pool.take();
    CHECK(pool.give(a).ok());
    CHECK(pool.give(b).ok());
    CHECK_EQ(pool.take(), b);
    CHECK_EQ(pool.take(), a);
}

TEST(ids_generation_tells_lives_apart) {
    Pool pool;
    const RequestId id = pool.take();
    const uint32_t first = pool.generation(id);
    CHECK(pool.give(id).ok());
    CHECK(pool.generation(id) != first);
    CHECK_EQ(pool.take(), id);
    CHECK(pool.generation(id) != first);
    // Nor does a reset bring a former life back.
    const uint32_t second = pool.generation(id);
    pool.reset();
    CHECK(pool.generation(id) != second);
    CHECK(!pool.is_taken(id.number()));
    CHECK_EQ(pool.available(), size);
    for (uint32_t i = 0; i < size; ++i)
        if (const RequestId again = pool.take(); again == id)
            CHECK(pool.generation(id) != first && pool.generation(id) != second);
    CHECK_EQ(pool.in_use(), size);
}

// Found while it is out, in that life, and given back by what was found.
TEST(ids_a_peer_sends_back) {
    Pool pool;
    const RequestId id = pool.take();
    const uint32_t life = pool.generation(id);
    CHECK_EQ(pool.find(id.number(), life + 1).error(), Error::Protocol);
    CHECK_EQ(pool.find(id.number(), life - 1).error(), Error::Protocol);
    CHECK(!pool.find(size, life).ok());
    CHECK(!pool.find(none, life).ok());
    const Result<RequestId> found = pool.find(id.number(), life);
    CHECK(found.ok());
    CHECK_EQ(found.value(), id);
    CHECK(pool.give(found.value()).ok());
    CHECK_EQ(pool.available(), size);
    CHECK(!pool.find(id.number(), life).ok());
    CHECK(!pool.find(id.number(), pool.generation(id)).ok()); // nobody has it
    CHECK_EQ(pool.take(), id);
    CHECK(!pool.find(id.number(), life).ok()); // the former life's
}

TEST(ids_untrusted_until_checked) {
    struct Answer {
        uint64_t id;
        int16_t status;
    };
    const Untrusted<Answer> answer{Answer{size + 1, -1}};
    const auto below = [](uint64_t id) noexcept {
        return id < size ? Result<uint64_t>{id} : Result<uint64_t>{Error::Range};
    };
    CHECK_EQ(answer.part(&Answer::id).checked(below).error(), Error::Range);
    CHECK(answer.part(&Answer::status).is(-1));
    CHECK(!answer.part(&Answer::status).is(1));
    CHECK_EQ(answer.part(&Answer::id).raw(), size + 1);
    CHECK_EQ(Untrusted<uint64_t>{size - 1}.checked(below).value_or(0), size - 1);
}

TEST(ids_survive_any_order) {
    Pool pool;
    bool out[size] = {};
    uint32_t count = 0;
    Dice dice;
    for (uint32_t step = 0; step < 20000; ++step) {
        if (dice.roll(2) == 0) {
            const uint32_t id = pool.take().number();
            CHECK_EQ(id == none, count == size);
            if (id == none)
                continue;
            CHECK(!out[id]);
            out[id] = true;
            ++count;
        } else {
            const uint32_t id = dice.roll(size + 3);
            const bool expected = id < size && out[id];
            CHECK_EQ(pool.give(RequestId{id}).ok(), expected);
            if (expected) {
                out[id] = false;
                --count;
            }
        }
        CHECK_EQ(pool.in_use(), count);
    }
}

TEST(ids_pool_of_one) {
    IdPool<RequestId, 1> pool;
    CHECK_EQ(pool.take(), 0u);
    CHECK_EQ(pool.take(), none);
    CHECK_EQ(pool.give(RequestId{1}).error(), Error::Protocol);
    CHECK(pool.give(RequestId{0}).ok());
    CHECK_EQ(pool.take(), 0u);
}
