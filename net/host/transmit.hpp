// SPDX-License-Identifier: GPL-2.0-only
// A frontend's transmit queue, with a channel of its own or one that receive shares. Two
// senders fill the ring and stop the queue; the backend answers; the poller reaps and
// wakes. Something else schedules the poller too, or netpoll polls without a budget.
#pragma once

#include "net/host/credit.hpp"
#include "net/host/tx_model.hpp"

namespace xpv::host {

struct Transmit {
    struct Shape {
        bool split;
        uint32_t filled;  // slots in flight at the start
        uint32_t wake_at; // free slots
        uint32_t packets; // of each sender
        uint32_t senders;
        uint32_t limit; // packets in flight that a sender waits at; 0: none
        uint32_t others;
        bool netpoll;
    };

    explicit Transmit(const Shape& shape_in) : shape{shape_in} {}

    void setup(World& w) {
        tx.attach(shared, shape.filled, shape.wake_at);
        backend.attach(shared);
        napi.add(kernel, this, poll, 4);
        kernel.scene = this;
        kernel.on_eoi = [](void* scene, uint32_t channel, bool nothing) {
            static_cast<Transmit*>(scene)->on_eoi(channel, nothing);
        };
        (void)gates[0].offer(kernel.bus(), "rx", this, 1, events, spurious);
        if (shape.split)
            (void)gates[1].offer(kernel.bus(), "tx", this, 1, events, spurious);
        const uint32_t channel = shape.split;
        for (uint32_t i = 0; i < shape.senders; ++i)
            w.thread(i == 0 ? "sender" : "sender2", [this] { sender(); });
        w.thread("backend",
                 [this, channel] { backend.run(kernel, channel, 1, [] { return false; }); });
        w.thread("interrupt", [this] {
            kernel.interrupts([this](auto&) {
                const bool reached = static_cast<int32_t>(shared.rsp_prod - shared.rsp_event) >= 0;
                announced = tx.waits() && reached ? shared.rsp_event : tx.answered();
            });
        });
        w.thread("cpu0", [this] {
            for (;;)
                napi.softirq(0);
        });
        if (shape.others > 0)
            w.thread("cpu1", [this] {
                for (uint32_t i = 0; i < shape.others; ++i) {
                    if (shape.netpoll)
                        napi.netpoll(1);
                    else
                        napi.schedule(1);
                    while (napi.listed(1))
                        napi.softirq(1);
                }
                for (;;)
                    napi.softirq(1);
            });
    }
    void schedule(uint32_t) { napi.schedule(0); }
    EventGate<Transmit>& gate() { return gates[shape.split]; }
    xpv_evtchn& channel() { return kernel.channels[shape.split]; }

    void sender() {
        for (uint32_t i = 0; i < shape.packets; ++i) {
            kernel.rcu.enter();
            txq.lock();
            while (txq.stopped()) {
                txq.unlock();
                kernel.rcu.leave();
                world().wait([this] { return !txq.is_stopped(); }, "woken");
                kernel.rcu.enter();
                txq.lock();
            }
            const bool at_limit = shape.limit != 0 && tx.held() + 1 >= shape.limit;
            if (tx.send(channel(), shape.limit != 0, at_limit))
                txq.stop();
            if (shape.netpoll) // an interrupt prints, and the line leaves through netpoll
                napi.netpoll(2);
            txq.unlock();
            kernel.rcu.leave();
            if (at_limit)
                world().wait([this] { return tx.held() < shape.limit; }, "told");
        }
        ++finished;
    }
    static int poll(void* owner, int cpu, int budget) {
        return static_cast<Transmit*>(owner)->poll_queue(cpu, budget);
    }
    int poll_queue(int cpu, int budget) {
        uint32_t event = gate().look();
        if (tx.due() || (shape.split && gate().owes_eoi()))
            poll_tx(budget);
        if (budget == 0)
            return 0;
        if (makes(Fault::ArmBeforeLook))
            event = gate().look();
        if (tx.take_found())
            credit.found(gate(), channel());
        if (napi.complete_done(cpu, 0))
            credit.done(gate(), 1, event);
        return 0;
    }
    void poll_tx(int budget) {
        if (budget > 0 || makes(Fault::NetpollLocks))
            txq.lock();
        else if (!txq.try_lock())
            return;
        if (tx.poll())
            txq.wake();
        txq.unlock();
    }
    void on_eoi(uint32_t, bool nothing) {
        if (static_cast<int32_t>(tx.answered() - announced) < 0)
            world().fail("an EOI before the responses that its event announced were taken");
        credit.eoi(nothing);
    }

    void at_rest() {
        if (txq.is_stopped())
            world().fail("the queue is stopped for ever, with free slots");
        else if (finished != shape.senders)
            world().fail("a sender at its limit is never told");
        else if (channel().masked)
            world().fail("an EOI was never paid");
        else if (!napi.idle())
            world().fail("the poller is scheduled, and nobody polls");
    }
    std::string tell() const {
        const xpv_evtchn& c = kernel.channels[shape.split];
        char text[140];
        snprintf(text, sizeof(text),
                 "req %u/%u rsp %u event %u taken %u %s held %u napi %02x %s%s eois %u/%u",
                 shared.req_prod, shared.req_event, shared.rsp_prod, shared.rsp_event,
                 tx.answered(), txq.is_stopped() ? "stopped" : "running", tx.held(), napi.state(),
                 c.pending ? "P" : "-", c.masked ? "M" : "-", c.eois, c.events);
        return text;
    }

    const Shape shape;
    Kernel kernel;
    Napi napi;
    TxQueue txq;
    Sring shared{};
    TxModel tx;
    Answering backend;
    EventGate<Transmit> gates[2]; // receive or both, transmit
    uint64_t events = 0;
    uint64_t spurious = 0;
    uint32_t announced = 0; // the response that the last event was asked for
    uint32_t finished = 0;
    Credit<Transmit> credit;
};

} // namespace xpv::host
