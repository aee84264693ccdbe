// SPDX-License-Identifier: GPL-2.0-only
// What the daemon knows, as a table or as one line of JSON.
#pragma once

#include <map>
#include <string>

#include "gauge/policy.hpp"
#include "gauge/says.hpp"

namespace xpv::gauge {

using Says = std::map<uint32_t, GuestSays>;

std::string as_json(uint64_t time_ms, const Host& host, const Policy& policy, const Says& says);
std::string as_table(const Host& host, const Policy& policy, const Says& says);

} // namespace xpv::gauge
