// SPDX-License-Identifier: GPL-2.0-only
// A backend's queue pair whose two pollers share one gate: guest-TX takes requests, guest-RX
// needs buffers for packets that dom0 sends, and arms only while packets wait for some. The
// frontend publishes requests and buffers on one channel.
#pragma once

#include "net/host/credit.hpp"

namespace xpv::host {

struct Backend {
    struct Shape {
        uint32_t requests; // that the guest sends
        uint32_t buffers;  // that it posts
        uint32_t packets;  // that dom0 sends to it
    };
    static constexpr uint32_t tx = 1, rx = 2; // pollers

    explicit Backend(const Shape& shape_in) : shape{shape_in} {}

    void setup(World& w) {
        guest_tx.attach(&tx_shared, sizeof(tx_shared));
        guest_rx.attach(&rx_shared, sizeof(rx_shared));
        (void)tx_ring.attach(&tx_shared, sizeof(tx_shared));
        (void)rx_ring.attach(&rx_shared, sizeof(rx_shared));
        tx_napi.add(kernel, this, poll_tx, 4);
        rx_napi.add(kernel, this, poll_rx, 4);
        kernel.scene = this;
        kernel.on_eoi = [](void* scene, uint32_t, bool nothing) {
            static_cast<Backend*>(scene)->on_eoi(nothing);
        };
        (void)gate.offer(kernel.bus(), "vif", this, tx | rx, events, spurious);
        w.thread("guest", [this] { guest(); });
        if (shape.packets > 0)
            w.thread("start_xmit", [this] { start_xmit(); });
        w.thread("interrupt", [this] {
            kernel.interrupts([this](auto&) {
                tx_announced = tx_shared.req_prod;
                rx_announced = waiting ? rx_shared.req_prod : rx_ring.request_index();
            });
        });
        w.thread("cpu0", [this] {
            for (;;)
                tx_napi.softirq(0);
        });
        w.thread("cpu1", [this] {
            for (;;)
                rx_napi.softirq(1);
        });
    }
    void schedule(uint32_t pollers) {
        if ((pollers & tx) != 0)
            tx_napi.schedule(0);
        if ((pollers & rx) != 0)
            rx_napi.schedule(1);
    }

    void guest() {
        for (uint32_t i = 0; i < max(shape.requests, shape.buffers); ++i) {
            if (i < shape.requests)
                show(guest_tx);
            if (i < shape.buffers)
                show(guest_rx);
        }
    }
    void show(Front& ring) {
        ring.put(0U);
        if (publish(ring))
            kernel.ring(0);
    }
    // Each packet is in a list under a lock of its own: one step.
    void start_xmit() {
        for (uint32_t i = 0; i < shape.packets; ++i) {
            world().locked("a packet");
            ++listed;
            rx_napi.schedule(1);
        }
    }

    static int poll_tx(void* owner, int cpu, int budget) {
        return static_cast<Backend*>(owner)->poll_guest_tx(cpu, budget);
    }
    static int poll_rx(void* owner, int cpu, int budget) {
        return static_cast<Backend*>(owner)->poll_guest_rx(cpu, budget);
    }
    int poll_guest_tx(int cpu, int budget) {
        for (int work = 0; work < budget; ++work) {
            if (const uint32_t count = tx_ring.pending().value(); count > 0) {
                answer(tx_ring, count);
                tx_found = true;
                continue;
            }
            const uint32_t event = gate.look();
            if (arm(tx_ring))
                continue;
            tell(tx_found);
            if (tx_napi.complete_done(cpu, work))
                done(tx, event);
            return work;
        }
        return budget;
    }
    int poll_guest_rx(int cpu, int budget) {
        for (int work = 0; work < budget; ++work) {
            world().locked("the list");
            waiting += listed;
            listed = 0;
            const uint32_t count = min(rx_ring.pending().value(), waiting);
            if (count > 0) {
                answer(rx_ring, count);
                rx_found = true;
                waiting -= count;
                sent += count;
                continue;
            }
            const uint32_t event = gate.look();
            if (waiting > 0 && arm(rx_ring))
                continue;
            tell(rx_found);
            if (rx_napi.complete_done(cpu, work))
                done(rx, event);
            return work;
        }
        return budget;
    }
    void done(uint32_t poller, uint32_t event) {
        credit.done(gate, makes(Fault::OneSharedBit) ? tx | rx : poller, event);
    }
    static void answer(Back& ring, uint32_t count) {
        for (uint32_t i = 0; i < count; ++i) {
            (void)ring.take();
            ring.put(0U);
        }
        (void)ring.publish(); // the guest looks by itself
    }
    void tell(bool& found) {
        if (found)
            credit.found(gate, kernel.channels[0]);
        found = false;
    }
    void on_eoi(bool nothing) {
        if (static_cast<int32_t>(tx_ring.request_index() - tx_announced) < 0 ||
            (waiting > 0 && static_cast<int32_t>(rx_ring.request_index() - rx_announced) < 0))
            world().fail("an EOI before the work that its event announced was found");
        credit.eoi(nothing);
    }

    void at_rest() {
        if (tx_ring.request_index() != shape.requests)
            world().fail("an event was lost: requests lie in the ring, nobody comes");
        else if (sent != min(shape.packets, shape.buffers))
            world().fail("an event was lost: packets wait although there are buffers");
        else if (kernel.channels[0].masked)
            world().fail("an EOI was never paid");
        else if (!tx_napi.idle() || !rx_napi.idle())
            world().fail("a poller is scheduled, and nobody polls");
    }
    std::string tell() const {
        const xpv_evtchn& c = kernel.channels[0];
        char text[160];
        snprintf(text, sizeof(text),
                 "tx %u/%u taken %u rx %u/%u taken %u waiting %u napi %02x %02x %s%s eois %u/%u",
                 tx_shared.req_prod, tx_shared.req_event, tx_ring.request_index(),
                 rx_shared.req_prod, rx_shared.req_event, rx_ring.request_index(), waiting,
                 tx_napi.state(), rx_napi.state(), c.pending ? "P" : "-", c.masked ? "M" : "-",
                 c.eois, c.events);
        return text;
    }

    const Shape shape;
    Kernel kernel;
    Napi tx_napi;
    Napi rx_napi;
    Sring tx_shared{};
    Sring rx_shared{};
    Front guest_tx;
    Front guest_rx;
    Back tx_ring;
    Back rx_ring;
    EventGate<Backend> gate;
    uint64_t events = 0;
    uint64_t spurious = 0;
    uint32_t tx_announced = 0;
    uint32_t rx_announced = 0;
    uint32_t listed = 0;  // packets that start_xmit has left
    uint32_t waiting = 0; // of which the poller has taken so many
    uint32_t sent = 0;
    bool tx_found = false;
    bool rx_found = false;
    Credit<Backend> credit;
};

} // namespace xpv::host
