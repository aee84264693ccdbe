/* SPDX-License-Identifier: GPL-2.0-only */
/* Of kunit/cases.h. */
SUITE(takeover)
CASE(takeover_hooks_what_waits)
CASE(takeover_keeps_its_hooks)
CASE(takeover_ends_whatever_it_did)
CASE(takeover_refuses)
CASE(takeover_that_fails_leaves_nothing)
END_SUITE(takeover)
