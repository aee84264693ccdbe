// SPDX-License-Identifier: GPL-2.0-only
// The lock's policy in a World, and the faults that the harness must find. Each fault
// is one mistake that looks harmless.
#pragma once

#include "pvlock/host/world.hpp"
#include "pvlock/rw.hpp"

namespace xpv::host {

struct Sound : pvlock::NoFaults {
    static constexpr bool clear_late = false;
    static constexpr bool weak_publish = false;
    static constexpr bool no_repend = false;
    static constexpr bool release_in_two = false;
    static constexpr bool touch_after = false;
    static constexpr bool endless_turn = false;
    static constexpr bool no_kick = false;
    static constexpr bool sleep_always = false;
    static constexpr bool release_whole = false;
    static constexpr bool queue_in_interrupt = false;
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

// A waiter sleeps for a lock whose release nobody sees.
struct SleepAlways : Sound {
    static constexpr bool sleep_always = true;
};
// The kernel's release wipes the whole word, not byte 0.
struct ReleaseWhole : Sound {
    static constexpr bool release_whole = true;
};
// A reader in an interrupt lets a writer go first that waits for whom it interrupted.
struct QueueInInterrupt : Sound {
    static constexpr bool queue_in_interrupt = true;
};

// The kernel's word: faults of the layout itself.
// A waiter that leaves does not make the lock slow.
struct LeavesFast : pvlock::PvWord {
    static constexpr Word left(Word word) { return word; }
};
// Nor does a CPU that takes it.
struct TakesFast : pvlock::PvWord {
    static constexpr Word taken(Word word, uint32_t) { return word | held; }
};
// A policy over the locks of a World.
template <class Faults, class Words> struct Policy : Faults {
    using Layout = Words;
    using Word = typename Layout::Word;
    using World = host::World<Layout>;
    static constexpr bool own = std::is_same_v<Layout, pvlock::OwnWord>;
    static World& world() { return *World::now; }

    static xpv_pvlock_cpu& cpu(uint32_t i) { return world().percpu(i); }
    static xpv_pvlock_cpu& waits(uint32_t i) { return world().percpu(i); }
    static void took(const Word&, uint32_t) {}
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
    template <class T> static bool cas(T& address, T& expected, T desired) {
        if (!is_lock(&address))
            return swap(address, expected, desired);
        const auto from = static_cast<Word>(expected);
        const auto to = static_cast<Word>(desired);
        const bool release = !Layout::is_free(from) && Layout::is_free(to);
        if (release && Faults::release_in_two) {
            if (load(address) != expected) {
                expected = world().read(address);
                return false;
            }
            store(address, desired);
            return true;
        }
        const bool done = swap(address, expected, desired);
        if (release && done && Faults::touch_after)
            load(address);
        return done;
    }

    static void relax() {
        if (!can_sleep(0))
            world().pause_until_change();
    }
    static bool preempted(uint32_t) { return false; }
    static bool holder_preempted(const Word&, Word) { return false; }
    static bool yield() {
        world().pause_until_change();
        return true;
    }
    static bool can_sleep(uint32_t) {
        const bool silent = std::is_same_v<Layout, pvlock::NativeWord>;
        return world().may_sleep() && (!silent || Faults::sleep_always);
    }
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
    static void not_owner(Word&, Word) { world().fail("unlock by another CPU"); }

    // What the fast paths do: the header's, or the kernel's.
    static void lock(int i) {
        const auto me = static_cast<uint32_t>(world().current());
        Word word = 0;
        if (cas(world().lock(i), word, Layout::taken(0, me)))
            return;
        if constexpr (own) {
            xpv_pvlock_cpu& self = world().percpu(me);
            if (Layout::free_to_all(word) && *self.left > 0 &&
                cas(world().lock(i), word, Layout::taken(word, me))) {
                *self.left -= !Faults::endless_turn;
                return;
            }
        } else if (pvlock::lock_at_once<Policy>(world().lock(i), world().percpu(me), me)) {
            return;
        }
        pvlock::lock_slow<Policy>(world().lock(i), me);
    }
    static bool trylock(int i) {
        Word word = load(world().lock(i));
        if (own ? !Layout::free_to_all(word) : word != 0)
            return false;
        return cas(world().lock(i), word,
                   Layout::taken(word, static_cast<uint32_t>(world().current())));
    }
    static void unlock(int i) {
        const auto me = static_cast<uint32_t>(world().current());
        Word& lock = world().lock(i);
        if constexpr (own) {
            Word word = me + 1;
            if (cas(lock, word, Word{0}))
                return;
            if ((word & (Layout::owner_mask | Layout::reserved)) == me + 1 &&
                (word & (Layout::outsider | Layout::head_up)) != 0 &&
                cas(lock, word, word & ~Layout::owner_mask))
                return;
            pvlock::unlock_slow<Policy>(lock, me);
        } else if constexpr (std::is_same_v<Layout, pvlock::NativeWord>) {
            world().touch_lock(&lock);
            if (Faults::release_whole)
                world().write(lock, Word{0});
            else
                world().write_byte(lock, 0);
            world().seen(4);
        } else if (!release_byte(lock)) {
            pvlock::unlock_slow<Policy>(lock, me);
        }
    }

    // The kernel's rwlock: its fast paths, and waiters that queue in lock 1.
    static void read_lock(bool interrupt) {
        uint32_t& counts = world().rw_counts();
        if ((add(counts, XPV_PVLOCK_RW_READER) & rw_writers) != 0)
            pvlock::read_slow<Policy>(counts, nullptr, interrupt && !Faults::queue_in_interrupt,
                                      static_cast<uint32_t>(world().current()));
    }
    static void read_unlock() { add(world().rw_counts(), 0u - XPV_PVLOCK_RW_READER); }
    static void write_lock() {
        uint32_t free = 0;
        if (!cas(world().rw_counts(), free, uint32_t{XPV_PVLOCK_RW_LOCKED}))
            pvlock::write_slow<Policy>(world().rw_counts(), nullptr,
                                       static_cast<uint32_t>(world().current()));
    }
    static void write_unlock() { world().write_byte(world().rw_counts(), 0); }
    static void queue_lock(void*) { lock(1); }
    static void queue_unlock(void*) { unlock(1); }
    static uint32_t add(uint32_t& address, uint32_t value) {
        world().step();
        world().drain();
        const uint32_t sum = world().read(address) + value;
        world().write_now(address, sum);
        world().seen(sum);
        return sum;
    }

private:
    static constexpr uint32_t rw_writers = XPV_PVLOCK_RW_LOCKED | XPV_PVLOCK_RW_WAITING;
    static bool is_lock(const void* address) {
        return address == &world().lock(0) || address == &world().lock(1);
    }
    // The kernel's PV unlock: byte 0 from 1 to 0, or not at all.
    static bool release_byte(Word& lock) {
        world().step();
        world().touch_lock(&lock);
        world().drain();
        const Word word = world().read(lock);
        const bool fast = (word & Layout::owner_mask) == 1;
        if (fast) {
            world().watch(&lock, word, word - 1);
            world().write_now(lock, word - 1);
        }
        world().seen(word & Layout::owner_mask);
        return fast;
    }
    template <class T> static bool swap(T& address, T& expected, T desired) {
        world().step();
        world().touch_lock(&address);
        world().drain();
        const T old = world().read(address);
        const bool same = old == expected;
        if (same) {
            if (is_lock(&address))
                world().watch(&address, static_cast<Word>(old), static_cast<Word>(desired));
            world().write_now(address, desired);
        }
        expected = old;
        world().seen(old);
        return same;
    }
};

} // namespace xpv::host
