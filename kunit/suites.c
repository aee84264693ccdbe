// SPDX-License-Identifier: GPL-2.0-only
/* The tests of cases.h as KUnit suites, xpv_<topic>. */
#include <kunit/test.h>
#include <linux/console.h>
#include <linux/module.h>

/*
 * The kernel reports bad accesses and bad states in its log, not to KUnit. A
 * console reads along: a test during which the kernel complains has failed.
 */
static atomic_t complaints;

static void read_along(struct console *console, const char *text,
		       unsigned int length)
{
	static const char *const marks[] = { "BUG:", "WARNING:", "UBSAN:" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(marks); i++)
		if (strnstr(text, marks[i], length))
			atomic_inc(&complaints);
}

static struct console reader = {
	.name = "xpvtest",
	.write = read_along,
	.flags = CON_ENABLED,
	.index = -1,
};

static int before_case(struct kunit *test)
{
	atomic_set(&complaints, 0);
	return 0;
}

static void after_case(struct kunit *test)
{
	if (atomic_read(&complaints))
		KUNIT_FAIL(test, "the kernel complained, see its log");
}

#define SUITE(topic)
#define CASE(name) void name(struct kunit *test);
#define END_SUITE(topic)
#define END_SUITE_THAT_FAILS(topic)
#include "kunit/cases.h"

/* clang-format off */
#define SUITE(topic) static struct kunit_case topic##_cases[] = {
#define CASE(name) KUNIT_CASE(name),
#define END_SUITE(topic) END_NAMED_SUITE(topic, "xpv_" #topic)
#define END_SUITE_THAT_FAILS(topic) END_NAMED_SUITE(topic, "fails_" #topic)
#define END_NAMED_SUITE(topic, shown)                                          \
	{}                                                                     \
	}                                                                      \
	;                                                                      \
	static struct kunit_suite topic##_suite = {                            \
		.name = shown,                                                 \
		.init = before_case,                                           \
		.exit = after_case,                                            \
		.test_cases = topic##_cases,                                   \
	};                                                                     \
	kunit_test_suite(topic##_suite);
/* clang-format on */
#include "kunit/cases.h"

/* Before KUnit looks for suites: it waits for the initcalls, or for the module. */
static int __init suites_init(void)
{
	register_console(&reader);
	return 0;
}
module_init(suites_init);

static void __exit suites_exit(void)
{
	unregister_console(&reader);
}
module_exit(suites_exit);

MODULE_DESCRIPTION("KUnit suites of the xpv drivers");
MODULE_VERSION(XPV_VERSION);
MODULE_LICENSE("GPL");
