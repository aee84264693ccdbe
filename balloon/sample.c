// SPDX-License-Identifier: GPL-2.0-only
/* balloon/abi.h: what the guest looks like, and Linux's own driver. */
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/swap.h>
#include <xen/balloon.h>
#include <asm/xen/hypercall.h>

#include "balloon/balloon.h"

static u64 less(u64 a, u64 b)
{
	return a > b ? a - b : 0;
}

static unsigned long node_pages(enum node_stat_item item)
{
	return global_node_page_state_pages(item);
}

static unsigned long watermarks(void)
{
	unsigned long pages = 0;
	struct zone *zone;
	int node, i;

	for_each_online_node(node)
	{
		for (i = 0; i < MAX_NR_ZONES; i++) {
			zone = &NODE_DATA(node)->node_zones[i];
			pages += high_wmark_pages(zone);
		}
	}
	return pages;
}

void xpv_balloon_os_sample(struct xpv_balloon_os *os,
			   struct xpv_balloon_sample *sample)
{
	const u64 file = node_pages(NR_ACTIVE_FILE) + node_pages(NR_INACTIVE_FILE);
	const u64 slab = node_pages(NR_SLAB_RECLAIMABLE_B);
	int i;

	sample->free = global_zone_page_state(NR_FREE_PAGES);
	sample->available = max(si_mem_available(), 0L);
	sample->cache = less(file, node_pages(NR_FILE_DIRTY) + node_pages(NR_WRITEBACK));
	sample->anonymous = node_pages(NR_ACTIVE_ANON) + node_pages(NR_INACTIVE_ANON);
	sample->unevictable = node_pages(NR_UNEVICTABLE);
	sample->slab_fixed = node_pages(NR_SLAB_UNRECLAIMABLE_B);
	/* All else: stacks, page tables, what drivers and the boot have taken. */
	sample->kernel = os->reserved +
			 less(totalram_pages(),
			      sample->free + file + sample->anonymous + slab +
				      sample->unevictable + sample->slab_fixed);
	sample->watermarks = watermarks();
	sample->refaults = node_pages(WORKINGSET_REFAULT_ANON) +
			   node_pages(WORKINGSET_REFAULT_FILE);
	sample->swap = get_nr_swap_pages() > 0;

	all_vm_events(os->vm_events);
	sample->direct_reclaims = 0;
	for (i = ALLOCSTALL_NORMAL; i <= ALLOCSTALL_MOVABLE; i++)
		sample->direct_reclaims += os->vm_events[i];
}

uint64_t xpv_balloon_os_now_ns(struct xpv_balloon_os *os)
{
	return ktime_get_ns();
}

#if IS_ENABLED(CONFIG_XEN_BALLOON)
bool balloon_stock_present(void)
{
	return true;
}

void xpv_balloon_os_stock(struct xpv_balloon_os *os,
			  struct xpv_balloon_stock *stock)
{
	stock->present = true;
	stock->current_pages = READ_ONCE(balloon_stats.current_pages);
	stock->target = READ_ONCE(balloon_stats.target_pages);
	stock->total = READ_ONCE(balloon_stats.total_pages);
}

void xpv_balloon_os_set_stock(struct xpv_balloon_os *os, uint64_t target,
			      bool still)
{
	WRITE_ONCE(os->still, still);
	balloon_set_new_target(target);
}

void balloon_stock_still(void)
{
	balloon_set_new_target(READ_ONCE(balloon_stats.current_pages));
}
#else
bool balloon_stock_present(void)
{
	return false;
}

void xpv_balloon_os_stock(struct xpv_balloon_os *os,
			  struct xpv_balloon_stock *stock)
{
	*stock = (struct xpv_balloon_stock){
		.current_pages = os->boot_pages,
		.target = os->boot_pages,
		.total = os->boot_pages,
	};
}

void xpv_balloon_os_set_stock(struct xpv_balloon_os *os, uint64_t target,
			      bool still)
{
}

void balloon_stock_still(void)
{
}
#endif

void balloon_stock_init(struct xpv_balloon_os *os)
{
	struct xpv_balloon_stock stock;
	domid_t self = DOMID_SELF;
	long pages;

	/* Frames of a PV guest that never had memory are no pages of its own. */
	pages = xen_pv_domain() ? HYPERVISOR_memory_op(XENMEM_current_reservation, &self) :
				  get_num_physpages();
	os->boot_pages = max(pages, 1L);
	xpv_balloon_os_stock(os, &stock);
	os->reserved = less(stock.current_pages, totalram_pages());
}
