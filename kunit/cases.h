/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every test, in the order of its run, by the folder that it is about; included several
 * times, no guard. A test that is not listed does not compile (-Wmissing-declarations).
 *
 *   SUITE(topic)                    kunit.py knows it as xpv_topic
 *   CASE(topic_what_it_shows)       .../topic_test.cpp: TEST(topic_what_it_shows) {...}
 *   END_SUITE(topic)
 */
#include "kunit/cases/core.h"
#include "kunit/cases/net.h"
#include "kunit/cases/netfront.h"
#include "kunit/cases/netback.h"
#include "kunit/cases/blkfront.h"
#include "kunit/cases/balloon.h"
#include "kunit/cases/pvlock.h"

/* Each of these fails, and scripts/kunit --selftest demands that it does: a suite
 * that only UML has, left out of an ordinary run by its name, fails_selftest. */
#ifdef XPV_KUNIT_SELFTEST
SUITE(selftest)
CASE(selftest_check)
CASE(selftest_check_eq)
CASE(selftest_check_streq)
CASE(selftest_expect_goes_on)
CASE(selftest_inside_a_call)
CASE(selftest_use_after_free)
CASE(selftest_out_of_bounds)
CASE(selftest_undefined)
END_SUITE_THAT_FAILS(selftest)
#endif

#undef SUITE
#undef CASE
#undef END_SUITE
#undef END_SUITE_THAT_FAILS
