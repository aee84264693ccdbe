// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "gauge/sim/world.hpp"

namespace xpv::gauge::sim {

// An SVG of one scenario over time: what is unmet under each manager, and what the host
// and its guests do under the gauge.
std::string picture(const Scenario& scenario);

} // namespace xpv::gauge::sim
