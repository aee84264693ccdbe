// SPDX-License-Identifier: GPL-2.0-only
// Included first in host builds: a test may look in between any two steps of
// core/barrier.hpp, where another CPU, or the other domain, may do anything.
#pragma once

// What to call before each; nullptr: nothing.
extern "C" void (*xpv_test_step)();

#define XPV_TEST_STEPS 1
#define XPV_STEP() (xpv_test_step == nullptr ? static_cast<void>(0) : xpv_test_step())
#define XPV_LOCKED() XPV_STEP()
#define XPV_FENCE() static_cast<void>(0)
#define XPV_FROM(address) (address)
#define XPV_TO(address) (address)
