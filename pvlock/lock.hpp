// SPDX-License-Identifier: GPL-2.0-only
// The lock's algorithm, over a policy Hv that does every access to shared memory and
// every hypercall: the kernel's in slow.cpp, an instrumented one in host/. Hv::Layout is
// the lock word's (word.hpp): ours or the kernel's.
//
// Who waits, and where. A lock that is held has at most one waiter outside the queue
// (OUTSIDER) and a FIFO queue. The outsider and the queue's head, while it is up
// (HEAD_UP), look at the lock word; all others look at their own node, and sleep as
// soon as the one before them sleeps or does not run. So a crowded lock is passed
// between the few vCPUs that run, and the sleepers leave the processors to them.
// Anybody may take a free lock unless it is RESERVED for the head. No waiter starves:
// a CPU passes a queue turn_limit times, or for turn_us, then it queues; a head that is
// up soon reserves the lock. So the sleepers get their turns in order, and equal ones.
//
// No wakeup is lost because of one invariant: a free lock with a queue has an OUTSIDER
// or a HEAD_UP. A waiter clears its flag only in a compare-and-swap that finds the lock
// held; an unlock that finds neither flag sets HEAD_UP in the one that releases the
// lock, and then calls the head.
//
// The release is the last touch of the lock: its memory may be gone after it. The node
// that is called then is static, and perhaps in use for another lock already: a call is
// a hint to look at one's lock, never a fact about it.
#pragma once

#include "core/std.hpp"
#include "pvlock/word.hpp"

namespace xpv::pvlock {

using Node = xpv_pvlock_node;
using Cpu = xpv_pvlock_cpu;
template <class Hv> using WordOf = typename Hv::Layout::Word;

// Faults that a test's policy may ask for; a sound policy derives from this.
struct NoFaults {
    static constexpr bool call_before_release = false; // the kick may come before the sleep
    static constexpr bool leave_blindly = false;       // a flag dropped without a look at the owner
    static constexpr bool join_silently = false; // nobody called for a free lock that we leave
    static constexpr bool trust_calls = false;   // a call taken as a fact
};

// How often a spinning waiter asks whether the one it waits for runs; a power of two.
constexpr uint32_t look_every = 64;
// A CPU that takes the lock at once asks after so many times whether its turn is over.
constexpr uint32_t passes_a_look = 32;

template <class Hv> Node& node_of(uint16_t id) noexcept {
    return Hv::waits(cpu_of(id)).nodes[level_of(id)];
}

// Tell the waiter of a node to look at its lock, and end its sleep.
template <class Hv> void call(uint16_t id, Cpu& caller) noexcept {
    // The exchange is a full barrier. The sleeper stores ASLEEP with one, then looks at
    // the lock; we changed the lock, then look at its state: one of us sees the other.
    // CALLED by somebody whose kick is still to come is no reason to leave it to him: an
    // interrupt may hold him up, and wait in there for what this sleeper would release.
    if (Hv::exchange(node_of<Hv>(id).state, uint32_t{XPV_PVLOCK_CALLED}) == XPV_PVLOCK_WAITING)
        return;
    caller.stats.kicks += Hv::kick(cpu_of(id));
}

// Give up the lock. Any context, on the CPU that holds it, preemption off.
template <class Hv> void unlock_slow(WordOf<Hv>& lock, uint32_t cpu) noexcept {
    using Layout = typename Hv::Layout;
    WordOf<Hv> word = Hv::load(lock);
    WordOf<Hv> released;
    bool wake;
    do {
        if (!Layout::held_by(word, cpu)) {
            ++Hv::cpu(cpu).stats.not_owner;
            Hv::not_owner(lock, word);
            return;
        }
        wake = Layout::must_wake(word);
        released = (word & ~Layout::owner_mask) | (wake ? Layout::head_up : 0);
        if (Hv::call_before_release && wake)
            call<Hv>(Layout::head_of(word), Hv::cpu(cpu));
    } while (!Hv::cas(lock, word, released));
    if (!Hv::call_before_release && wake)
        call<Hv>(Layout::head_of(word), Hv::cpu(cpu));
}

// One acquisition that did not succeed at once.
template <class Hv> class Wait : NoCopy {
    using Layout = typename Hv::Layout;
    using Word = WordOf<Hv>;
    static constexpr Word outsider = Layout::outsider;
    static constexpr Word head_up = Layout::head_up;
    static constexpr Word reserved = Layout::reserved;

public:
    Wait(Word& lock, uint32_t cpu) noexcept
        : lock_{lock}, self_{Hv::cpu(cpu)}, waits_{Hv::waits(cpu)}, cpu_{cpu}, level_{
                                                                                   waits_.level} {
        // An interrupt from here on waits a level higher, and brings this back.
        Hv::set_level(waits_, level_ + 1);
    }

    // Take the lock. Preemption off; sleeps only where the policy allows it.
    void run() noexcept {
        if (level_ >= XPV_PVLOCK_LEVELS)
            outside_for_ever();
        else if (!outside() && !join())
            in_queue();
        finish();
    }

private:
    // Try without a place in the queue; false: it is time to queue.
    bool outside() noexcept {
        Word word = Hv::load(lock_);
        for (;;) {
            if (!may_pass(word))
                return false;
            if (free_to_all(word)) {
                if (!Hv::cas(lock_, word, taken(word)))
                    continue;
                --*self_.left;
                return true;
            }
            if ((word & (outsider | head_up)) != 0)
                return false; // enough are awake
            if (Hv::cas(lock_, word, word | outsider))
                break;
        }
        flag_ = outsider;
        uint32_t yields = 0;
        for (uint32_t turn = 0; turn < Hv::knobs().spin_limit; ++turn) {
            word = Hv::load(lock_);
            while (free_to_all(word) && may_pass(word)) {
                if (Hv::cas(lock_, word, taken(word & ~outsider))) {
                    --*self_.left;
                    return true;
                }
            }
            if ((word & reserved) != 0 || !may_pass(word))
                return false;
            if (!hopeless(turn, word)) {
                relax();
                continue;
            }
            // Let the holder have this processor before we leave it altogether.
            if (yields++ >= Hv::knobs().yield_limit)
                return false;
            self_.stats.yields += Hv::yield();
        }
        return false;
    }

    // More waits nest here than there are nodes.
    void outside_for_ever() noexcept {
        for (;;) {
            Word word = Hv::load(lock_);
            if (free_to_all(word) && Hv::cas(lock_, word, taken(word)))
                return;
            relax();
        }
    }

    // Queue up; true: the lock came free and is ours instead.
    bool join() noexcept {
        Node& node = mine();
        Hv::store(node.state, uint32_t{XPV_PVLOCK_WAITING});
        Hv::store(node.next, uint16_t{0});
        Word word = Hv::load(lock_);
        for (;;) {
            if (free_to_all(word) && may_pass(word) && !Hv::leave_blindly) {
                if (Hv::cas(lock_, word, taken(word & ~flag_))) {
                    --*self_.left;
                    return true;
                }
                continue;
            }
            // The link is there before anybody can see the node, so that no vCPU that
            // stops between two stores holds up the queue.
            Hv::store(node.prev, tail_of(word));
            const bool first = head_of(word) == 0;
            Word queued = (word & ~(flag_ | Layout::queue_mask)) |
                          Layout::queue_of(first ? id() : head_of(word), id());
            if (first)
                queued |= head_up;
            // The lock is free, but our turn is over: it is the head's.
            const bool wake =
                is_free(word) && (queued & (outsider | head_up)) == 0 && !Hv::join_silently;
            if (wake)
                queued |= head_up;
            if (!Hv::cas(lock_, word, Layout::left(queued)))
                continue;
            if (wake)
                call<Hv>(head_of(word), self_);
            flag_ = 0;
            first_ = first;
            before_ = tail_of(word);
            return false;
        }
    }

    void in_queue() noexcept {
        const uint64_t start = Hv::clock(); // dear on some hosts: not for short waits
        ++self_.stats.queued;
        if (!first_ && !spin_behind())
            sleep_behind();
        while (!spin_as_head())
            sleep_as_head();
        self_.turn_start = Hv::clock();
        self_.stats.longest = max(self_.stats.longest, self_.turn_start - start);
        new_turn();
    }

    void new_turn() noexcept {
        self_.stats.at_once += passes();
        grant(0, passes_a_look);
    }

    // Whether we may take the free lock before others that wait: not when our turn is over.
    bool may_pass(Word word) noexcept {
        if (*self_.left > 0)
            return true;
        const xpv_pvlock_knobs& knobs = Hv::knobs();
        const Word others = outsider & ~flag_;
        if (head_of(word) == 0 && (word & others) == 0) {
            new_turn(); // nobody to pass
            return true;
        }
        const uint32_t passed = passes();
        if (passed >= knobs.turn_limit)
            return false;
        uint64_t more = knobs.turn_limit;
        if (knobs.turn_us != 0) {
            const uint64_t turn = knobs.turn_us * uint64_t{1000};
            const uint64_t spent = Hv::clock() - self_.turn_start;
            if (spent >= turn)
                return false;
            // Where Xen emulates the time stamp counter a look is dear: the next one
            // comes when half of what is left is over, at the pace so far.
            more = min(passed * (turn - spent) / (2 * spent + 1), more);
        }
        grant(passed, static_cast<uint32_t>(more) + passes_a_look);
        return true;
    }

    // So many more times at once before the next look.
    void grant(uint32_t passed, uint32_t more) noexcept {
        self_.granted = min(passed + more, Hv::knobs().turn_limit);
        *self_.left = static_cast<int32_t>(self_.granted - passed);
    }
    // Times that we took a lock at once in this turn.
    uint32_t passes() const noexcept { return self_.granted - static_cast<uint32_t>(*self_.left); }

    // Spin on our node while the one before us runs; true: we are the head.
    bool spin_behind() noexcept {
        for (uint32_t turn = 0; turn < Hv::knobs().spin_limit; ++turn) {
            if (called())
                return true;
            if ((turn & (look_every - 1)) == 0 && Hv::knobs().adaptive != 0 &&
                (Hv::load(node_of<Hv>(before_).state) == XPV_PVLOCK_ASLEEP ||
                 Hv::preempted(cpu_of(before_))))
                return false;
            relax();
        }
        return called();
    }

    // Whether we were called and are the head. A late call of an earlier wait is not.
    bool called() noexcept {
        if (Hv::load(mine().state) != XPV_PVLOCK_CALLED)
            return false;
        if (Hv::trust_calls)
            return true;
        Hv::publish(mine().state, uint32_t{XPV_PVLOCK_WAITING});
        return head_of(Hv::load(lock_)) == id();
    }

    // Sleep until we are the head and an unlock wants us up.
    void sleep_behind() noexcept {
        while (!Hv::can_sleep(cpu_)) { // NMI, or no event channel
            if (spin_behind())
                return;
            self_.stats.yields += Hv::yield();
        }
        sleep_until_up();
    }

    // Spin on the lock as the queue's head; true: it is ours.
    bool spin_as_head() noexcept {
        // A head that slept as such has waited long: nobody may pass it any more.
        Word want = head_up | (slept_ ? reserved : 0);
        uint32_t yields = 0;
        for (uint32_t turn = 0;; ++turn) {
            Word word = Hv::load(lock_);
            if (is_free(word)) {
                if (take_as_head(word))
                    return true;
                continue;
            }
            if (turn == Hv::knobs().spin_limit / 8)
                want |= reserved;
            if ((word & want) != want && !Hv::cas(lock_, word, word | want))
                continue;
            if (turn >= Hv::knobs().spin_limit || hopeless(turn, word)) {
                if (yields++ >= Hv::knobs().yield_limit)
                    return false;
                self_.stats.yields += Hv::yield();
                continue;
            }
            relax();
        }
    }

    bool take_as_head(Word word) noexcept {
        uint16_t next = 0;
        if (tail_of(word) != id())
            next = find_next(tail_of(word));
        const uint16_t tail = next != 0 ? tail_of(word) : uint16_t{0};
        if (!Hv::cas(lock_, word, taken((word & outsider) | Layout::queue_of(next, tail))))
            return false;
        // The new head may be spinning; a sleeping one is left to our unlock.
        if (next != 0) {
            uint32_t waiting = XPV_PVLOCK_WAITING;
            Hv::cas(node_of<Hv>(next).state, waiting, uint32_t{XPV_PVLOCK_CALLED});
        }
        return true;
    }

    // The one behind us, from the tail forward; what it learns stays in the nodes, so
    // that each link is followed once. Only a queue's head does this.
    uint16_t find_next(uint16_t tail) noexcept {
        uint16_t next = Hv::load(mine().next);
        for (uint16_t at = tail; next == 0;) {
            const uint16_t prev = Hv::load(node_of<Hv>(at).prev);
            Hv::store(node_of<Hv>(prev).next, at);
            if (prev == id())
                next = at;
            at = prev;
        }
        return next;
    }

    // Go down and sleep, unless the lock comes free before that.
    void sleep_as_head() noexcept {
        if (!Hv::can_sleep(cpu_)) { // NMI, no event channel, or nobody would call
            self_.stats.yields += Hv::yield();
            return;
        }
        // While we sleep others may pass us, once.
        const Word down = slept_ ? head_up : head_up | reserved;
        clear();
        Hv::publish(mine().state, uint32_t{XPV_PVLOCK_ASLEEP});
        Word word = Hv::load(lock_);
        do {
            if (is_free(word) && !Hv::leave_blindly) {
                Hv::store(mine().state, uint32_t{XPV_PVLOCK_WAITING});
                return;
            }
        } while (!Hv::cas(lock_, word, Layout::left(word & ~down)));
        slept_ = true;
        poll();
        sleep_until_up();
    }

    // Clear the event, say that we sleep, look, sleep: in this order, a kick that comes
    // after the look ends the sleep.
    void sleep_until_up() noexcept {
        for (;;) {
            clear();
            Hv::publish(mine().state, uint32_t{XPV_PVLOCK_ASLEEP});
            if (up(Hv::load(lock_)))
                break;
            poll();
        }
        Hv::store(mine().state, uint32_t{XPV_PVLOCK_WAITING});
    }

    void poll() noexcept {
        ++self_.stats.polls;
        const bool late = Hv::poll(cpu_);
        const bool woken = up(Hv::load(lock_));
        if (!late)
            self_.stats.spurious += !woken;
        else if (woken && Hv::load(mine().state) == XPV_PVLOCK_ASLEEP)
            ++self_.stats.rescued;
        else
            ++self_.stats.timeouts;
    }

    void clear() noexcept {
        cleared_ = true;
        Hv::clear_event(cpu_);
    }

    void finish() noexcept {
        Hv::took(lock_, cpu_);
        ++self_.stats.contended;
        const uint32_t bits = spins_ == 0 ? 0u : 32u - static_cast<uint32_t>(__builtin_clz(spins_));
        ++self_.stats.spins[min(bits, XPV_PVLOCK_BUCKETS - 1u)];
        Hv::set_level(waits_, level_);
        // We interrupted a waiter of this CPU, and may have cleared its kick between its
        // look and its sleep: give one back.
        if (cleared_ && level_ > 0) {
            ++self_.stats.repends;
            Hv::repend(cpu_);
        }
    }

    // Now and then: does the lock's holder not run? Then spinning is in its way.
    bool hopeless(uint32_t turn, Word word) noexcept {
        return (turn & (look_every - 1)) == look_every - 1 && Hv::knobs().adaptive != 0 &&
               !is_free(word) && Hv::holder_preempted(lock_, word);
    }

    bool up(Word word) const noexcept { return head_of(word) == id() && (word & head_up) != 0; }
    void relax() noexcept {
        ++spins_;
        Hv::relax();
    }
    Word taken(Word word) const noexcept { return Layout::taken(word, cpu_); }
    static bool is_free(Word word) noexcept { return Layout::is_free(word); }
    static bool free_to_all(Word word) noexcept { return Layout::free_to_all(word); }
    static uint16_t head_of(Word word) noexcept { return Layout::head_of(word); }
    static uint16_t tail_of(Word word) noexcept { return Layout::tail_of(word); }
    uint16_t id() const noexcept { return id_of(cpu_, level_); }
    Node& mine() noexcept { return waits_.nodes[level_]; }

    Word& lock_;
    Cpu& self_;  // turns and statistics
    Cpu& waits_; // nodes, which all kinds of lock share: one channel wakes their sleepers
    const uint32_t cpu_;
    const uint32_t level_;
    uint32_t spins_ = 0;
    Word flag_ = 0;       // the flag we hold outside the queue
    uint16_t before_ = 0; // who was the tail when we joined
    bool first_ = false;  // we joined as the head
    bool slept_ = false;  // we slept as the head
    bool cleared_ = false;
};

// The lock is free but others wait for it, as most crowded locks are when somebody comes:
// take it if this CPU's turn is not over. False: there is more to it.
template <class Hv>
[[gnu::always_inline]] inline bool lock_at_once(WordOf<Hv>& lock, Cpu& self,
                                                uint32_t cpu) noexcept {
    using Layout = typename Hv::Layout;
    int32_t& left = *self.left;
    WordOf<Hv> word = Hv::load(lock);
    if (!Layout::free_to_all(word) || left <= 0 ||
        !Hv::cas(lock, word, Layout::taken_from_others(word, cpu)))
        return false;
    --left;
    Hv::took(lock, cpu);
    return true;
}

// The lock's fast path did not get it.
template <class Hv> void lock_slow(WordOf<Hv>& lock, uint32_t cpu) noexcept {
    Wait<Hv>{lock, cpu}.run();
}

} // namespace xpv::pvlock
