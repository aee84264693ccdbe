// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: grants that we give and grants that others give us. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <xen/grant_table.h>
#include <xen/interface/grant_table.h>
#include <xen/page.h>
#include <asm/xen/hypercall.h>
#include <asm/xen/page.h>

#include "shim/shim.h"

int xpv_gnttab_reserve(uint32_t count, uint32_t *refs)
{
	grant_ref_t head;
	u32 i;

	if (count > U16_MAX || gnttab_alloc_grant_references(count, &head) < 0)
		return -ENOSPC;
	for (i = 0; i < count; i++)
		refs[i] = gnttab_claim_grant_reference(&head);
	return 0;
}

void xpv_gnttab_unreserve(uint32_t count, const uint32_t *refs)
{
	u32 i;

	for (i = 0; i < count; i++)
		gnttab_free_grant_reference(refs[i]);
}

void xpv_gnttab_grant(uint16_t domid, uint32_t count, const uint32_t *refs,
		      struct xpv_page *const *pages, bool readonly)
{
	u32 i;

	for (i = 0; i < count; i++)
		gnttab_page_grant_foreign_access_ref_one(refs[i], domid,
							 xpv_to_page(pages[i]),
							 readonly);
}

uint32_t xpv_gnttab_end(uint32_t count, const uint32_t *refs, bool *ended)
{
	u32 i, n = 0;

	for (i = 0; i < count; i++) {
		ended[i] = gnttab_end_foreign_access_ref(refs[i]);
		n += ended[i];
	}
	return n;
}

uint32_t xpv_gnttab_give_up(uint32_t count, const uint32_t *refs, bool *ended)
{
	u32 i, n = 0;

	for (i = 0; i < count; i++) {
		ended[i] = gnttab_try_end_foreign_access(refs[i]);
		n += ended[i];
	}
	return n;
}

void xpv_gnttab_defer(uint32_t ref, struct xpv_page *page)
{
	gnttab_end_foreign_access(ref, xpv_to_page(page));
}

void xpv_gnttab_copy(struct gnttab_copy *ops, uint32_t count)
{
	u32 i;

	if (likely(!HYPERVISOR_grant_table_op(GNTTABOP_copy, ops, count)))
		return;
	for (i = 0; i < count; i++)
		ops[i].status = GNTST_general_error;
}

uint64_t xpv_gfn_of(const void *address)
{
	return virt_to_gfn((void *)address);
}

int xpv_gnttab_map_pages_alloc(uint32_t count, struct xpv_page **pages)
{
	return gnttab_alloc_pages(count, (struct page **)pages);
}

void xpv_gnttab_map_pages_free(uint32_t count, struct xpv_page **pages)
{
	gnttab_free_pages(count, (struct page **)pages);
}

struct xpv_map_scratch {
	union {
		struct gnttab_map_grant_ref map[XPV_MAP_BATCH];
		struct gnttab_unmap_grant_ref unmap[XPV_MAP_BATCH];
	};
	struct page *pages[XPV_MAP_BATCH];
};

struct xpv_map_scratch *xpv_map_scratch_alloc(void)
{
	return kmalloc(sizeof(struct xpv_map_scratch), GFP_KERNEL);
}

void xpv_map_scratch_free(struct xpv_map_scratch *scratch)
{
	kfree(scratch);
}

static unsigned long page_pte_address(struct page *page)
{
	return (unsigned long)pfn_to_kaddr(page_to_pfn(page));
}

void xpv_gnttab_map(struct xpv_map_scratch *scratch, struct xpv_map_op *ops,
		    uint32_t count)
{
	u32 i, flags;
	int err;

	for (i = 0; i < count; i++) {
		scratch->pages[i] = xpv_to_page(ops[i].page);
		flags = GNTMAP_host_map | (ops[i].readonly ? GNTMAP_readonly : 0);
		gnttab_set_map_op(&scratch->map[i],
				  page_pte_address(scratch->pages[i]), flags,
				  ops[i].ref, ops[i].domid);
	}
	err = gnttab_map_refs(scratch->map, NULL, scratch->pages, count);
	for (i = 0; i < count; i++) {
		ops[i].status = scratch->map[i].status;
		if (err && ops[i].status == GNTST_okay)
			ops[i].status = GNTST_general_error;
		ops[i].handle = scratch->map[i].handle;
	}
}

void xpv_gnttab_unmap(struct xpv_map_scratch *scratch, struct xpv_map_op *ops,
		      uint32_t count)
{
	u32 i;
	int err;

	for (i = 0; i < count; i++) {
		scratch->pages[i] = xpv_to_page(ops[i].page);
		gnttab_set_unmap_op(&scratch->unmap[i],
				    page_pte_address(scratch->pages[i]),
				    GNTMAP_host_map, ops[i].handle);
	}
	err = gnttab_unmap_refs(scratch->unmap, NULL, scratch->pages, count);
	for (i = 0; i < count; i++)
		ops[i].status = err ? GNTST_general_error :
				      scratch->unmap[i].status;
}

int xpv_ring_map(struct xpv_xenbus *bus, const uint32_t *refs, uint32_t count,
		 void **address)
{
	return xenbus_map_ring_valloc(bus->dev, (grant_ref_t *)refs, count,
				      address);
}

void xpv_ring_unmap(struct xpv_xenbus *bus, void *address)
{
	xenbus_unmap_ring_vfree(bus->dev, address);
}
