/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Module parameters with a range: a value outside is refused, at load and in
 * sysfs, with -EINVAL and one line that names it. Include from one file a module,
 * after pr_fmt.
 */
#pragma once

#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/sysfs.h>

struct xpv_param {
	unsigned int *value;
	unsigned int min, max;
	void (*changed)(void); /* at load too, before the module's init */
};

static int xpv_param_set(const char *text, const struct kernel_param *kernel)
{
	const struct xpv_param *param = kernel->arg;
	unsigned int number;

	if (kstrtouint(text, 0, &number) || number < param->min ||
	    number > param->max) {
		/* What comes through sysfs ends with a line break. */
		pr_err("parameter %s: \"%.*s\" is not a number in %u..%u\n",
		       kernel->name, (int)strcspn(text, "\n"), text, param->min,
		       param->max);
		return -EINVAL;
	}
	WRITE_ONCE(*param->value, number);
	if (param->changed)
		param->changed();
	return 0;
}

static int xpv_param_get(char *buffer, const struct kernel_param *kernel)
{
	const struct xpv_param *param = kernel->arg;

	return sysfs_emit(buffer, "%u\n", READ_ONCE(*param->value));
}

static const struct kernel_param_ops xpv_param_ops = {
	.set = xpv_param_set,
	.get = xpv_param_get,
};

#define XPV_PARAM_CHANGED(name, variable, low, high, mode, changed, text) \
	static const struct xpv_param xpv_param_##name = {                \
		&(variable), low, high, changed                           \
	};                                                                \
	module_param_cb(name, &xpv_param_ops, (void *)&xpv_param_##name,  \
			mode);                                            \
	MODULE_PARM_DESC(name, text)

/* Parameter `name` sets `variable` (unsigned int) to low..high; mode as in sysfs. */
#define XPV_PARAM(name, variable, low, high, mode, text) \
	XPV_PARAM_CHANGED(name, variable, low, high, mode, NULL, text)
/* One that root may change; changed() is called then, one call at a time. */
#define XPV_PARAM_LIVE(name, variable, low, high, changed, text) \
	XPV_PARAM_CHANGED(name, variable, low, high, 0644, changed, text)
