/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fakes need of whatever runs them: a kernel under KUnit, or a process
 * on the host (fuzz/). Plain C.
 */
#ifndef XPV_KUNIT_OS_H
#define XPV_KUNIT_OS_H

#include "core/types.h"

XPV_BEGIN_DECLS

/* Zeroed memory; a multiple of 4096 bytes is aligned to 4096. Never NULL: a run
 * without memory ends here. */
void *xpv_test_alloc(size_t bytes);
void xpv_test_free(void *memory);

/* vsnprintf(); size in bytes, at least 1. */
void xpv_test_format(char *text, size_t size, const char *format,
		     __builtin_va_list arguments);

/* Fail the running test, and go on. */
void xpv_test_fail(const char *file, int line, const char *text);

XPV_END_DECLS

#endif
