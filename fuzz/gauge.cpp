// SPDX-License-Identifier: GPL-2.0-only
// Target: the gauge's word as anybody may have left it in xenstore, how long it is
// believed, and a controller that hears it.
#include "balloon/controller.hpp"
#include "balloon/gauge.hpp"
#include "fuzz/input.hpp"
#include "kunit/check.hpp"

namespace xpv::fuzz {
namespace {

using namespace xpv::balloon;

// What is read is what would be written: there is one text for a word.
Result<GaugeWord> word(Input& in) {
    char text[2 * GaugeWord::size];
    uint32_t length = 0;
    if (in.flag()) {
        GaugeWord made;
        made.level = in.near(level_of(in.below(level_count)));
        made.sequence = in.near(100);
        made.ttl_s = in.near(60);
        char good[GaugeWord::size];
        length = format_gauge(made, good);
        __builtin_memcpy(text, good, length);
        if (in.flag())
            text[in.below(length)] = static_cast<char>(in.u8());
    } else {
        for (length = in.below(sizeof(text)); length > in.left();)
            --length;
        for (uint32_t i = 0; i < length; ++i)
            text[i] = static_cast<char>(in.u8());
    }
    const Result<GaugeWord> read = parse_gauge(text, length);
    if (read.ok()) {
        char again[GaugeWord::size];
        EXPECT(read.value().level <= level_max);
        EXPECT(read.value().ttl_s >= 1 && read.value().ttl_s <= GaugeWord::ttl_max);
        EXPECT_EQ(format_gauge(read.value(), again), length);
        EXPECT_EQ(__builtin_memcmp(again, text, length), 0);
    }
    return read;
}

} // namespace

void one(Input& in) {
    Gauge gauge;
    Limits limits;
    limits.floor = in.u16();
    limits.wish = in.u16();
    Controller controller{limits};
    uint64_t now = in.u32();
    while (in.left() != 0) {
        now += in.near(1000);
        if (in.flag())
            (void)gauge.hear(word(in), now);
        const Level level = gauge.level(now);
        EXPECT(level <= level_max);
        EXPECT(level == 0 || (gauge.known() && gauge.fades(now)));
        Sample sample;
        sample.now_ms = now;
        sample.held = in.near(250000);
        sample.max = in.near(500000);
        sample.free = in.near(10000);
        sample.available = in.near(100000);
        sample.cache = in.near(50000);
        sample.anonymous = in.near(20000);
        sample.refaults = in.u32();
        if (in.below(16) == 0)
            controller.relieved(in.u32(), now);
        const Decision decision = controller.tick(sample, level, gauge.known());
        if (decision.goal < sample.held)
            EXPECT(decision.goal >= decision.floor);
        if (decision.goal > sample.held)
            EXPECT(decision.goal <= sample.max);
    }
}

} // namespace xpv::fuzz
