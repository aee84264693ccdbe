// SPDX-License-Identifier: GPL-2.0-only
// Who is told what, and when. Knows no Xen and no clock: gauged and gauge-sim drive it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "gauge/config.hpp"
#include "gauge/meter.hpp"

namespace xpv::gauge {

// A domain as the toolstack has it.
struct Domain {
    uint32_t id = 0;
    std::string uuid, name;
    Kib held = 0; // of the host's memory
    Kib max = 0;  // what it may have: memory/target
};

struct Publication {
    uint32_t domain = 0;
    balloon::GaugeWord word;
};

// What there is to show of a guest.
struct GuestView {
    Domain domain;
    uint32_t weight = 100;
    Kib floor = 0;
    balloon::GaugeWord word;
};

class Policy {
public:
    // The first sequence is higher than any that an earlier daemon wrote.
    Policy(const Config& config, uint64_t seed, uint64_t first_sequence)
        : config_{config}, random_{seed}, sequence_{first_sequence} {}

    // Once a second, and whenever domains came or went, or Xen ran out of memory
    // (`enomem`). What it returns is to be written now.
    std::vector<Publication> step(uint64_t now_ms, const Host& host,
                                  const std::vector<Domain>& domains, bool enomem);
    // It could not be written: once more at the next step.
    void failed(uint32_t domain);
    void configure(const Config& config);

    const Band& band() const noexcept { return band_; }
    Pressure pressure() const noexcept { return pressure_; }
    std::vector<GuestView> guests() const;

private:
    struct Guest {
        GuestView view;
        Needle needle;
        uint64_t due_ms = 0;     // may be told another level
        uint64_t written_ms = 0; // was last told one
        bool told = false;
    };

    void reconcile(uint64_t now_ms, const std::vector<Domain>& domains);
    void set_band(const Host& host);
    uint64_t random() noexcept;

    Config config_;
    uint64_t random_, sequence_;
    Band band_;
    Pressure pressure_ = 0;
    std::map<uint32_t, Guest> guests_;
};

} // namespace xpv::gauge
