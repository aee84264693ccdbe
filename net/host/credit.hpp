// SPDX-License-Identifier: GPL-2.0-only
// What core/gate.hpp promises of "spurious": an EOI says so only when no poller had found
// work, and said so, between the EOI before and the done() that pays this one.
#pragma once

#include "net/host/kernel.hpp"

namespace xpv::host {

template <class Owner> class Credit {
public:
    void found(EventGate<Owner>& gate, const xpv_evtchn& channel) {
        const uint32_t eois = channel.eois;
        if (!makes(Fault::FoundForgotten) || gate.owes_eoi())
            gate.found();
        if (channel.eois == eois) // else it may be that EOI's
            found_ = true;
    }
    void done(EventGate<Owner>& gate, uint32_t poller, uint32_t event) {
        if (makes(Fault::DoneWithoutNumber))
            event = gate.look();
        const uint32_t me = 1U << world().current();
        before_ = found_ ? before_ | me : before_ & ~me;
        gate.done(poller, event);
    }
    void eoi(bool spurious) {
        if (spurious && found_ && (before_ & 1U << world().current()) != 0)
            world().fail("work was found, and the event is called spurious");
        found_ = false;
    }

private:
    bool found_ = false;
    uint32_t before_ = 0; // threads whose done() began with found work
};

} // namespace xpv::host
