// SPDX-License-Identifier: GPL-2.0-only
// Every interleaving of small programs over the lock's real code (lock.hpp), one step
// for each access to shared memory: a search over all choices that a World offers, by
// replay. States seen before, memory and what each CPU's code knows, are not searched
// again. The same search must find every fault of policy.hpp.
//
// usage: pvlock-interleave [--states N] [--story] [NAME...]     KTAP; exit status 0: all passed
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <unordered_set>

#include "pvlock/host/policy.hpp"

namespace xpv::host {
namespace {

using Move = World::Move;

uint64_t states_max = 4'000'000;
bool storytelling; // --story: the moves of a run that breaks

struct Verdict {
    std::string broken; // what went wrong; empty: nothing can
    uint64_t states = 0;
    uint64_t runs = 0;
    size_t depth = 0;
    bool complete = true; // all states within the bound were seen
    std::string story;    // the moves of the run that broke
};

// One move of a run, for people.
std::string tell(World& world, World::Choice choice) {
    static const char* const moves[] = {"step", "drain", "interrupt", "spurious"};
    char line[160];
    const Machine& m = world.machine(choice.cpu);
    snprintf(line, sizeof(line), "# cpu%d %-9s locks %016llx %016llx state %u pending %d%s%s\n",
             choice.cpu, moves[static_cast<int>(choice.move)],
             static_cast<unsigned long long>(world.lock(0)),
             static_cast<unsigned long long>(world.lock(1)),
             world.percpu(choice.cpu).nodes[0].state, m.pending, m.polling ? " polling" : "",
             m.pausing ? " pausing" : "");
    return line;
}

// All runs of a world with at most `bound` preemptions: moves to another CPU, or
// accidents, while the last CPU could have gone on. Stops at the first that breaks.
Verdict search(World& world, int bound) {
    struct Point {
        uint8_t taken;
        uint8_t count;
    };
    Verdict verdict;
    std::unordered_set<uint64_t> seen;
    seen.reserve(1 << 20);
    std::vector<Point> path;
    World::Choice options[16];
    for (;;) {
        ++verdict.runs;
        world.reset();
        size_t at = 0;
        int left = bound;
        int last = -1;
        verdict.story.clear();
        while (!world.finished()) {
            bool progress;
            const int all = world.choices(options, progress);
            if (!progress) {
                world.fail("deadlock: every CPU waits");
                break;
            }
            // The last CPU's own step comes first; without preemptions left, alone.
            int count = all;
            for (int i = 0; i < all; ++i)
                if (options[i].move == Move::Step && options[i].cpu == last) {
                    std::swap(options[0], options[i]);
                    count = left > 0 ? all : 1;
                }
            const bool going = options[0].move == Move::Step && options[0].cpu == last;
            if (at == path.size()) {
                const auto more = static_cast<uint64_t>(left) * 8 + static_cast<uint64_t>(last + 1);
                if (!seen.insert(World::mix(world.hash(), more)).second)
                    break;
                path.push_back({0, static_cast<uint8_t>(count)});
            }
            const World::Choice choice = options[path[at].taken];
            if (going && path[at].taken != 0)
                --left;
            if (choice.move == Move::Step)
                last = choice.cpu;
            ++at;
            world.make(choice);
            if (storytelling)
                verdict.story += tell(world, choice);
            if (!world.broken().empty())
                break;
            if (at > 5000) {
                world.fail("no end in 5,000 steps");
                break;
            }
        }
        verdict.depth = std::max(verdict.depth, at);
        if (!world.broken().empty()) {
            verdict.broken = world.broken();
            break;
        }
        if (seen.size() >= states_max) {
            verdict.complete = false;
            break;
        }
        while (!path.empty() && path.back().taken + 1 == path.back().count)
            path.pop_back();
        if (path.empty())
            break;
        ++path.back().taken;
    }
    verdict.states = seen.size();
    return verdict;
}

// ---- programs -------------------------------------------------------------

// Each CPU takes the lock a few times.
template <class Hv> void three_in_turn(World& w, int rounds) {
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
template <class Hv> void last_one_frees(World& w) {
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
template <class Hv> void two_locks(World& w) {
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
template <class Hv> void late_call(World& w) {
    using namespace pvlock;
    const auto once = [&w](int which, auto until) {
        Hv::lock(which);
        w.critical(which);
        w.gate(10u + static_cast<unsigned>(which), until);
        Hv::unlock(which);
    };
    const auto always = [] { return true; };
    w.machine(0).program = [&w, once, always] {
        w.gate(1, [&w] { return !is_free(w.read(w.lock(0))) && head_of(w.read(w.lock(1))) != 0; });
        once(0, always);
        once(1, always);
    };
    w.machine(1).program = [&w, once] {
        once(0, [&w] { return w.read(w.percpu(0).nodes[0].state) == XPV_PVLOCK_ASLEEP; });
    };
    w.machine(2).program = [&w, once] {
        once(1, [&w] { return tail_of(w.read(w.lock(1))) == id_of(0, 0); });
    };
    w.machine(3).program = [&w, once, always] {
        w.gate(2, [&w] { return !is_free(w.read(w.lock(1))); });
        once(1, always);
    };
}

// CPU 0 waits for lock 0 with interrupts on; the interrupt's handler takes lock 1, for
// which it waits as well. CPU 1 uses lock 0; CPU 2 both, one after the other.
template <class Hv> void interrupted(World& w) {
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

// ---- the list -------------------------------------------------------------

int passed, failed;

void report(bool good, const char* name, const char* detail) {
    good ? ++passed : ++failed;
    printf("%s %d %s # %s\n", good ? "ok" : "not ok", passed + failed, name, detail);
    fflush(stdout);
}

struct Scenario {
    const char* name;
    int cpus;
    int bound; // of preemptions
    Knobs knobs;
    int rounds;
    enum Kind { Turns, Frees, TwoLocks, LateCall, Interrupted } kind;
};

template <class Faults> Verdict play(const Scenario& s) {
    using Hv = Policy<Faults>;
    World world(s.cpus, s.knobs);
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
    }
    return search(world, s.bound);
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
};

// A sound lock: nothing may break.
void hold(const Scenario& s) {
    const clock_t start = clock();
    const Verdict v = play<Sound>(s);
    char detail[200];
    snprintf(detail, sizeof(detail), "%s%llu states, %llu runs, depth %zu, %.1f s%s",
             v.broken.empty() ? "" : (v.broken + "; ").c_str(),
             static_cast<unsigned long long>(v.states), static_cast<unsigned long long>(v.runs),
             v.depth, static_cast<double>(clock() - start) / CLOCKS_PER_SEC,
             v.complete ? "" : ", not all");
    report(v.broken.empty() && v.complete, s.name, detail);
    printf("%s", v.broken.empty() ? "" : v.story.c_str());
}

// A fault counts as caught when one of the scenarios breaks.
template <class Faults> void must_break(const char* name) {
    for (const Scenario& s : scenarios) {
        const Verdict v = play<Faults>(s);
        if (!v.broken.empty()) {
            report(true, name, (std::string(s.name) + ": " + v.broken).c_str());
            return;
        }
    }
    report(false, name, "no scenario breaks");
}

struct Fault {
    const char* name;
    void (*must_break)(const char* name);
};
const Fault faults[] = {
    {"caught-check-before-clear", must_break<CheckBeforeClear>},
    {"caught-missing-barrier", must_break<MissingBarrier>},
    {"caught-kick-before-release", must_break<KickBeforeRelease>},
    {"caught-no-repend", must_break<NoRepend>},
    {"caught-release-in-two", must_break<ReleaseInTwo>},
    {"caught-touch-after-release", must_break<TouchAfterRelease>},
    {"caught-leave-blindly", must_break<LeaveBlindly>},
    {"caught-join-silently", must_break<JoinSilently>},
    {"caught-trust-calls", must_break<TrustCalls>},
    {"caught-endless-turn", must_break<EndlessTurn>},
    {"caught-no-kick", must_break<NoKick>},
};

// A whole number of an option, or the end of the program.
uint64_t number(const char* option, const char* text, uint64_t least, uint64_t most) {
    char* end = nullptr;
    const uint64_t value = text != nullptr ? strtoull(text, &end, 10) : 0;
    if (text == nullptr || *text < '0' || *text > '9' || *end != 0 || value < least ||
        value > most) {
        fprintf(stderr, "pvlock-interleave: %s: \"%s\" is not a number from %llu to %llu\n", option,
                text != nullptr ? text : "", static_cast<unsigned long long>(least),
                static_cast<unsigned long long>(most));
        exit(2);
    }
    return value;
}

int run(int argc, char** argv) {
    std::vector<std::string> names; // beginnings of those that are asked for; none: all
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--states")) {
            states_max = number(argv[i], argv[i + 1], 1, 1'000'000'000);
            ++i;
        } else if (!strcmp(argv[i], "--story")) {
            storytelling = true;
        } else {
            names.emplace_back(argv[i]);
        }
    }
    std::vector<bool> used(names.size());
    const auto wanted = [&](const std::string& name) {
        bool any = names.empty();
        for (size_t i = 0; i < names.size(); ++i) {
            if (name.rfind(names[i], 0) == 0)
                any = used[i] = true;
        }
        return any;
    };
    std::vector<const Scenario*> sound;
    std::vector<const Fault*> broken;
    for (const Scenario& s : scenarios) {
        if (wanted(s.name))
            sound.push_back(&s);
    }
    for (const Fault& fault : faults) {
        if (wanted(fault.name))
            broken.push_back(&fault);
    }
    for (size_t i = 0; i < names.size(); ++i) {
        if (used[i])
            continue;
        fprintf(stderr, "pvlock-interleave: no case's name begins with \"%s\"; there are",
                names[i].c_str());
        for (const Scenario& s : scenarios)
            fprintf(stderr, " %s", s.name);
        for (const Fault& fault : faults)
            fprintf(stderr, " %s", fault.name);
        fprintf(stderr, "\n");
        return 2;
    }
    printf("KTAP version 1\n");
    for (const Scenario* s : sound)
        hold(*s);
    for (const Fault* fault : broken)
        fault->must_break(fault->name);
    printf("1..%d\n%d passed, %d failed\n", passed + failed, passed, failed);
    return failed != 0;
}

} // namespace
} // namespace xpv::host

int main(int argc, char** argv) { return xpv::host::run(argc, argv); }
