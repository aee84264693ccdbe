// SPDX-License-Identifier: GPL-2.0-only
// What debugfs shows of a ring, transmit and receive alike.
#pragma once

#include "core/gate.hpp"
#include "core/grant.hpp"
#include "core/ring.hpp"
#include "netfront/abi.h"

namespace xpv::netfront {

// The page holds the ring. Any context; the numbers may be a moment old.
template <class Sring, class Owner>
void look_at(const FrontRing<Sring>& ring, const Grant& page, const EventGate<Owner>& gate,
             xpv_netfront_ring_view& view) noexcept {
    const auto* shared = static_cast<const Sring*>(page.address());
    view.size = ring.size();
    view.req_prod = ring.request_index();
    view.rsp_cons = ring.response_index();
    view.shared_req_prod = load_once(&shared->req_prod);
    view.shared_req_event = load_once(&shared->req_event);
    view.shared_rsp_prod = load_once(&shared->rsp_prod);
    view.shared_rsp_event = load_once(&shared->rsp_event);
    view.ref = page.ref();
    view.port = gate.port();
    view.owes_eoi = gate.owes_eoi();
}

} // namespace xpv::netfront
