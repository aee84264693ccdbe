/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fixed-width integers for headers that C shims and C++ share. The kernel's
 * own names in C, the compiler's freestanding headers in C++.
 */
#ifndef XPV_CORE_TYPES_H
#define XPV_CORE_TYPES_H

#ifdef __cplusplus
#include <stddef.h>
#include <stdint.h>
#define XPV_BEGIN_DECLS extern "C" {
#define XPV_END_DECLS }
#elif defined(__KERNEL__)
#include <linux/types.h>
#define XPV_BEGIN_DECLS
#define XPV_END_DECLS
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define XPV_BEGIN_DECLS
#define XPV_END_DECLS
#endif

#endif
