// SPDX-License-Identifier: GPL-2.0-only
// takeover.hpp over a kernel that writes down what is asked of it.
#include "pvlock/takeover.hpp"
#include "kunit/check.hpp"

using namespace xpv;

namespace {

struct World {
    xpv_pvlock_facts facts = {true, 8, XPV_PVLOCK_WAITS_PV};
    int fails = -1; // which call of guard and hook
    int calls = 0;
    uint32_t hooked = 0;
    bool guarded = false;
    bool ours = false;
    bool settled = true; // nobody can be in a trampoline
    int refused = -1;
    bool wrong = false;
    char text[160] = {};
    uint32_t length = 0;

    void note(char what) noexcept {
        if (length + 1 < sizeof(text))
            text[length++] = what;
    }
};

World* world;

struct Os {
    static xpv_pvlock_facts facts() noexcept { return world->facts; }
    static int refuse(xpv_pvlock_refusal why) noexcept {
        world->refused = why;
        return -5;
    }
    static bool fails() noexcept { return world->calls++ == world->fails; }
    static int guard() noexcept {
        world->wrong |= world->guarded;
        if (fails())
            return -16;
        world->guarded = true;
        world->note('G');
        return 0;
    }
    static void unguard() noexcept {
        world->wrong |= !world->guarded || world->hooked != 0;
        world->guarded = false;
        world->note('g');
    }
    static int hook(uint32_t function) noexcept {
        world->wrong |= !world->guarded || (world->hooked >> function & 1) != 0;
        if (fails())
            return -17;
        world->hooked |= 1u << function;
        world->settled = false;
        world->note(static_cast<char>('0' + function));
        return 0;
    }
    // Whoever is inside would go on in a function that is somebody else's again.
    static void unhook(uint32_t function) noexcept {
        world->wrong |= world->ours || (world->hooked >> function & 1) == 0;
        world->hooked &= ~(1u << function);
        world->note('-');
    }
    static void settle() noexcept {
        world->wrong |= world->hooked != 0;
        world->settled = true;
        world->note('.');
    }
    static void change_over(bool ours) noexcept {
        world->wrong |= world->ours == ours || world->hooked == 0;
        world->ours = ours;
        world->note(ours ? 'A' : 'a');
    }
};

using Takeover = pvlock::Takeover<Os>;

struct Setting {
    Setting() noexcept { world = &kernel; }
    World kernel;
    Takeover takeover;
};

} // namespace

TEST(takeover_hooks_what_waits) {
    Setting pv;
    CHECK_EQ(pv.takeover.set(true), 0);
    CHECK_STREQ(pv.kernel.text, "G0134A");
    CHECK_EQ(pv.takeover.hooks(), 4u);
    CHECK(pv.takeover.in_charge());
    Setting native;
    native.kernel.facts.waits = XPV_PVLOCK_WAITS_NATIVE;
    CHECK_EQ(native.takeover.set(true), 0);
    CHECK_STREQ(native.kernel.text, "G234A");
    CHECK_EQ(native.takeover.hooks(), 3u);
    CHECK(!pv.kernel.wrong && !native.kernel.wrong);
}

TEST(takeover_keeps_its_hooks) {
    Setting s;
    for (int turn = 0; turn < 3; ++turn) {
        CHECK_EQ(s.takeover.set(true), 0);
        CHECK_EQ(s.takeover.set(true), 0);
        CHECK_EQ(s.takeover.set(false), 0);
        CHECK_EQ(s.takeover.set(false), 0);
        CHECK(!s.takeover.in_charge());
        CHECK_EQ(s.takeover.hooks(), 4u);
    }
    CHECK_STREQ(s.kernel.text, "G0134AaAaAa");
    // What was settled when they were hooked is not asked again.
    s.kernel.facts.xen = false;
    CHECK_EQ(s.takeover.set(true), 0);
    CHECK(!s.kernel.wrong);
}

TEST(takeover_ends_whatever_it_did) {
    Setting never;
    CHECK_EQ(never.takeover.set(false), 0);
    never.takeover.end();
    CHECK_STREQ(never.kernel.text, "");
    Setting off;
    off.takeover.set(true);
    off.takeover.set(false);
    off.takeover.end();
    CHECK_STREQ(off.kernel.text, "G0134Aa----g.");
    Setting on;
    on.takeover.set(true);
    on.takeover.end();
    CHECK_STREQ(on.kernel.text, "G0134Aa----g.");
    CHECK(!on.takeover.in_charge());
    CHECK_EQ(on.takeover.hooks(), 0u);
    CHECK(on.kernel.settled && !on.kernel.guarded);
    on.takeover.end();
    CHECK_STREQ(on.kernel.text, "G0134Aa----g.");
    CHECK(!never.kernel.wrong && !off.kernel.wrong && !on.kernel.wrong);
}

TEST(takeover_refuses) {
    const struct {
        xpv_pvlock_facts facts;
        int why;
    } cases[] = {
        {{false, 8, XPV_PVLOCK_WAITS_PV}, XPV_PVLOCK_NO_XEN},
        {{false, 8, XPV_PVLOCK_WAITS_FIXED}, XPV_PVLOCK_NO_XEN},
        {{true, 8, XPV_PVLOCK_WAITS_FIXED}, XPV_PVLOCK_FIXED},
        {{true, 8, XPV_PVLOCK_WAITS_OTHER}, XPV_PVLOCK_NOT_LINUX},
        {{true, XPV_PVLOCK_KERNEL_CPUS_MAX + 1, XPV_PVLOCK_WAITS_PV}, XPV_PVLOCK_CPUS},
        {{true, XPV_PVLOCK_KERNEL_CPUS_MAX, XPV_PVLOCK_WAITS_PV}, -1},
    };
    for (const auto& one : cases) {
        Setting s;
        s.kernel.facts = one.facts;
        const int err = s.takeover.set(true);
        CHECK_EQ(s.kernel.refused, one.why);
        CHECK_EQ(err, one.why < 0 ? 0 : -5);
        CHECK_STREQ(s.kernel.text, one.why < 0 ? "G0134A" : "");
        CHECK_EQ(s.takeover.in_charge(), one.why < 0);
    }
}

TEST(takeover_that_fails_leaves_nothing) {
    const char* told[] = {"", "Gg.", "G0-g.", "G01--g.", "G013---g."};
    for (int which = 0; which < 5; ++which) {
        Setting s;
        s.kernel.fails = which;
        CHECK_EQ(s.takeover.set(true), which == 0 ? -16 : -17);
        CHECK_STREQ(s.kernel.text, told[which]);
        CHECK(!s.takeover.in_charge() && s.takeover.hooks() == 0);
        CHECK(s.kernel.settled && !s.kernel.guarded && s.kernel.hooked == 0);
        // And is no reason not to try again.
        CHECK_EQ(s.takeover.set(true), 0);
        CHECK(s.kernel.ours && s.kernel.hooked != 0 && !s.kernel.wrong);
    }
}
