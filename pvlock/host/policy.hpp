// SPDX-License-Identifier: GPL-2.0-only
// The lock's policy in a World, and the faults that the harness must find. Each fault
// is one mistake that looks harmless.
#pragma once

#include "pvlock/host/world.hpp"

namespace xpv::host {

struct Sound : pvlock::NoFaults {
    static constexpr bool clear_late = false;
    static constexpr bool weak_publish = false;
    static constexpr bool no_repend = false;
    static constexpr bool release_in_two = false;
    static constexpr bool touch_after = false;
    static constexpr bool endless_turn = false;
    static constexpr bool no_kick = false;
};
// Looks at the lock first, and clears the event only before it sleeps.
struct CheckBeforeClear : Sound {
    static constexpr bool clear_late = true;
};
// The sleeper's state reaches the others later than the flag that it drops.
struct MissingBarrier : Sound {
    static constexpr bool weak_publish = true;
};
struct KickBeforeRelease : Sound {
    static constexpr bool call_before_release = true;
};
// An interrupt's wait eats the kick of the wait that it interrupted.
struct NoRepend : Sound {
    static constexpr bool no_repend = true;
};
// The release is a look and a store, not one operation.
struct ReleaseInTwo : Sound {
    static constexpr bool release_in_two = true;
};
struct TouchAfterRelease : Sound {
    static constexpr bool touch_after = true;
};
// A waiter goes to sleep without finding the lock held in the same operation.
struct LeaveBlindly : Sound {
    static constexpr bool leave_blindly = true;
};
// A CPU whose turn is over leaves a free lock to a head that sleeps, and tells nobody.
struct JoinSilently : Sound {
    static constexpr bool join_silently = true;
};
// The call of an earlier wait is taken for one of this wait.
struct TrustCalls : Sound {
    static constexpr bool trust_calls = true;
};
// A CPU does not count how often it takes a lock that others wait for.
struct EndlessTurn : Sound {
    static constexpr bool endless_turn = true;
};
struct NoKick : Sound {
    static constexpr bool no_kick = true;
};

template <class Faults> struct Policy : Faults {
    static World& world() { return *World::now; }

    static xpv_pvlock_cpu& cpu(uint32_t i) { return world().percpu(i); }
    static const xpv_pvlock_knobs& knobs() { return world().knobs(); }
    static void set_level(xpv_pvlock_cpu& self, uint32_t level) { self.level = level; }

    template <class T> static T load(const T& address) {
        world().step();
        world().touch_lock(&address);
        const T value = world().read(address);
        world().seen(value);
        return value;
    }
    // Nobody sees a store before it drains, so it needs no step of its own.
    template <class T> static void store(T& address, T value) {
        world().touch_lock(&address);
        world().write(address, value);
        world().seen(3);
    }
    template <class T> static T exchange(T& address, T value) {
        world().step();
        world().drain();
        const T old = world().read(address);
        world().write_now(address, value);
        world().seen(old);
        return old;
    }
    static void publish(uint32_t& address, uint32_t value) {
        world().step();
        if (Faults::weak_publish) {
            world().write(address, value, true);
        } else {
            world().drain();
            world().write_now(address, value);
        }
    }
    static bool cas(uint32_t& address, uint32_t& expected, uint32_t desired) {
        return swap(address, expected, desired);
    }
    static bool cas(pvlock::Word& lock, pvlock::Word& expected, pvlock::Word desired) {
        using namespace pvlock;
        const bool release = !is_free(expected) && is_free(desired);
        if (release && Faults::release_in_two) {
            if (load(lock) != expected) {
                expected = world().read(lock);
                return false;
            }
            store(lock, desired);
            return true;
        }
        const bool done = swap(lock, expected, desired);
        if (release && done && Faults::touch_after)
            load(lock);
        return done;
    }

    static void relax() {
        if (!world().may_sleep())
            world().pause_until_change();
    }
    static bool preempted(uint32_t) { return false; }
    static bool yield() {
        world().pause_until_change();
        return true;
    }
    static bool can_sleep(uint32_t) { return world().may_sleep(); }
    static void clear_event(uint32_t) {
        if (Faults::clear_late)
            return;
        world().step();
        world().self().pending = false;
    }
    static bool poll(uint32_t cpu) {
        if (Faults::clear_late) {
            world().step();
            world().machine(static_cast<int>(cpu)).pending = false;
        }
        world().step();
        world().poll();
        return false;
    }
    static bool kick(uint32_t cpu) {
        world().step();
        if (!Faults::no_kick)
            world().kick(cpu);
        return true;
    }
    static void repend(uint32_t cpu) {
        world().step();
        if (!Faults::no_repend)
            world().kick(cpu);
    }
    static uint64_t clock() { return 0; }
    static void not_owner(pvlock::Word&, uint32_t) { world().fail("unlock by another CPU"); }

    // What the header's fast paths do.
    static void lock(int i) {
        const auto me = static_cast<uint32_t>(world().current());
        pvlock::Word word = 0;
        if (cas(world().lock(i), word, pvlock::Word{me + 1}))
            return;
        xpv_pvlock_cpu& self = world().percpu(me);
        if (pvlock::free_to_all(word) && *self.left > 0 &&
            cas(world().lock(i), word, word | (me + 1))) {
            *self.left -= !Faults::endless_turn;
            return;
        }
        pvlock::lock_slow<Policy>(world().lock(i), me);
    }
    static void unlock(int i) {
        const auto me = static_cast<uint32_t>(world().current());
        pvlock::Word word = me + 1;
        if (cas(world().lock(i), word, pvlock::Word{0}))
            return;
        using namespace pvlock;
        if ((word & (owner_mask | reserved)) == me + 1 && (word & (outsider | head_up)) != 0 &&
            cas(world().lock(i), word, word & ~owner_mask))
            return;
        unlock_slow<Policy>(world().lock(i), me);
    }

private:
    template <class T> static bool swap(T& address, T& expected, T desired) {
        world().step();
        world().touch_lock(&address);
        world().drain();
        const T old = world().read(address);
        const bool same = old == expected;
        if (same) {
            if (sizeof(T) == sizeof(pvlock::Word))
                world().watch(&address, old, desired);
            world().write_now(address, desired);
        }
        expected = old;
        world().seen(old);
        return same;
    }
};

} // namespace xpv::host
