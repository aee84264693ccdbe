// SPDX-License-Identifier: GPL-2.0-only
// A queue pair is taken away while start_xmit, the poller, its event and its timer run, in
// the order of net/teardown.h; then the device connects anew with another queue. The
// pieces that live as long as the net device (NAPI, timer, transmit queue) are used by
// both.
#pragma once

#include "net/host/credit.hpp"
#include "net/host/tx_model.hpp"

namespace xpv::host {

struct Teardown {
    struct Shape {
        uint32_t filled; // slots in flight at the start
        uint32_t packets;
        bool timer;     // packets are owned, a timer looks for their responses
        bool reconnect; // it comes back
    };

    explicit Teardown(const Shape& shape_in) : shape{shape_in} {}

    // What one connection is made of.
    struct Queue {
        Teardown* device = nullptr;
        uint32_t number = 0;
        bool alive = false;
        Sring shared{};
        TxModel tx;
        Answering backend;
        EventGate<Queue> gate;
        uint64_t events = 0;
        uint64_t spurious = 0;
        Credit<Queue> credit;

        void schedule(uint32_t) {
            device->touch(*this);
            device->napi.schedule(0);
        }
        xpv_evtchn& channel() { return device->kernel.channels[number]; }
    };

    void setup(World& w) {
        napi.add(kernel, this, poll, 4);
        kernel.scene = this;
        kernel.on_eoi = [](void* scene, uint32_t channel, bool nothing) {
            static_cast<Teardown*>(scene)->queues[channel].credit.eoi(nothing);
        };
        napi.disable();
        connect(0, shape.filled);
        w.thread("sender", [this] { sender(); });
        for (uint32_t i = 0; i < 1U + shape.reconnect; ++i)
            w.thread(i == 0 ? "backend" : "backend2", [this, i] { backend(queues[i]); });
        w.thread("interrupt", [this] { interrupts(); });
        w.thread("cpu0", [this] {
            for (;;)
                napi.softirq(0);
        });
        if (shape.timer)
            w.thread("timer", [this] {
                for (;;)
                    timer_fires();
            });
        w.thread("teardown", [this] {
            disconnect();
            if (shape.reconnect)
                connect(1, 0);
            torn = true;
        });
    }
    void touch(const Queue& queue) const {
        if (!queue.alive)
            world().fail("a queue is used that was taken away");
    }

    // ---- process context ----
    void connect(uint32_t number, uint32_t filled) {
        Queue& queue = queues[number];
        queue.device = this;
        queue.number = number;
        queue.tx.attach(queue.shared, filled, 2);
        queue.backend.attach(queue.shared);
        queue.alive = true;
        (void)queue.gate.offer(kernel.bus(), "queue", &queue, 1, queue.events, queue.spurious);
        atomic_store(&core, &queue);
        napi.enable();
        atomic_store(&usable, 1U);
        if (!makes(Fault::NotStarted))
            txq.wake();
        napi.schedule(0);
    }
    void disconnect() {
        if (makes(Fault::DisableFirst)) {
            napi.disable();
            cancel_timer();
        }
        atomic_store(&usable, 0U); // 1.
        txq.stop();
        if (!makes(Fault::NoFirstWait))
            kernel.rcu.synchronize();
        if (makes(Fault::TimerFirst))
            cancel_timer();
        if (!makes(Fault::DisableFirst))
            napi.disable(); // 2.
        if (!makes(Fault::TimerFirst) && !makes(Fault::DisableFirst))
            cancel_timer();
        if (!makes(Fault::NoSecondWait))
            kernel.rcu.synchronize();
        Queue& queue = queues[0];
        queue.gate.close(); // 3.
        atomic_store(&core, static_cast<Queue*>(nullptr));
        world().step("taken away");
        queue.alive = false;
    }
    void cancel_timer() {
        world().locked("timer cancel");
        timer_pending = false;
        world().wait([this] { return !timer_runs; }, "... has ended");
    }

    // ---- the data path ----
    void sender() {
        for (uint32_t i = 0; i < shape.packets;) {
            kernel.rcu.enter();
            txq.lock();
            const bool stopped = txq.stopped();
            if (!stopped) {
                start_xmit();
                ++i;
            }
            txq.unlock();
            world().drain();
            kernel.rcu.leave();
            if (stopped)
                world().wait([this] { return !txq.is_stopped(); }, "woken");
        }
        finished = true;
    }
    void start_xmit() {
        if (load_once(&usable) == 0 && !makes(Fault::CountIgnored))
            return; // dropped
        Queue* const queue = load_once(&core);
        if (queue == nullptr) {
            world().fail("there is no queue to send to");
            return;
        }
        touch(*queue);
        const bool stop = queue->tx.send(queue->channel(), shape.timer, false);
        touch(*queue);
        if (stop)
            txq.stop();
        again(*queue);
    }
    static int poll(void* owner, int cpu, int budget) {
        return static_cast<Teardown*>(owner)->poll_queue(cpu, budget);
    }
    int poll_queue(int cpu, int) {
        Queue* const queue = load_once(&core);
        if (queue == nullptr) {
            world().fail("there is no queue to poll");
            return 0;
        }
        touch(*queue);
        const uint32_t event = queue->gate.look();
        if (queue->tx.due()) {
            txq.lock();
            touch(*queue);
            if (queue->tx.poll())
                txq.wake();
            txq.unlock();
            again(*queue);
        }
        touch(*queue);
        if (queue->tx.take_found())
            queue->credit.found(queue->gate, queue->channel());
        if (napi.complete_done(cpu, 0)) {
            world().step("the poll's tail");
            touch(*queue);
            queue->credit.done(queue->gate, 1, event);
        }
        return 0;
    }
    // Packets that are owned have the timer look for their responses.
    void again(const Queue& queue) {
        if (!shape.timer)
            return;
        world().step("starts the timer?");
        touch(queue);
        if (*world().from(&queue.tx.held_word()) > 0)
            timer_pending = true;
    }
    void timer_fires() {
        world().wait([this] { return timer_pending; }, "timer");
        kernel.rcu.enter();
        timer_pending = false;
        timer_runs = true;
        const Queue* const queue = load_once(&core);
        if (queue == nullptr || !queue->alive)
            world().fail("the timer runs without a queue");
        napi.schedule(0);
        world().step("the timer ends");
        timer_runs = false;
        kernel.rcu.leave();
    }
    void interrupts() {
        kernel.interrupts([](auto&) {});
    }
    void backend(Queue& queue) {
        world().wait([&queue] { return queue.alive; }, "connected");
        queue.backend.run(kernel, queue.number, slots, [&queue] { return !queue.alive; });
    }

    void at_rest() {
        if (!torn)
            world().fail("the teardown never ends");
        else if (shape.reconnect && !finished)
            world().fail("the queue is stopped for ever after it came back");
        else if (shape.reconnect && queues[1].channel().masked)
            world().fail("an EOI was never paid");
        else if (shape.reconnect && !napi.idle())
            world().fail("the poller is scheduled, and nobody polls");
    }
    std::string tell() const {
        const Queue& queue = queues[core == queues + 1];
        char text[140];
        snprintf(text, sizeof(text), "queue %u%s req %u rsp %u event %u %s usable %u napi %02x%s",
                 queue.number, queue.alive ? "" : " dead", queue.shared.req_prod,
                 queue.shared.rsp_prod, queue.shared.rsp_event,
                 txq.is_stopped() ? "stopped" : "running", usable, napi.state(),
                 timer_pending ? " timer" : "");
        return text;
    }

    const Shape shape;
    Kernel kernel;
    Napi napi;
    TxQueue txq;
    Queue queues[2];
    Queue* core = nullptr;
    uint32_t usable = 0;
    bool timer_pending = false;
    bool timer_runs = false;
    bool finished = false;
    bool torn = false;
};

} // namespace xpv::host
