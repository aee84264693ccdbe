// SPDX-License-Identifier: GPL-2.0-only
// Every interleaving of small programs over the lock's real code (lock.hpp), one step
// for each access to shared memory: a search over all choices that a World offers, by
// replay. States seen before, memory and what each CPU's code knows, are not searched
// again. The same search must find every fault of policy.hpp.
//
// usage: pvlock-interleave [--states N] [--story] [NAME...]     KTAP; exit status 0: all passed
#include "kunit/host/cases.hpp"
#include "pvlock/host/policy.hpp"

namespace xpv::host {
namespace {

// ---- programs -------------------------------------------------------------

// Each CPU takes the lock a few times.
template <class Hv> void three_in_turn(typename Hv::World& w, int rounds) {
    for (int cpu = 0; cpu < w.cpus(); ++cpu)
        w.machine(cpu).program = [&w, rounds] {
            for (int round = 0; round < rounds; ++round) {
                w.forget(static_cast<uint64_t>(round));
                Hv::lock(0);
                w.critical(0);
                Hv::unlock(0);
            }
        };
}

// The last of those who share an object frees it, lock and all, when it has let go.
template <class Hv> void last_one_frees(typename Hv::World& w) {
    for (int cpu = 0; cpu < w.cpus(); ++cpu)
        w.machine(cpu).program = [&w] {
            Hv::lock(0);
            w.critical(0);
            const bool last = ++w.counter(0) == w.cpus();
            Hv::unlock(0);
            w.step();
            if (last)
                w.free_lock(0);
        };
}

// Two locks one after the other: a call for the first wait may come in the second.
template <class Hv> void two_locks(typename Hv::World& w) {
    for (int cpu = 0; cpu < w.cpus(); ++cpu)
        w.machine(cpu).program = [&w, cpu] {
            for (int turn = 0; turn < 2; ++turn) {
                const int which = cpu == 2 ? 1 : turn;
                w.forget(static_cast<uint64_t>(turn));
                Hv::lock(which);
                w.critical(which);
                Hv::unlock(which);
            }
        };
}

// CPU 0 sleeps for lock 0, which CPU 1 lets go; it wakes for another reason, and goes on
// to lock 1, where CPU 2 holds and CPU 3 waits: CPU 1's call comes there.
template <class Hv> void late_call(typename Hv::World& w) {
    using pvlock::id_of;
    const auto is_free = Hv::Layout::is_free;
    const auto head_of = Hv::Layout::head_of;
    const auto tail_of = Hv::Layout::tail_of;
    const auto once = [&w](int which, auto until) {
        Hv::lock(which);
        w.critical(which);
        w.gate(10u + static_cast<unsigned>(which), until);
        Hv::unlock(which);
    };
    const auto always = [] { return true; };
    w.machine(0).program = [&w, once, always, is_free, head_of] {
        w.gate(1, [&w, is_free, head_of] {
            return !is_free(w.read(w.lock(0))) && head_of(w.read(w.lock(1))) != 0;
        });
        once(0, always);
        once(1, always);
    };
    w.machine(1).program = [&w, once] {
        once(0, [&w] { return w.read(w.percpu(0).nodes[0].state) == XPV_PVLOCK_ASLEEP; });
    };
    w.machine(2).program = [&w, once, tail_of] {
        once(1, [&w, tail_of] { return tail_of(w.read(w.lock(1))) == id_of(0, 0); });
    };
    w.machine(3).program = [&w, once, always, is_free] {
        w.gate(2, [&w, is_free] { return !is_free(w.read(w.lock(1))); });
        once(1, always);
    };
}

// CPU 0 waits for lock 0 with interrupts on; the interrupt's handler takes lock 1, for
// which it waits as well. CPU 1 uses lock 0; CPU 2 both, one after the other.
template <class Hv> void interrupted(typename Hv::World& w) {
    const auto once = [&w](int which) {
        Hv::lock(which);
        w.critical(which);
        Hv::unlock(which);
    };
    w.machine(0).program = [once] { once(0); };
    w.machine(0).handler = [once] { once(1); };
    w.allow_interrupts(0, 1);
    w.machine(1).program = [once] { once(0); };
    w.machine(2).program = [&w, once] {
        w.irq(false);
        once(1);
        w.forget(1);
        once(0);
    };
}

// The last CPU only tries, as often as the others lock.
template <class Hv> void one_tries(typename Hv::World& w, int rounds) {
    three_in_turn<Hv>(w, rounds);
    w.machine(w.cpus() - 1).program = [&w, rounds] {
        for (int round = 0; round < rounds; ++round) {
            w.forget(static_cast<uint64_t>(round));
            if (!Hv::trylock(0))
                continue;
            w.critical(0);
            Hv::unlock(0);
        }
    };
}

// Readers and writers of the kernel's rwlock; counter 0 readers, counter 1 writers in it.
// An interrupt on CPU 0 reads, in the middle of a read as well.
template <class Hv> void readers_and_writers(typename Hv::World& w) {
    const auto read = [&w](bool interrupt) {
        Hv::read_lock(interrupt);
        ++w.counter(0);
        w.step();
        if (w.counter(1) != 0)
            w.fail("a reader meets a writer");
        --w.counter(0);
        Hv::read_unlock();
    };
    const auto write = [&w] {
        Hv::write_lock();
        if (w.counter(0) != 0 || w.counter(1)++ != 0)
            w.fail("a writer is not alone");
        w.step();
        --w.counter(1);
        Hv::write_unlock();
    };
    w.machine(0).program = [read] { read(false); };
    w.machine(0).handler = [read] { read(true); };
    w.allow_interrupts(0, 1);
    w.machine(1).program = write;
    w.machine(2).program = [&w, read, write] {
        w.irq(false);
        write();
        w.forget(1);
        read(false);
    };
}

// ---- the list -------------------------------------------------------------

struct Scenario {
    const char* name;
    int cpus;
    int bound; // of preemptions
    Knobs knobs;
    int rounds;
    enum Kind { Turns, Frees, TwoLocks, LateCall, Interrupted, OneTries, Rwlock } kind;
};

template <class Faults, class Layout = pvlock::OwnWord>
Verdict play(const Scenario& s, const Limits& limits) {
    using Hv = Policy<Faults, Layout>;
    typename Hv::World world(s.cpus, s.knobs);
    switch (s.kind) {
    case Scenario::Turns:
        three_in_turn<Hv>(world, s.rounds);
        break;
    case Scenario::Frees:
        last_one_frees<Hv>(world);
        break;
    case Scenario::TwoLocks:
        two_locks<Hv>(world);
        break;
    case Scenario::LateCall:
        late_call<Hv>(world);
        break;
    case Scenario::Interrupted:
        interrupted<Hv>(world);
        break;
    case Scenario::OneTries:
        one_tries<Hv>(world, s.rounds);
        break;
    case Scenario::Rwlock:
        readers_and_writers<Hv>(world);
        break;
    }
    // Who never sleeps has more to try; one preemption fewer keeps it to seconds.
    const bool many = std::is_same_v<Layout, pvlock::NativeWord> && s.cpus > 2 &&
                      (s.rounds > 1 || s.kind == Scenario::Rwlock);
    return search(world, many ? s.bound - 1 : s.bound, limits);
}

constexpr Knobs knobs(uint32_t spin, uint32_t yields, uint32_t turns, int spurious = 0,
                      bool sleep = true) {
    return {{.spin_limit = spin,
             .yield_limit = yields,
             .turn_limit = turns,
             .turn_us = 0,
             .adaptive = 1},
            spurious,
            sleep};
}

const Scenario scenarios[] = {
    {"two-cpus-three-rounds", 2, 5, knobs(1, 1, 2, 1), 3, Scenario::Turns},
    {"three-cpus-sleep-at-once", 3, 3, knobs(0, 0, 1), 1, Scenario::Turns},
    {"three-cpus-spin-first", 3, 3, knobs(1, 0, 2), 1, Scenario::Turns},
    {"three-cpus-spurious-wakes", 3, 3, knobs(0, 0, 1, 1), 1, Scenario::Turns},
    {"three-cpus-never-sleep", 3, 3, knobs(1, 0, 1, 0, false), 1, Scenario::Turns},
    {"three-cpus-two-rounds", 3, 3, knobs(0, 0, 2), 2, Scenario::Turns},
    {"three-cpus-turns-over", 3, 3, knobs(0, 0, 0), 2, Scenario::Turns},
    {"two-cpus-short-turns", 2, 5, knobs(0, 0, 1), 3, Scenario::Turns},
    {"last-one-frees", 3, 3, knobs(0, 0, 1), 1, Scenario::Frees},
    {"two-locks-one-node", 3, 3, knobs(0, 0, 1), 1, Scenario::TwoLocks},
    {"late-call", 4, 3, knobs(1, 0, 1, 1), 1, Scenario::LateCall},
    {"interrupted-waiter", 3, 3, knobs(0, 0, 1), 1, Scenario::Interrupted},
    {"interrupted-spinner", 3, 3, knobs(1, 0, 1), 1, Scenario::Interrupted},
    {"one-only-tries", 3, 3, knobs(0, 0, 1), 2, Scenario::OneTries},
    {"rwlock", 3, 3, knobs(0, 0, 1), 1, Scenario::Rwlock},
};

// Who only tries for a lock of ours passes a queue until the head reserves it, turn or not.
// Where nobody sleeps, no call of a sleeper comes late.
template <class Layout> bool fits(const Scenario& s) {
    if (std::is_same_v<Layout, pvlock::NativeWord>)
        return s.kind != Scenario::LateCall;
    return s.kind != Scenario::OneTries || !std::is_same_v<Layout, pvlock::OwnWord>;
}

// A fault counts as caught when one of the scenarios breaks.
template <class Faults, class Layout = pvlock::OwnWord> Cases::Plays all_with() {
    Cases::Plays plays;
    for (const Scenario& s : scenarios)
        plays.emplace_back(s.name,
                           [&s](const Limits& limits) { return play<Faults, Layout>(s, limits); });
    return plays;
}

// The name of a scenario over the kernel's lock word.
std::string kernels(const Scenario& s, const char* suffix) { return s.name + std::string(suffix); }

struct Fault {
    const char* name;
    Cases::Plays (*plays)();
};
const Fault faults[] = {
    {"caught-check-before-clear", all_with<CheckBeforeClear>},
    {"caught-missing-barrier", all_with<MissingBarrier>},
    {"caught-kick-before-release", all_with<KickBeforeRelease>},
    {"caught-no-repend", all_with<NoRepend>},
    {"caught-release-in-two", all_with<ReleaseInTwo>},
    {"caught-touch-after-release", all_with<TouchAfterRelease>},
    {"caught-leave-blindly", all_with<LeaveBlindly>},
    {"caught-join-silently", all_with<JoinSilently>},
    {"caught-trust-calls", all_with<TrustCalls>},
    {"caught-endless-turn", all_with<EndlessTurn>},
    {"caught-no-kick", all_with<NoKick>},
    {"caught-kernel-leaves-fast", all_with<Sound, LeavesFast>},
    {"caught-kernel-takes-fast", all_with<Sound, TakesFast>},
    {"caught-kernel-sleeps-unseen", all_with<SleepAlways, pvlock::NativeWord>},
    {"caught-kernel-release-whole", all_with<ReleaseWhole, pvlock::NativeWord>},
    {"caught-kernel-leave-blindly", all_with<LeaveBlindly, pvlock::PvWord>},
    {"caught-kernel-reader-queues", all_with<QueueInInterrupt, pvlock::NativeWord>},
    {"caught-kernel-no-repend", all_with<NoRepend, pvlock::PvWord>},
};

int run(int argc, char** argv) {
    Cases cases{"pvlock-interleave"};
    for (const Scenario& s : scenarios) {
        if (fits<pvlock::OwnWord>(s))
            cases.holds(s.name, [&s](const Limits& limits) { return play<Sound>(s, limits); });
        cases.holds(kernels(s, "-kernel-pv"),
                    [&s](const Limits& limits) { return play<Sound, pvlock::PvWord>(s, limits); });
        // Nor does a sleep end for no reason.
        if (!fits<pvlock::NativeWord>(s) || s.knobs.spurious != 0)
            continue;
        cases.holds(kernels(s, "-kernel-native"), [&s](const Limits& limits) {
            return play<Sound, pvlock::NativeWord>(s, limits);
        });
    }
    for (const Fault& fault : faults)
        cases.breaks(fault.name, fault.plays());
    return cases.run(argc, argv);
}

} // namespace
} // namespace xpv::host

int main(int argc, char** argv) { return xpv::host::run(argc, argv); }
