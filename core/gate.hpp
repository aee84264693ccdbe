// SPDX-License-Identifier: GPL-2.0-only
// An event channel and the pollers it wakes. What a poller does, in this order:
//
//     const uint32_t event = gate.look();
//     look at the ring; ring.arm(), and nothing came    nobody else polls yet
//     gate.found(), if there was work
//     the scheduler lets the poller go                  from here on another CPU may poll
//     gate.done(poller, event);
//
// The ring is armed while the poller still owns it: armed later, on a CPU that was held
// up, it would undo what a poll on another CPU has armed since, and the events stop. The
// EOI is paid afterwards, and only if the scheduler agrees that events may come again. An
// event after look() announces what this look may have missed, so done() leaves its EOI
// to the poll that the event asked for.
#pragma once

#include "core/barrier.hpp"
#include "core/evtchn.hpp"

namespace xpv {

// Owner::schedule(uint32_t pollers) runs these pollers soon; hard interrupts. Pollers
// are bits, the owner's to name.
template <class Owner> class EventGate : NoCopy {
public:
    // The pollers whose idleness an EOI needs.
    static constexpr uint32_t most_pollers = 2;

    EventGate() noexcept = default;

    // Frontend, backend. Pollers may be scheduled before these return; events and
    // spurious count what comes, and outlive the channel. May sleep.
    Result<void> offer(xpv_xenbus* bus, const char* name, Owner* owner, uint32_t pollers,
                       uint64_t& events, uint64_t& spurious) noexcept {
        prepare(owner, pollers, events, spurious);
        return channel_.offer(bus, name, on_event, this);
    }
    Result<void> bind(xpv_xenbus* bus, Port peer_port, const char* name, Owner* owner,
                      uint32_t pollers, uint64_t& events, uint64_t& spurious) noexcept {
        prepare(owner, pollers, events, spurious);
        return channel_.bind(bus, peer_port, name, on_event, this);
    }
    // No event comes any more, and none is owed an EOI. May sleep.
    void close() noexcept {
        channel_.unbind();
        state_ = 0;
    }

    explicit operator bool() const noexcept { return static_cast<bool>(channel_); }
    Port port() const noexcept { return channel_.port(); }
    void notify() const noexcept { channel_.notify(); }
    bool owes_eoi() const noexcept { return (load_once(&state_) & owed) != 0; }

    // A poller is about to look at its ring, or to arm it. Returns what done() wants. The
    // poller's context.
    [[nodiscard]] uint32_t look() const noexcept { return atomic_load(&state_) / one_event; }
    // It found work: the event that announced it, come or still to come, is no spurious
    // one. The poller's context.
    void found() noexcept { atomic_store(&worked_, true); }

    // The poller is not scheduled any more. Pays the EOI if all pollers are idle. An
    // event that came since look() is the affair of whom it woke. Softirq.
    void done(uint32_t poller, uint32_t event) noexcept {
        uint32_t old = atomic_load(&state_);
        for (;;) {
            if (old / one_event != event)
                return;
            uint32_t now = old & ~poller;
            const bool pay = (now & all_pollers) == 0 && (now & owed) != 0;
            if (pay)
                now &= ~owed;
            if (!atomic_cas(&state_, old, now))
                continue;
            if (pay)
                pay_eoi();
            return;
        }
    }

private:
    static constexpr uint32_t all_pollers = (1U << most_pollers) - 1;
    static constexpr uint32_t owed = 1U << most_pollers;
    static constexpr uint32_t one_event = owed << 1; // counted in the bits from here on

    void prepare(Owner* owner, uint32_t pollers, uint64_t& events, uint64_t& spurious) noexcept {
        close();
        owner_ = owner;
        pollers_ = pollers;
        events_ = &events;
        spurious_ = &spurious;
        worked_ = false;
    }

    // Hard interrupt. Debt and pollers in one operation: nobody finds the one without
    // the other.
    static void on_event(void* context) noexcept {
        auto& gate = *static_cast<EventGate*>(context);
        ++*gate.events_;
        uint32_t old = atomic_load(&gate.state_);
        while (!atomic_cas(&gate.state_, old, (old + one_event) | owed | gate.pollers_))
            ;
        gate.owner_->schedule(gate.pollers_);
    }

    void pay_eoi() noexcept {
        const bool found = atomic_exchange(&worked_, false);
        if (!found)
            ++*spurious_;
        channel_.eoi(!found);
    }

    EventChannel channel_;
    Owner* owner_ = nullptr;
    uint32_t pollers_ = 0;
    uint32_t state_ = 0; // events, whether an EOI is owed, pollers that have to look before it
    // Work was found since the last EOI. It is kept while none is owed: the event
    // that announced it may still be on its way and is no spurious one.
    bool worked_ = false;
    uint64_t* events_ = nullptr;
    uint64_t* spurious_ = nullptr;
};

} // namespace xpv
