// SPDX-License-Identifier: GPL-2.0-only
// What guests need, second by second.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "gauge/sim/world.hpp"

namespace xpv::gauge::sim {
namespace {

using Random = std::mt19937_64;

double unit(Random& random) { return static_cast<double>(random() >> 11) * 0x1p-53; }

// Parts of max. A phase of a trace is a part of its period.
std::vector<double> diurnal(uint32_t seconds, Random& random, double phase) {
    std::vector<double> trace(seconds);
    const double noise = unit(random) * 0.02;
    for (uint32_t t = 0; t < seconds; ++t)
        trace[t] = 0.35 + 0.25 * std::sin(2 * std::numbers::pi * (t / 3600.0 + phase)) +
                   noise * unit(random);
    return trace;
}

std::vector<double> step(uint32_t seconds, Random& random) {
    std::vector<double> trace(seconds);
    bool high = random() % 2 != 0;
    for (uint32_t t = 0, left = 0; t < seconds; ++t, --left) {
        if (left == 0) {
            left = 300 + static_cast<uint32_t>(random() % 600);
            high = !high;
        }
        const double to = high ? 0.7 : 0.25;
        // 2 % of max per second: 40 MiB for a guest of 2 GiB.
        trace[t] = t == 0 ? to : trace[t - 1] + std::clamp(to - trace[t - 1], -0.1, 0.02);
    }
    return trace;
}

std::vector<double> spike(uint32_t seconds, Random& random) {
    std::vector<double> trace(seconds);
    uint32_t until_next = static_cast<uint32_t>(random() % 900), last = 0;
    for (uint32_t t = 0; t < seconds; ++t) {
        if (until_next-- == 0) {
            last = 60 + static_cast<uint32_t>(random() % 60);
            until_next = last + 400 + static_cast<uint32_t>(random() % 800);
        }
        const double to = last != 0 ? (--last, 0.8) : 0.2;
        trace[t] = t == 0 ? to : trace[t - 1] + std::clamp(to - trace[t - 1], -0.2, 0.06);
    }
    return trace;
}

std::vector<double> leak(uint32_t seconds, Random& random) {
    std::vector<double> trace(seconds);
    double at = unit(random);
    for (uint32_t t = 0; t < seconds; ++t, at += 1.0 / 1800)
        trace[t] = 0.2 + 0.65 * (at - std::floor(at));
    return trace;
}

} // namespace

std::vector<std::vector<double>> needs_of(const Scenario& scenario, const std::vector<Pages>& max,
                                          Pages host) {
    Random random{scenario.seed};
    std::vector<std::vector<double>> needs;
    const uint32_t seconds = scenario.seconds;
    for (uint32_t i = 0; i < scenario.guests; ++i) {
        static constexpr Load mix[] = {Load::Diurnal, Load::Step, Load::Spike, Load::Leak,
                                       Load::Anti};
        const Load load = scenario.load == Load::Mixed ? mix[i % 5] : scenario.load;
        const double own = unit(random);
        switch (load) {
        case Load::Diurnal:
            needs.push_back(diurnal(seconds, random, own));
            break;
        case Load::Step:
            needs.push_back(step(seconds, random));
            break;
        case Load::Spike:
            needs.push_back(spike(seconds, random));
            break;
        case Load::Leak:
            needs.push_back(leak(seconds, random));
            break;
        case Load::Anti:
            needs.push_back(diurnal(seconds, random, i % 2 != 0 ? 0.5 : 0));
            break;
        default: // one push, and then nothing for ever
            needs.emplace_back(seconds, 0.3);
            std::fill_n(needs.back().begin() + std::min(600u, seconds),
                        std::min(300u, seconds - std::min(600u, seconds)), 0.5);
        }
    }
    // So that all of them fit at the worst moment, just.
    double top = 0;
    for (uint32_t t = 0; t < seconds; ++t) {
        double sum = 0;
        for (uint32_t i = 0; i < scenario.guests; ++i)
            sum += needs[i][t] * static_cast<double>(max[i]);
        top = std::max(top, sum);
    }
    const double scale =
        scenario.load == Load::Steady ? 1 : scenario.peak * static_cast<double>(host) / top;
    for (uint32_t i = 0; i < scenario.guests; ++i)
        for (double& need : needs[i])
            need = std::clamp(need * scale, 0.02, 0.95) * static_cast<double>(max[i]);
    return needs;
}

} // namespace xpv::gauge::sim
