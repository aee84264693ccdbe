/* SPDX-License-Identifier: GPL-2.0-only */
/* Of kunit/cases.h. */
SUITE(net_features)
CASE(net_features_both_agree)
CASE(net_features_nodes)
CASE(net_features_written)
CASE(net_features_need_copy)
CASE(net_features_each_write_fails)
END_SUITE(net_features)

SUITE(net_place)
CASE(net_place_is_read_as_written)
CASE(net_place_keys)
CASE(net_place_bad_nodes)
CASE(net_place_leftovers)
CASE(net_place_each_step_fails)
END_SUITE(net_place)
