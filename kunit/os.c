// SPDX-License-Identifier: GPL-2.0-only
/* kunit/os.h in a kernel. */
#include <kunit/test.h>
#include <linux/kernel.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "kunit/os.h"

/* kmalloc aligns as kunit/os.h promises, as long as it is kmalloc: KASAN then
 * sees the first byte past the end too. */
void *xpv_test_alloc(size_t bytes)
{
	void *memory = kvzalloc(bytes, GFP_KERNEL);

	if (!memory)
		panic("xpv: no memory for a test");
	return memory;
}

void xpv_test_free(void *memory)
{
	kvfree(memory);
}

__printf(3, 0) void xpv_test_format(char *text, size_t size, const char *format,
				    __builtin_va_list arguments)
{
	vsnprintf(text, size, format, arguments);
}

void xpv_test_fail(const char *file, int line, const char *text)
{
	struct kunit *test = current->kunit_test;

	if (test)
		KUNIT_FAIL(test, "%s:%d: %s", file, line, text);
	else
		panic("xpv: %s:%d: %s, outside of a test", file, line, text);
}
