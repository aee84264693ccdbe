// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: memory and time. */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "shim/shim.h"

void *xpv_alloc(size_t bytes)
{
	return kvzalloc(bytes, GFP_KERNEL);
}

void xpv_free(void *memory)
{
	kvfree(memory);
}

struct xpv_page *xpv_page_alloc(enum xpv_alloc_mode mode)
{
	gfp_t gfp = mode == XPV_ALLOC_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;

	return xpv_from_page(alloc_page(gfp | __GFP_ZERO | __GFP_NOWARN));
}

void xpv_page_free(struct xpv_page *page)
{
	__free_page(xpv_to_page(page));
}

void *xpv_page_address(struct xpv_page *page)
{
	return page_address(xpv_to_page(page));
}

int xpv_pages_alloc(uint32_t count, struct xpv_page **pages)
{
	u8 *address = alloc_pages_exact(count * PAGE_SIZE,
					GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	u32 i;

	if (!address)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pages[i] = xpv_from_page(virt_to_page(address + i * PAGE_SIZE));
	return 0;
}

void xpv_page_hold(struct xpv_page *page)
{
	get_page(xpv_to_page(page));
}

uint64_t xpv_now_ms(void)
{
	return jiffies64_to_msecs(get_jiffies_64());
}

uint64_t xpv_now_ns(void)
{
	return ktime_get_ns();
}

void xpv_sleep_ms(uint32_t ms)
{
	msleep(ms);
}
