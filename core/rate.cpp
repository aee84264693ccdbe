// SPDX-License-Identifier: GPL-2.0-only
#include "core/rate.hpp"

#include "core/xenstore.hpp"

namespace xpv {

Result<Rate> Rate::parse(const char* text) noexcept {
    char number[21] = {};
    uint32_t length = 0;
    for (; *text != ',' && *text != '\0' && length + 1 < sizeof(number); ++text)
        number[length++] = *text;
    if (*text != ',')
        return Error::Invalid;
    uint64_t bytes = 0;
    uint32_t period_us = 0;
    XPV_TRY_SET(bytes, parse_number64(number));
    XPV_TRY_SET(period_us, parse_number(text + 1));
    return of(bytes, period_us);
}

} // namespace xpv
