// SPDX-License-Identifier: GPL-2.0-only
// What gauge-sim measures besides one run: the border of stability, and the leak.
#pragma once

#include "gauge/sim/world.hpp"

namespace xpv::gauge::sim {

struct Border {
    double over_commit = 0;
    uint32_t band = 0; // percent of the host
    // Seconds of delay: below `proven` guests cannot swing, at `estimate` they should
    // begin to, from `found` on they do. docs/GAUGE.md has the formulas.
    double proven = 0, estimate = 0, found = 0;
};

// Whether free memory still swings across the dead band at the end of a run.
bool swings(const Result& result, double lo, double width);
// A push, and then nothing for ever, with more and more delay.
Border border_of(double over_commit, uint32_t band);
// Whether a host with gauged's own band comes to rest, words being late by so much.
bool rests(double over_commit, uint32_t store_s);

// After needs went from 30 to 50 % of max for five minutes, and back: seconds until no level
// moves by more than one step any more.
uint32_t settles_s(double over_commit);

struct Leak {
    uint32_t interval_s, jitter_s;
    double amplitude; // levels
    double bits;      // per second, at the best length of a bit
    double bound;     // log2(levels) / interval
};
// A neighbour sends bits by taking and giving memory, a guest reads its gauge.
Leak leak_of(uint32_t interval_s, uint32_t jitter_s, double amplitude);
// The same neighbour, and a guest that populates until it fails, once a second.
double leak_by_populating(double amplitude);

} // namespace xpv::gauge::sim
