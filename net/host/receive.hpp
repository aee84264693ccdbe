// SPDX-License-Identifier: GPL-2.0-only
// A frontend's receive queue. The backend answers requests and notifies when it was asked
// to; the event's handler schedules the poller, and so does something else on another CPU:
// a timer, a transmit event, a socket that polls busily.
#pragma once

#include "net/host/credit.hpp"

namespace xpv::host {

struct Receive {
    struct Shape {
        uint32_t publishes; // each of one response
        int weight;
        uint32_t others; // times that something else schedules
        bool deferred;   // interrupts come back by a timer
        bool busy;       // a socket polls busily
    };

    explicit Receive(const Shape& shape_in) : shape{shape_in} {}

    void setup(World& w) {
        front.attach(&shared, sizeof(shared));
        for (uint32_t i = 0; i < slots; ++i)
            front.put(i);
        (void)front.publish();
        (void)back.attach(&shared, sizeof(shared));
        for (uint32_t i = 0; i < slots; ++i)
            (void)back.take();
        napi.add(kernel, this, poll, shape.weight);
        if (shape.deferred)
            napi.defer_interrupts();
        kernel.scene = this;
        kernel.on_eoi = [](void* scene, uint32_t, bool none) {
            static_cast<Receive*>(scene)->on_eoi(none);
        };
        (void)gate.offer(kernel.bus(), "rx", this, 1, events, spurious);

        w.thread("backend", [this] { backend(); });
        w.thread("interrupt",
                 [this] { kernel.interrupts([this](auto&) { announced = shared.rsp_prod; }); });
        w.thread("cpu0", [this] {
            for (;;)
                napi.softirq(0);
        });
        w.thread("cpu1", [this] {
            for (uint32_t i = 0; i < shape.others; ++i) {
                if (shape.busy)
                    napi.busy_loop(1, 1);
                else
                    napi.schedule(1);
                while (napi.listed(1))
                    napi.softirq(1);
            }
            for (;;)
                napi.softirq(1);
        });
        if (shape.deferred)
            w.thread("timer", [this] {
                for (;;)
                    napi.timer(1);
            });
    }
    void schedule(uint32_t) { napi.schedule(0); }

    void backend() {
        for (uint32_t i = 0; i < shape.publishes; ++i) {
            back.put(i);
            if (publish(back))
                kernel.ring(0);
        }
    }
    static int poll(void* owner, int cpu, int budget) {
        return static_cast<Receive*>(owner)->poll_rx(cpu, budget);
    }
    int poll_rx(int cpu, int budget) {
        const uint32_t count = min(front.pending().value(), static_cast<uint32_t>(budget));
        for (uint32_t i = 0; i < count; ++i)
            (void)front.take();
        found = found || count > 0;
        const int work = static_cast<int>(count);
        if (work == budget)
            return budget;
        if (makes(Fault::ArmAfterComplete)) {
            if (napi.complete_done(cpu, work)) {
                const uint32_t event = gate.look();
                tell_found();
                if (arm(front))
                    napi.schedule(cpu);
                else
                    finish(event);
            }
            return work;
        }
        uint32_t event = gate.look();
        if (arm(front))
            return budget;
        if (makes(Fault::ArmBeforeLook))
            event = gate.look();
        tell_found();
        if (makes(Fault::EoiBeforeComplete))
            finish(event);
        if (napi.complete_done(cpu, work) || makes(Fault::EoiThoughKept))
            finish(event);
        return work;
    }
    void tell_found() {
        if (found)
            credit.found(gate, kernel.channels[0]);
        found = false;
    }
    void finish(uint32_t event) { credit.done(gate, 1, event); }
    void on_eoi(bool nothing) {
        if (static_cast<int32_t>(front.response_index() - announced) < 0)
            world().fail("an EOI before the work that its event announced was found");
        credit.eoi(nothing);
    }

    void at_rest() {
        if (front.response_index() != shape.publishes)
            world().fail("an event was lost: responses lie in the ring, nobody comes");
        else if (kernel.channels[0].masked)
            world().fail("an EOI was never paid");
        else if (!napi.idle())
            world().fail("the poller is scheduled, and nobody polls");
    }
    std::string tell() const {
        char text[120];
        snprintf(text, sizeof(text), "rsp %u event %u consumed %u napi %02x %s%s eois %u/%u",
                 shared.rsp_prod, shared.rsp_event, front.response_index(), napi.state(),
                 kernel.channels[0].pending ? "P" : "-", kernel.channels[0].masked ? "M" : "-",
                 kernel.channels[0].eois, kernel.channels[0].events);
        return text;
    }

    const Shape shape;
    Kernel kernel;
    Napi napi;
    Sring shared{};
    Front front;
    Back back;
    EventGate<Receive> gate;
    uint64_t events = 0;
    uint64_t spurious = 0;
    uint32_t announced = 0; // responses in the ring when the last event came
    bool found = false;
    Credit<Receive> credit;
};

} // namespace xpv::host
