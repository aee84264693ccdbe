// SPDX-License-Identifier: GPL-2.0-only
// A few threads over shared memory for one run of a scene. Each is a CPU of its own: what
// one does between two steps of core/barrier.hpp, the others see before or after. Plain
// stores go through a store buffer (x86's TSO).
//
// All that a scene is made of stands in one arena, which is set up once and put back for
// each run. The state of a world is the arena, the store buffers and the live part of each
// stack: nothing has to be declared, so real code runs as it is.
#pragma once

#include <array>
#include <cstdio>
#include <functional>
#include <memory>

#include "kunit/host/fiber.hpp"
#include "kunit/host/search.hpp"
#include "kunit/host/store_buffer.hpp"

namespace xpv::host {

constexpr size_t threads_max = 7;

class World {
public:
    static inline World* now = nullptr;

    // A scene of this type, with its threads. setup(scene) runs undisturbed.
    template <class Scene, class... Args> Scene& stage(Args&&... args) {
        now = this;
        arena_.assign(sizeof(Scene) / sizeof(uint64_t) + 1, 0);
        Scene* const scene = new (arena_.data()) Scene(std::forward<Args>(args)...);
        quiet_ = true;
        scene->setup(*this);
        quiet_ = false;
        kept_ = arena_;
        at_rest_ = [scene] { scene->at_rest(); };
        tell_ = [scene] { return scene->tell(); };
        return *scene;
    }
    void thread(const char* name, std::function<void()> program) {
        Thread& t = threads_[count_++];
        t.name = name;
        t.program = std::move(program);
    }

    // ---- for search() ----
    enum class Move : uint8_t { Step, Drain };
    using Choice = host::Choice<Move>;

    void reset() {
        now = this;
        std::copy(kept_.begin(), kept_.end(), arena_.begin());
        broken_.clear();
        for (size_t i = 0; i < count_; ++i) {
            Thread& t = threads_[i];
            t.done = t.mistaken = false;
            t.until = nullptr;
            t.stores.clear();
            t.fiber.wipe();
            t.fiber.start(&World::enter);
        }
    }
    int choices(Choice* out, bool& progress) const {
        int count = 0;
        for (size_t i = 0; i < count_; ++i) {
            const Thread& t = threads_[i];
            const auto cpu = static_cast<uint8_t>(i);
            if (!t.stores.empty())
                out[count++] = {Move::Drain, cpu};
            if (!t.done && (t.until == nullptr || t.until(t.context)))
                out[count++] = {Move::Step, cpu};
        }
        progress = count > 0;
        return count;
    }
    void make(Choice choice) {
        Thread& t = threads_[choice.cpu];
        if (choice.move == Move::Drain) {
            t.stores.drain_one();
            return;
        }
        current_ = choice.cpu;
        t.fiber.resume();
    }
    bool finished() const { return false; }
    void at_rest() { at_rest_(); }
    const std::string& broken() const { return broken_; }
    void fail(const char* what) {
        if (broken_.empty())
            broken_ = what;
    }
    std::string tell(Choice choice) const {
        char line[240];
        snprintf(line, sizeof(line), "# %-9s %-24s %s\n", threads_[choice.cpu].name,
                 choice.move == Move::Drain ? "(its store arrives)" : note_, tell_().c_str());
        return line;
    }
    uint64_t hash() const {
        uint64_t h = mix(1, arena_.data(), arena_.size());
        for (size_t i = 0; i < count_; ++i) {
            const Thread& t = threads_[i];
            h = mix(h, uint64_t{t.done} | uint64_t{t.mistaken} << 1 |
                           static_cast<uint64_t>(t.stores.count()) << 8);
            for (int s = 0; s < t.stores.count(); ++s) {
                h = mix(h, reinterpret_cast<uintptr_t>(t.stores[s].address));
                h = mix(h, t.stores[s].value);
            }
            if (t.done)
                continue;
            h = mix(h, t.fiber.live(), t.fiber.live_words());
        }
        return h;
    }

    // ---- for threads ----
    int current() const { return static_cast<int>(current_); }

    // Others may go first. note: for people, what comes next.
    void step(const char* note = "") {
        if (quiet_)
            return;
        self().fiber.pause();
        note_ = note; // of what now comes
    }
    // The thread has nothing to do until a condition, which it then finds true.
    template <class Condition> void wait(Condition condition, const char* note = "") {
        Thread& t = self();
        t.context = &condition;
        t.until = [](void* context) { return (*static_cast<Condition*>(context))(); };
        step(note);
        t.until = nullptr;
    }
    void drain() {
        while (!quiet_ && !self().stores.empty())
            self().stores.drain_one();
    }
    // A locked instruction, or a hypercall.
    void locked(const char* note = "") {
        step(note);
        drain();
    }
    // mb() does nothing in what: a fault.
    template <class What> auto without_fences(What what) {
        self().mistaken = true;
        const auto result = what();
        self().mistaken = false;
        return result;
    }
    void fence() {
        if (!quiet_ && !self().mistaken)
            drain();
    }
    template <class T> const T* from(const T* address) {
        const Store* const mine = quiet_ ? nullptr : self().stores.find(address);
        return mine != nullptr ? reinterpret_cast<const T*>(&mine->value) : address;
    }
    template <class T> T* to(T* address) {
        if (quiet_)
            return address;
        if (self().stores.full())
            self().stores.drain_one();
        return reinterpret_cast<T*>(&self().stores.push({address, 0, sizeof(T), false}).value);
    }

private:
    struct Thread {
        const char* name = nullptr;
        Fiber fiber;
        std::function<void()> program;
        bool (*until)(void*) = nullptr; // nullptr: it can go on
        void* context = nullptr;
        StoreBuffer stores;
        bool done = false;
        bool mistaken = false; // its fences do nothing
    };

    static void enter() {
        Thread& t = now->self();
        t.program();
        t.done = true;
        for (;;)
            t.fiber.pause();
    }
    Thread& self() { return threads_[current_]; }

    std::array<Thread, threads_max> threads_;
    size_t count_ = 0;
    std::vector<uint64_t> arena_;
    std::vector<uint64_t> kept_;
    std::function<void()> at_rest_;
    std::function<std::string()> tell_;
    std::string broken_;
    const char* note_ = "";
    size_t current_ = 0;
    bool quiet_ = false;
};

inline World& world() { return *World::now; }

} // namespace xpv::host

#define XPV_STEP() ::xpv::host::world().step()
#define XPV_LOCKED() ::xpv::host::world().locked()
#define XPV_FENCE() ::xpv::host::world().fence()
#define XPV_FROM(address) ::xpv::host::world().from(address)
#define XPV_TO(address) ::xpv::host::world().to(address)
