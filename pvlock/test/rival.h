/* SPDX-License-Identifier: GPL-2.0-only */
/* A user of ftrace's direct calls beside kernel=1, where the kernel has them. */
#ifndef XPV_PVLOCK_TEST_RIVAL_H
#define XPV_PVLOCK_TEST_RIVAL_H

struct dentry;

/* The file "rival" in a folder of debugfs. */
void rival_init(struct dentry *folder);
/* After the folder is gone. */
void rival_exit(void);
void xpv_pvlock_rival(void);

#endif
