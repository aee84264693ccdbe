// SPDX-License-Identifier: GPL-2.0-only
// A host with guests, in ticks of one second. Guests that follow the gauge run the
// balloon's own controller, and the host gauged's own policy. Seeds are fixed.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "balloon/controller.hpp"
#include "gauge/policy.hpp"

namespace xpv::gauge::sim {

using balloon::Pages;

inline constexpr Pages mib = 256;

enum class Manager : uint8_t {
    Static,  // an equal share for each, once
    Squeeze, // in proportion to max, not below a quarter of it
    Teller,  // each guest tells its need, a manager in dom0 deals out 1.3 of it
    Gauge,   // ours, without the balloon's OOM notifier
    Relief,  // and with it
};
const char* name_of(Manager manager);

enum class Load : uint8_t { Diurnal, Step, Spike, Leak, Anti, Mixed, Steady };
const char* name_of(Load load);

struct Scenario {
    Load load = Load::Mixed;
    uint32_t guests = 20;
    uint32_t seconds = 7200;
    double over_commit = 1.5; // sum of max over the host's memory for guests
    double peak = 0.92;       // of the sum of needs, of that memory
    uint64_t seed = 1;
    uint32_t store_s = 0;     // a word's way, besides everything else
    uint32_t greedy = 0;      // of the guests: never give
    uint32_t dead_from_s = 0; // gauged is killed then, 0: never
    Config config;
};

struct Metrics {
    double lack = 0;                                 // MiB unmet, mean over time, sum over guests
    uint32_t ooms = 0;                               // times that a guest began to lack
    double free_mean = 0, free_sd = 0, free_min = 0; // MiB
    double moved = 0;                                // MiB per second, into and out of balloons
    double changes = 0;                              // levels published anew, per second
    double refaults = 0;                             // per second, all guests
    double jain = 0;        // of the guests' shares of what they could have beyond their needs
    uint32_t settled_s = 0; // last time that a level changed by more than one step, from the start
};

// One second of it, for pictures.
struct Moment {
    double free = 0, need = 0, held = 0, lack = 0; // MiB
    double level = 0;                              // mean of what guests believe
};

struct Result {
    Metrics metrics;
    std::vector<Moment> moments;
};

Result run(const Scenario& scenario, Manager manager);

// Needs of all guests, [guest][second], in pages, scaled to the scenario's peak.
std::vector<std::vector<double>> needs_of(const Scenario& scenario, const std::vector<Pages>& max,
                                          Pages host);

} // namespace xpv::gauge::sim
