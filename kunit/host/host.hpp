// SPDX-License-Identifier: GPL-2.0-only
#pragma once

namespace xpv::host {

// Failed checks so far. A fuzz target stops when it is not 0.
extern unsigned failures;

} // namespace xpv::host
