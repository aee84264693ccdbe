// SPDX-License-Identifier: GPL-2.0-only
// What a driver's threads meet in Linux 6.1 and Xen, as far as it orders them: NAPI
// (net/core/dev.c), RCU, a transmit queue, an event channel with late EOI
// (drivers/xen/events). Each locked instruction and hypercall is one step.
#pragma once

#include "net/host/world.hpp"

#include "core/gate.hpp"
#include "core/ring.hpp"

namespace xpv::host {

// The mistakes that a scene can be told to make; each looks harmless.
enum class Fault : uint8_t {
    None,
    ArmBeforeLook,       // the event's number is looked at when its event may have come late
    ArmAfterComplete,    // the ring is armed when another CPU may poll already
    EoiBeforeComplete,   // the EOI is paid before the scheduler has let the poller go
    EoiThoughKept,       // napi_complete_done()'s answer is not looked at
    DoneWithoutNumber,   // done() takes whatever event is the last
    FoundForgotten,      // work that was found when no EOI was owed is not remembered
    ArmWithoutFence,     //
    PublishWithoutFence, //
    NetpollLocks,        // a poll without a budget waits for the transmit lock
    StoppedAfterArm,     // the event comes between arm() and the flag that makes it count
    EventMoved,          // a stop moves the event that a sender asked for
    CountIgnored,        // start_xmit does not look whether there is a queue
    NoFirstWait,         // step 1 without synchronize_net()
    NoSecondWait,        // step 2 without synchronize_net()
    DisableFirst,        // napi_disable() and the timer's end before the count is 0
    TimerFirst,          // the timer's end before napi_disable()
    NotStarted,          // a new connection leaves the queue as the old one left it
    OneSharedBit,        // one poller's idleness pays for both
    NotKicked,           // a rate changes, and nobody tells those who wait for the old one's credit
};
inline Fault fault = Fault::None;
inline bool makes(Fault which) { return fault == which; }

// ---- RCU --------------------------------------------------------------------
// Softirqs, start_xmit and hard interrupts are readers.

class Rcu {
public:
    void enter() { inside_ |= me(); }
    void leave() {
        inside_ &= ~me();
        awaited_ &= ~me();
    }
    void synchronize() {
        world().locked("synchronize_net");
        awaited_ = inside_;
        world().wait([this] { return awaited_ == 0; }, "all readers have left");
    }

private:
    static uint32_t me() { return 1U << world().current(); }

    uint32_t inside_ = 0;
    uint32_t awaited_ = 0;
};

// ---- event channels -----------------------------------------------------------

struct Kernel;

} // namespace xpv::host

// Ours; the peer's end of it is a bit that its thread waits for.
struct xpv_evtchn {
    xpv_evtchn_handler handler;
    void* context;
    xpv::host::Kernel* kernel;
    bool bound;
    bool pending;
    bool masked; // until the EOI
    bool running;
    bool peer_pending;
    uint32_t events, eois, spurious;
};

namespace xpv::host {

struct Kernel {
    Rcu rcu;
    xpv_evtchn channels[2] = {}; // each is used once
    uint32_t made = 0;
    uint32_t kept = 0; // threads in a poll that the scheduler has not let go
    void* scene = nullptr;
    void (*on_eoi)(void* scene, uint32_t channel, bool spurious) = nullptr;

    xpv_xenbus* bus() { return reinterpret_cast<xpv_xenbus*>(this); }
    static Kernel& of(xpv_xenbus* bus) { return *reinterpret_cast<Kernel*>(bus); }

    // The peer's EVTCHNOP_send.
    void ring(uint32_t channel) {
        world().locked("the peer notifies");
        channels[channel].pending = true;
    }
    // The thread of all interrupts. came(): one begins.
    template <class Came> void interrupts(Came came) {
        for (;;) {
            world().wait([this] { return next() != nullptr; }, "event");
            xpv_evtchn& channel = *next();
            rcu.enter();
            channel.pending = false;
            channel.masked = channel.running = true;
            ++channel.events;
            came(channel);
            channel.handler(channel.context);
            world().drain();
            channel.running = false;
            rcu.leave();
        }
    }
    xpv_evtchn* next() {
        for (xpv_evtchn& channel : channels)
            if (channel.bound && channel.pending && !channel.masked)
                return &channel;
        return nullptr;
    }
    void eoi(xpv_evtchn& channel, bool spurious) {
        world().locked(spurious ? "EOI, spurious" : "EOI");
        if (!channel.bound || !channel.masked)
            world().fail("an EOI that nobody owes");
        if ((kept & 1U << world().current()) != 0)
            world().fail("an EOI while the scheduler keeps the poller");
        on_eoi(scene, static_cast<uint32_t>(&channel - channels), spurious);
        channel.masked = false;
        ++channel.eois;
        channel.spurious += spurious;
    }
};

// ---- NAPI ---------------------------------------------------------------------

class Napi {
public:
    using Poll = int (*)(void* owner, int cpu, int budget);

    void add(Kernel& kernel, void* owner, Poll poll, int weight) {
        kernel_ = &kernel;
        owner_ = owner;
        poll_ = poll;
        weight_ = weight;
    }
    bool idle() const { return (state_ & (sched | missed)) == 0 && listed_ == 0; }
    uint32_t state() const { return state_; }
    // napi_defer_hard_irqs and gro_flush_timeout: an idle poller is polled once more by a
    // timer before its interrupts come back.
    void defer_interrupts() { defers_ = true; }

    void schedule(int cpu) {
        world().locked("napi_schedule");
        const uint32_t old = state_;
        if ((old & disable_pending) != 0)
            return;
        state_ |= (old & sched) != 0 ? missed : sched;
        if ((old & sched) == 0)
            listed_ |= 1U << cpu;
    }
    bool complete_done(int cpu, int work) {
        world().step("napi_complete_done");
        if ((state_ & (npsvc | in_busy_poll)) != 0)
            return false;
        if (work > 0)
            deferral_ = defers_;
        const bool later = deferral_;
        deferral_ = false;
        world().locked("... lets the poller go");
        const uint32_t old = state_;
        state_ &= ~(missed | sched);
        if ((old & missed) != 0) {
            state_ |= sched;
            listed_ |= 1U << cpu;
            return false;
        }
        timer_ = later;
        if (!later)
            kernel_->kept &= ~(1U << world().current());
        return !later;
    }
    // One CPU's NET_RX_SOFTIRQ, as long as this is in its list.
    void softirq(int cpu) {
        world().wait([this, cpu] { return (listed_ & 1U << cpu) != 0; }, "softirq");
        listed_ &= ~(1U << cpu);
        kernel_->rcu.enter();
        lock_owner();
        if ((state_ & sched) != 0 && run(cpu, weight_) >= weight_) {
            if ((state_ & disable_pending) != 0)
                (void)complete_done(cpu, weight_);
            else
                listed_ |= 1U << cpu;
        }
        world().drain();
        polled_ = false;
        kernel_->rcu.leave();
    }
    bool listed(int cpu) const { return (listed_ & 1U << cpu) != 0; }
    // napi_watchdog().
    void timer(int cpu) {
        world().wait([this] { return timer_; }, "napi's timer");
        timer_ = false;
        world().locked("napi_watchdog");
        if ((state_ & (disable_pending | sched)) == 0) {
            state_ |= sched;
            listed_ |= 1U << cpu;
        }
    }
    // A socket polls busily for a while: napi_busy_loop(), busy_poll_stop().
    void busy_loop(int cpu, int rounds) {
        world().locked("napi_busy_loop");
        if ((state_ & (disable_pending | sched | in_busy_poll)) != 0)
            return;
        state_ |= sched | in_busy_poll;
        for (int i = 0; i < rounds; ++i) {
            kernel_->rcu.enter();
            (void)run(cpu, weight_);
            kernel_->rcu.leave();
            world().step("busy again");
        }
        world().locked("busy_poll_stop");
        state_ &= ~missed;
        world().locked();
        kernel_->rcu.enter();
        state_ &= ~in_busy_poll;
        if (run(cpu, weight_) == weight_)
            listed_ |= 1U << cpu;
        kernel_->rcu.leave();
    }
    // netpoll: a poll without a budget, whoever has it scheduled, unless another CPU polls
    // just now; poll_napi(), poll_one_napi().
    void netpoll(int cpu) {
        world().locked("netpoll");
        if (polled_)
            return;
        polled_ = true;
        if ((state_ & npsvc) == 0) {
            state_ |= npsvc;
            (void)poll_(owner_, cpu, 0);
            world().locked();
            state_ &= ~npsvc;
        }
        polled_ = false;
    }
    void disable() {
        world().locked("napi_disable");
        state_ |= disable_pending;
        world().wait([this] { return (state_ & (sched | npsvc)) == 0; }, "... has it");
        state_ |= sched | npsvc;
        timer_ = false;
        world().locked();
        state_ &= ~disable_pending;
    }
    void enable() {
        world().locked("napi_enable");
        state_ &= ~(sched | npsvc);
    }

private:
    static constexpr uint32_t sched = 1, missed = 2, disable_pending = 4, npsvc = 8,
                              in_busy_poll = 16;

    // netpoll_poll_lock().
    void lock_owner() {
        world().wait([this] { return !polled_; }, "poll lock");
        polled_ = true;
    }
    int run(int cpu, int budget) {
        kernel_->kept |= 1U << world().current();
        const int work = poll_(owner_, cpu, budget);
        kernel_->kept &= ~(1U << world().current());
        return work;
    }

    Kernel* kernel_ = nullptr;
    void* owner_ = nullptr;
    Poll poll_ = nullptr;
    int weight_ = 0;
    uint32_t state_ = 0;
    uint32_t listed_ = 0; // CPUs whose lists have it
    bool polled_ = false; // by somebody, now
    bool defers_ = false;
    bool deferral_ = false;
    bool timer_ = false;
};

// ---- a net device's transmit queue ----------------------------------------------

class TxQueue {
public:
    void lock() {
        world().drain(); // its own unlock() may be under way
        if (lock_ == me())
            world().fail("waits for a lock that it holds itself");
        world().wait([this] { return lock_ == 0; }, "tx lock");
        world().drain();
        lock_ = me();
    }
    bool try_lock() {
        world().locked("tx trylock");
        if (lock_ != 0)
            return false;
        lock_ = me();
        return true;
    }
    void unlock() { store_once(&lock_, 0U); }
    bool stopped() const { return load_once(&stopped_) != 0; }
    void stop() { atomic_store(&stopped_, 1U); }
    void wake() { atomic_store(&stopped_, 0U); }
    // Not a step: for conditions.
    bool is_stopped() const { return stopped_ != 0; }

private:
    static uint32_t me() { return world().current() + 1; }

    uint32_t lock_ = 0; // who holds it
    uint32_t stopped_ = 0;
};

// ---- rings --------------------------------------------------------------------------

constexpr uint32_t slots = 4;

// As in xen/io/ring.h, but small.
struct Sring {
    uint32_t req_prod, req_event, rsp_prod, rsp_event;
    uint8_t pad[48];
    union Entry {
        uint32_t req;
        uint32_t rsp;
    } ring[slots];
};
using Front = FrontRing<Sring>;
using Back = BackRing<Sring>;

// arm() and publish() of either end, with the faults that leave their barrier out.
template <class Ring> bool arm(Ring& ring, uint32_t more = 1) {
    if (makes(Fault::ArmWithoutFence))
        return world().without_fences([&] { return ring.arm(more); });
    return ring.arm(more);
}
template <class Ring> bool publish(Ring& ring) {
    if (makes(Fault::PublishWithoutFence))
        return world().without_fences([&] { return ring.publish(); });
    return ring.publish();
}

} // namespace xpv::host

// ---- core/kapi.h --------------------------------------------------------------------

inline int xpv_evtchn_offer(xpv_xenbus* bus, const char*, xpv_evtchn_handler handler, void* context,
                            xpv_evtchn** channel, uint32_t* port) {
    xpv::host::Kernel& kernel = xpv::host::Kernel::of(bus);
    *port = kernel.made++;
    *channel = &kernel.channels[*port];
    **channel = xpv_evtchn{handler, context, &kernel, true, false, false, false, false, 0, 0, 0};
    return 0;
}
inline void xpv_evtchn_unbind(xpv_evtchn* channel) {
    xpv::host::world().locked("unbind");
    channel->bound = false;
    xpv::host::world().wait([channel] { return !channel->running; }, "no handler runs");
    channel->pending = channel->masked = false;
}
inline void xpv_evtchn_notify(xpv_evtchn* channel) {
    xpv::host::world().locked("notify");
    channel->peer_pending = true;
}
inline void xpv_evtchn_eoi(xpv_evtchn* channel, bool spurious) {
    channel->kernel->eoi(*channel, spurious);
}
