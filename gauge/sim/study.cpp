// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/sim/study.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

namespace xpv::gauge::sim {
namespace {

constexpr uint32_t quiet_from = 3000, seconds = 4800;

Scenario pushed(double over_commit, uint32_t store_s) {
    Scenario scenario;
    scenario.load = Load::Steady;
    scenario.over_commit = over_commit;
    scenario.seconds = seconds;
    scenario.store_s = store_s;
    return scenario;
}

double entropy(double p) {
    return p <= 0 || p >= 1 ? 0 : -p * std::log2(p) - (1 - p) * std::log2(1 - p);
}

// Bits that a symbol carries, of pairs (sent, received).
double information(const double (&count)[2][2]) {
    const double n = count[0][0] + count[0][1] + count[1][0] + count[1][1];
    double conditional = 0;
    for (const auto& row : count)
        if (const double sent = row[0] + row[1]; sent > 0)
            conditional += sent / n * entropy(row[1] / sent);
    return entropy((count[0][1] + count[1][1]) / n) - conditional;
}

// What is seen of each bit against the threshold that tells most.
double best_information(const std::vector<std::pair<bool, double>>& seen) {
    std::vector<double> values;
    for (const auto& [sent, value] : seen)
        values.push_back(value);
    std::sort(values.begin(), values.end());
    double best = 0;
    for (size_t i = 0; i < values.size(); i += std::max<size_t>(values.size() / 64, 1)) {
        double count[2][2] = {};
        for (const auto& [sent, value] : seen)
            count[sent][value >= values[i]] += 1;
        best = std::max(best, information(count));
    }
    return best;
}

constexpr Kib gib = 1024 * 1024;
constexpr Kib total = 64 * gib;
constexpr double noise = 20 * 1024; // KiB, what the other guests do meanwhile
constexpr uint32_t bits = 3000;

// bits per second at the best length of a bit; observe(t, free) is what is seen then.
template <class Observe> double modulate(double amplitude, Observe make) {
    const double level = static_cast<double>(total) / 10 / 7;
    double best = 0;
    for (const uint32_t tau : {1u, 2u, 4u, 8u, 12u, 16u, 24u, 40u, 64u}) {
        auto observe = make();
        std::mt19937_64 random{tau};
        std::normal_distribution<double> other{0, noise};
        std::vector<std::pair<bool, double>> seen;
        uint64_t t = 0;
        for (uint32_t i = 0; i < bits; ++i) {
            const bool bit = random() >> 63;
            double sum = 0;
            uint32_t count = 0;
            for (uint32_t s = 0; s < tau; ++s, ++t) {
                // Round the middle of the band: lo and half of it.
                const double free = static_cast<double>(total) * 0.06 +
                                    (bit ? -amplitude : amplitude) * level + other(random);
                const double value = observe(t, static_cast<Kib>(std::max(free, 0.0)));
                if (2 * s + 1 >= tau) {
                    sum += value;
                    ++count;
                }
            }
            seen.emplace_back(bit, sum / count);
        }
        best = std::max(best, best_information(seen) / tau);
    }
    return best;
}

} // namespace

bool swings(const Result& result, double lo, double width) {
    // From plenty, where guests grow, to scarcity, where they give, and back, again and again.
    uint32_t turns = 0;
    bool low = false;
    for (size_t t = quiet_from; t < result.moments.size(); ++t) {
        const double pressure = (lo + width - result.moments[t].free) / width;
        if (low ? pressure < 5 / 14.0 : pressure > 9 / 14.0) {
            low = !low;
            ++turns;
        }
    }
    return turns >= 4;
}

Border border_of(double over_commit, uint32_t band) {
    Border border{over_commit, band};
    uint32_t swinging = 0;
    double s = 0, u = 0, host = 0;
    for (uint32_t store = 0; store < 120; store += 2) {
        Scenario scenario = pushed(over_commit, store);
        scenario.config.widen = false;
        scenario.config.band = {0, band};
        scenario.config.interval_s = 1;
        scenario.config.jitter_s = 0;
        scenario.config.ttl_s = 600;
        const Result result = run(scenario, Manager::Gauge);
        host = result.moments.back().free + result.moments.back().held;
        if (swings(result, host / 100, host * band / 100)) {
            if (++swinging == 3) {            // and not a chance
                border.found = store - 2 + 2; // the poll and the guest's tick are two more
                break;
            }
            continue;
        }
        swinging = 0;
        s = u = 0;
        for (size_t t = quiet_from; t < result.moments.size(); ++t) {
            s += (result.moments[t].held - result.moments[t].need) / (seconds - quiet_from);
            u += (host * over_commit - result.moments[t].held) / (seconds - quiet_from);
        }
    }
    constexpr double k = 0.01;
    const double width = host * band / 100;
    // Growth, at k/2 of the room at most, that stops a delay after it reached the dead band
    // of two levels and a half does not come out of it at the other end.
    border.proven = 2.5 / 7 * width / (k / 2 * u);
    // Harmonic balance: levels 3 and 4 say nothing, the next ones speak of 1.5 levels, 1.25
    // from the middle; the mean of both directions' gains.
    constexpr double says = 1.5, from = 1.25;
    constexpr double gain = 2 * says / (std::numbers::pi * from);
    border.estimate = std::numbers::pi / 2 / gain * width / (k * (s + u / 2));
    return border;
}

bool rests(double over_commit, uint32_t store_s) {
    const Scenario scenario = pushed(over_commit, store_s);
    const Result result = run(scenario, Manager::Gauge);
    const double host = result.moments.back().free + result.moments.back().held;
    const double swing = host * (over_commit + std::min(over_commit, 1.0)) / 2;
    const double width = static_cast<double>(stable_width(static_cast<Kib>(swing), 12));
    return !swings(result, host / 100, std::max(width, host / 10));
}

uint32_t settles_s(double over_commit) {
    constexpr uint32_t over = 900; // needs_of()
    const uint32_t last = run(pushed(over_commit, 0), Manager::Gauge).metrics.settled_s;
    return last > over ? last - over : 0;
}

Leak leak_of(uint32_t interval_s, uint32_t jitter_s, double amplitude) {
    Leak leak{interval_s, jitter_s, amplitude, 0, 0};
    leak.bound = std::log2(balloon::level_count) / interval_s;
    leak.bits = modulate(amplitude, [&] {
        Config config;
        config.interval_s = interval_s;
        config.jitter_s = jitter_s;
        config.ttl_s = 4 * (interval_s + jitter_s);
        return [policy = Policy{config, 7, 1}, level = 0.0,
                domains = std::vector<Domain>{{1, "u", "n", gib, gib}}](uint64_t t,
                                                                        Kib free) mutable {
            for (const Publication& one : policy.step(t * 1000, {total, free, 0}, domains, false))
                level = one.word.level;
            return level;
        };
    });
    return leak;
}

double leak_by_populating(double amplitude) {
    return modulate(amplitude,
                    [] { return [](uint64_t, Kib free) { return -static_cast<double>(free); }; });
}

} // namespace xpv::gauge::sim
