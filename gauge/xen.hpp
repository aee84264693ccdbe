// SPDX-License-Identifier: GPL-2.0-only
// All that gauged asks of Xen: libxenlight, xenstore, event channels. Decides nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gauge/policy.hpp"
#include "gauge/says.hpp"

namespace xpv::gauge {

class Xen {
public:
    struct Woken {
        bool domains = false; // came or went
        bool enomem = false;  // Xen is running out
        bool stop = false;    // SIGTERM, SIGINT
        bool reload = false;  // SIGHUP
    };

    // nullptr, and why, without Xen's toolstack or rights.
    static std::unique_ptr<Xen> open(std::string& error);
    virtual ~Xen() = default;
    // Watches, Xen's interrupt and signals, for wait(). What is missing is said; an empty
    // text if nothing is.
    virtual std::string listen() = 0;
    virtual Woken wait(uint32_t ms) = 0;

    virtual bool host(Host& host) = 0;
    // Those that have a target, but dom0 and what is dying.
    virtual bool domains(std::vector<Domain>& domains) = 0;
    virtual GuestSays says(uint32_t domain) = 0;
    // The domain's node, readable by it alone. Nothing is left of a domain that has gone.
    virtual bool publish(uint32_t domain, const std::string& word) = 0;
    virtual bool remove(uint32_t domain) = 0;
};

} // namespace xpv::gauge
