// SPDX-License-Identifier: GPL-2.0-only
// A machine of a few CPUs under Xen for one run of the lock's code. Every access to
// shared memory and every hypercall is one step; whoever drives the world says which
// CPU makes the next one. Plain stores go through a store buffer (TSO) that drains
// when the driver says so, or before a locked instruction or a hypercall. Event
// channels and SCHEDOP_poll behave as in Xen: a kick sets the pending bit and ends a
// poll, a poll does not clear it, and returns at once when it is set.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kunit/host/fiber.hpp"
#include "kunit/host/search.hpp"
#include "kunit/host/store_buffer.hpp"
#include "pvlock/lock.hpp"
#include "pvlock/word32.hpp"

namespace xpv::host {

constexpr int cpus_max = 4;
constexpr int locks_max = 2;

struct Knobs {
    xpv_pvlock_knobs lock{
        .spin_limit = 1, .yield_limit = 0, .turn_limit = 1, .turn_us = 0, .adaptive = 1};
    int spurious = 0; // polls that may end for no reason, all CPUs together
    bool may_sleep = true;
};

// One CPU: its program runs on a fiber.
struct Machine {
    Fiber fiber;
    std::function<void()> program;
    std::function<void()> handler; // of an interrupt
    int interrupts = 0;            // that may still come
    bool irq_on = true;
    bool raised = false; // an interrupt begins with the next step
    bool done = false;
    bool polling = false; // blocked in SCHEDOP_poll
    bool pausing = false; // has nothing to do until memory changes
    bool pending = false; // its event
    uint64_t changes = 0; // of memory, when it first looked since its last pause
    uint64_t history = 0; // all that its code has seen since it was between operations
    uint64_t base = 0;    // the same of the code that an interrupt came into
    StoreBuffer stores;
};

// Layout: of the lock words.
template <class Layout> class World {
    using Word = typename Layout::Word;
    // A silent release calls nobody: then nobody may rely on a call, or sleep.
    static constexpr bool silent = std::is_base_of_v<pvlock::NativeWord, Layout>;

public:
    static inline World* now = nullptr;

    explicit World(int cpus, Knobs knobs) : cpus_{cpus}, knobs_{knobs} {}

    // ---- before and between runs ----
    void reset() {
        now = this;
        memset(static_cast<void*>(percpu_.data()), 0, sizeof(percpu_));
        left_ = {};
        passes_ = {};
        for (size_t i = 0; i < cpus_max; ++i)
            percpu_[i].left = &left_[i];
        memset(locks_.data(), 0, sizeof(locks_));
        memset(inside_.data(), 0, sizeof(inside_));
        memset(freed_.data(), 0, sizeof(freed_));
        memset(counters_.data(), 0, sizeof(counters_));
        for (auto& queue : order_)
            queue.clear();
        rw_counts_ = 0;
        broken_.clear();
        changes_ = 1;
        spurious_ = knobs_.spurious;
        for (int i = 0; i < cpus_; ++i) {
            Machine& m = machines_[i];
            m.interrupts = interrupts_[i];
            m.irq_on = true;
            m.raised = m.done = m.polling = m.pausing = m.pending = false;
            m.history = m.base = m.changes = 0;
            m.stores.clear();
            m.fiber.start(&World::enter);
        }
    }
    Machine& machine(int i) { return machines_[i]; }
    void allow_interrupts(int cpu, int count) { interrupts_[cpu] = count; }
    int cpus() const { return cpus_; }

    // ---- what the driver may do next ----
    enum class Move : uint8_t { Step, Drain, Interrupt, Spurious };
    using Choice = host::Choice<Move>;
    // All moves possible; progress tells whether one of them is more than an accident.
    int choices(Choice* out, bool& progress) const {
        int count = 0;
        progress = false;
        for (int i = 0; i < cpus_; ++i) {
            const Machine& m = machines_[i];
            const auto cpu = static_cast<uint8_t>(i);
            if (!m.stores.empty()) {
                out[count++] = {Move::Drain, cpu};
                progress = true;
            }
            if (m.done)
                continue;
            if (!m.polling && !(m.pausing && m.changes == changes_)) {
                out[count++] = {Move::Step, cpu};
                progress = true;
            }
            if (m.interrupts > 0 && m.irq_on && !m.raised)
                out[count++] = {Move::Interrupt, cpu};
            if (m.polling && spurious_ > 0)
                out[count++] = {Move::Spurious, cpu};
        }
        return count;
    }
    void make(Choice choice) {
        Machine& m = machines_[choice.cpu];
        switch (choice.move) {
        case Move::Drain:
            drain_one(m);
            return;
        case Move::Interrupt:
            --m.interrupts;
            m.raised = true;
            m.polling = m.pausing = false;
            return;
        case Move::Spurious:
            --spurious_;
            m.polling = false;
            return;
        case Move::Step:
            m.pausing = false;
            current_ = choice.cpu;
            m.fiber.resume();
            return;
        }
    }
    bool finished() {
        for (int i = 0; i < cpus_; ++i)
            if (!machines_[i].done || !machines_[i].stores.empty())
                return false;
        for (const Word& lock : locks_)
            if (lock != 0 || rw_counts_ != 0)
                fail("a lock that nobody wants is not as it was");
        return true;
    }
    // Nobody can go on.
    void at_rest() { fail("deadlock: every CPU waits"); }
    const std::string& broken() const { return broken_; }
    void fail(const char* what) {
        if (broken_.empty())
            broken_ = what;
    }

    // One move of a run, for people.
    std::string tell(Choice choice) const {
        static const char* const moves[] = {"step", "drain", "interrupt", "spurious"};
        char line[160];
        const Machine& m = machines_[choice.cpu];
        snprintf(line, sizeof(line), "# cpu%d %-9s locks %016llx %016llx state %u pending %d%s%s\n",
                 choice.cpu, moves[static_cast<int>(choice.move)],
                 static_cast<unsigned long long>(locks_[0]),
                 static_cast<unsigned long long>(locks_[1]), percpu_[choice.cpu].nodes[0].state,
                 m.pending, m.polling ? " polling" : "", m.pausing ? " pausing" : "");
        return line;
    }

    // Everything that the future depends on.
    uint64_t hash() const {
        uint64_t h = 1;
        for (int i = 0; i < cpus_; ++i) {
            const Machine& m = machines_[i];
            for (const auto& node : percpu_[i].nodes) {
                uint64_t bits;
                memcpy(&bits, &node, sizeof(bits));
                h = mix(h, bits);
            }
            for (const auto& passes : passes_)
                h = mix(h, passes[i]);
            h = mix(h, static_cast<uint32_t>(left_[i]) | uint64_t{percpu_[i].granted} << 32);
            h = mix(h, m.history);
            const bool waits = m.pausing && m.changes == changes_;
            h = mix(h, uint64_t{m.done} | m.polling << 1 | waits << 2 | m.pending << 3 |
                           m.raised << 4 | m.irq_on << 5 |
                           static_cast<unsigned>(m.interrupts) << 6 |
                           static_cast<unsigned>(m.stores.count()) << 12);
            for (int s = 0; s < m.stores.count(); ++s) {
                h = mix(h, reinterpret_cast<uintptr_t>(m.stores[s].address));
                h = mix(h, m.stores[s].value);
            }
        }
        for (int i = 0; i < locks_max; ++i) {
            h = mix(h, locks_[i]);
            h = mix(h, static_cast<uint64_t>(inside_[i]) | uint64_t{freed_[i]} << 8 |
                           static_cast<uint64_t>(counters_[i]) << 16);
        }
        return mix(h, static_cast<uint64_t>(spurious_) << 32 | rw_counts_);
    }

    // ---- for programs ----
    Word& lock(int i) { return locks_[i]; }
    int& counter(int i) { return counters_[i]; }
    uint32_t& rw_counts() { return rw_counts_; }
    // In the critical section: alone, and for at least one step.
    void critical(int i) {
        if (++inside_[i] != 1)
            fail("two CPUs hold the lock");
        step();
        --inside_[i];
    }
    void free_lock(int i) { freed_[i] = true; }
    // The CPU is between two operations: nothing of the past is in its registers.
    void forget(uint64_t where) { self().history = mix(self().base, where); }
    void irq(bool on) { self().irq_on = on; }

    // ---- what the policy is made of ----
    Machine& self() { return machines_[current_]; }
    int current() const { return current_; }
    xpv_pvlock_cpu& percpu(uint32_t i) {
        if (i < static_cast<uint32_t>(cpus_))
            return percpu_[i];
        fail("no such CPU in a queue");
        return percpu_[0];
    }
    const xpv_pvlock_knobs& knobs() const { return knobs_.lock; }
    bool may_sleep() const { return knobs_.may_sleep; }

    // Let others go first; an interrupt may come in.
    void step() {
        seen(1);
        self().fiber.pause();
        while (self().raised) {
            Machine& m = self();
            m.raised = false;
            m.irq_on = false;
            const uint64_t outer = m.history;
            const uint64_t base = m.base;
            m.history = m.base = mix(outer, 1);
            m.handler();
            m.base = base;
            m.history = mix(outer, 2);
            m.irq_on = true;
            m.fiber.pause();
        }
    }
    void seen(uint64_t value) { self().history = mix(self().history, value); }
    template <class T> T read(const T& address) {
        Machine& m = self();
        if (m.changes == 0)
            m.changes = changes_;
        const Store* mine = m.stores.find(&address);
        if (mine == nullptr)
            return address;
        if (mine->size == sizeof(T))
            return static_cast<T>(mine->value);
        // A byte of the word: the processor sees it in its place.
        return static_cast<T>((address & ~T{0xff}) | static_cast<T>(mine->value));
    }
    template <class T> void write(T& address, T value, bool late = false) {
        Machine& m = self();
        if (m.stores.full())
            drain_one(m);
        m.stores.push({&address, uint64_t{value}, sizeof(T), late});
    }
    // The lowest byte of a word.
    template <class T> void write_byte(T& address, uint8_t value) {
        Machine& m = self();
        if (m.stores.full())
            drain_one(m);
        m.stores.push({&address, value, 1, false});
    }
    void drain(bool all = false) {
        while (!self().stores.empty() && (all || !self().stores.oldest().late))
            drain_one(self());
    }
    template <class T> void write_now(T& address, T value) {
        if (address != value)
            ++changes_;
        address = value;
    }
    void touch_lock(const void* address) {
        for (int i = 0; i < locks_max; ++i)
            if (address == &locks_[i] && freed_[i])
                fail("the lock was touched after it was freed");
    }
    // A change of a lock word: does it keep the lock's promises?
    void watch(const void* address, Word from, Word to) {
        const auto head_of = Layout::head_of;
        const auto tail_of = Layout::tail_of;
        for (int i = 0; i < locks_max; ++i) {
            if (address != &locks_[i])
                continue;
            auto& order = order_[i];
            watch_turns(passes_[i], from, to);
            if (tail_of(to) != tail_of(from) && tail_of(to) != 0)
                order.push_back(tail_of(to));
            if (head_of(from) != 0 && head_of(to) != head_of(from)) {
                if (order.empty() || order.front() != head_of(from))
                    fail("the queue is not first in, first out");
                else
                    order.erase(order.begin());
            }
            if (head_of(to) != 0 && (order.empty() || order.front() != head_of(to)))
                fail("the head is not who came first");
            const bool alone = head_of(to) != 0 && (to & (Layout::outsider | Layout::head_up)) == 0;
            if (alone && Layout::is_free(to) && !silent)
                fail("a free lock has a queue, and nobody is up");
            if (alone && Layout::left(to) != to)
                fail("a lock with a queue that sleeps can be released silently");
        }
    }
    // Who waits is passed by the same CPU as often as its turn allows, no more.
    void watch_turns(std::array<uint32_t, cpus_max>& passes, Word from, Word to) {
        const auto head_of = Layout::head_of;
        const auto is_free = Layout::is_free;
        if (head_of(from) == 0) {
            passes = {};
        } else if (is_free(from) && !is_free(to)) {
            uint32_t& mine = passes[static_cast<size_t>(current_)];
            mine = head_of(to) == head_of(from) ? mine + 1 : 0;
            if (mine > knobs_.lock.turn_limit)
                fail("a CPU passes a queue more often than its turn allows");
        }
    }
    // Hold a program until a condition, to set a scene.
    template <class Condition> void gate(uint64_t where, Condition condition) {
        for (forget(where); !condition(); forget(where))
            pause_until_change();
    }
    void pause_until_change() {
        self().pausing = true;
        step();
        self().changes = 0;
    }
    void poll() {
        drain(true);
        if (self().pending)
            return;
        self().polling = true;
        step();
    }
    void kick(uint32_t cpu) {
        drain(true);
        machines_[cpu].pending = true;
        machines_[cpu].polling = false;
    }

private:
    static void enter() {
        World& w = *now;
        const int me = w.current_;
        w.machines_[me].program();
        w.machines_[me].done = true;
        w.machines_[me].history = 0;
        for (;;)
            w.machines_[me].fiber.pause();
    }
    void drain_one(Machine& m) {
        const Store s = m.stores.oldest();
        uint64_t before[locks_max];
        std::copy(locks_.begin(), locks_.end(), before);
        const uint64_t old = m.stores.drain_one();
        for (size_t i = 0; i < locks_max; ++i)
            if (before[i] != locks_[i])
                watch(&locks_[i], static_cast<Word>(before[i]), locks_[i]);
        changes_ += old != s.value;
    }

    const int cpus_;
    const Knobs knobs_;
    std::array<Machine, cpus_max> machines_;
    std::array<int, cpus_max> interrupts_{};
    std::array<xpv_pvlock_cpu, cpus_max> percpu_;
    std::array<int32_t, cpus_max> left_;
    std::array<std::array<uint32_t, cpus_max>, locks_max> passes_;
    std::array<Word, locks_max> locks_;
    std::array<std::vector<uint16_t>, locks_max> order_;
    std::array<int, locks_max> inside_;
    std::array<bool, locks_max> freed_;
    std::array<int, locks_max> counters_;
    uint32_t rw_counts_ = 0; // of an rwlock
    std::string broken_;
    uint64_t changes_ = 1;
    int spurious_ = 0;
    int current_ = 0;
};

} // namespace xpv::host
