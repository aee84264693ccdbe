// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/meter.hpp"

#include <algorithm>

namespace xpv::gauge {
namespace {

constexpr uint32_t top = balloon::level_count - 1;

} // namespace

Pressure pressure_of(Kib available, const Band& band) noexcept {
    if (available <= band.lo || band.hi <= band.lo)
        return available >= band.hi && band.hi > band.lo ? 0 : full;
    if (available >= band.hi)
        return 0;
    // KiB of any host times a million fit: 2^44.
    return static_cast<Pressure>((band.hi - available) * full / (band.hi - band.lo));
}

Pressure weighted(Pressure pressure, uint32_t weight) noexcept {
    constexpr Pressure middle = full / 2;
    if (pressure <= middle || pressure == full)
        return pressure;
    const uint64_t above = uint64_t{pressure - middle} * 100 / weight;
    return static_cast<Pressure>(std::min<uint64_t>(middle + above, full));
}

uint32_t Needle::move(Pressure pressure) noexcept {
    // In quarters of a level.
    const uint64_t at = uint64_t{pressure} * top * 4;
    const auto nearest = static_cast<uint32_t>((at / 4 + full / 2) / full);
    const uint64_t here = uint64_t{step_} * 4 * full;
    if (!moved_ || at >= here + 3 * uint64_t{full} || at + 3 * uint64_t{full} <= here)
        step_ = std::min(nearest, top);
    moved_ = true;
    return step_;
}

} // namespace xpv::gauge
