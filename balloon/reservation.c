// SPDX-License-Identifier: GPL-2.0-only
/*
 * balloon/abi.h: Xen. Where Xen translates for us (PVH), memory comes and goes by frames of
 * the guest. A PV guest has machine frames: they leave the kernel's mapping and its table
 * of frames (p2m) before they go, and enter both when they come.
 */
#include <linux/mm.h>
#include <xen/features.h>
#include <xen/page.h>
#include <asm/xen/hypercall.h>
#include <asm/xen/page.h>

#include "balloon/balloon.h"

static bool translated(void)
{
	return xen_feature(XENFEAT_auto_translated_physmap);
}

static long memory_op(struct xpv_balloon_os *os, unsigned int cmd, u32 order,
		      u32 count)
{
	struct xen_memory_reservation reservation = {
		.nr_extents = count,
		.extent_order = order,
		.domid = DOMID_SELF,
	};

	set_xen_guest_handle(reservation.extent_start, os->frames);
	return HYPERVISOR_memory_op(cmd, &reservation);
}

#ifdef CONFIG_XEN_PV
/* The entry of the direct mapping for a frame; its neighbours of the extent follow. */
static u64 entry_of(u64 pfn)
{
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)__va(pfn << PAGE_SHIFT), &level);

	if (WARN_ON_ONCE(!pte || level != PG_LEVEL_4K))
		return 0;
	return virt_to_machine(pte).maddr;
}

/* Entries of the pages [from, to) of a batch: mapped to os->mfns[], or to nothing. Pages
 * done, from the first.
 */
static u32 map_pages(struct xpv_balloon_os *os, u32 order, u32 from, u32 to,
		     const uint64_t *pfns, bool map)
{
	u64 entry = 0;
	int done = 0;
	u32 i;

	for (i = from; i < to; i++) {
		struct mmu_update *update = &os->updates[i - from];

		if (i == from || !(i & ((1U << order) - 1)))
			entry = entry_of(pfns[i >> order] +
					 (i & ((1U << order) - 1)));
		else if (entry)
			entry += sizeof(pte_t);
		if (!entry)
			break;
		update->ptr = entry | MMU_NORMAL_PT_UPDATE;
		update->val = map ? pte_val_ma(mfn_pte(os->mfns[i], PAGE_KERNEL)) :
				    0;
	}
	if (i > from)
		HYPERVISOR_mmu_update(os->updates, i - from, &done, DOMID_SELF);
	return done;
}

/* What the table of frames says of the pages [from, to). */
static void set_frames(struct xpv_balloon_os *os, u32 order, u32 from, u32 to,
		       const uint64_t *pfns, bool known)
{
	u32 i;

	for (i = from; i < to; i++) {
		u64 pfn = pfns[i >> order] + (i & ((1U << order) - 1));

		/* RAM has a leaf of its own in the table. */
		WARN_ON_ONCE(xen_safe_write_ulong(xen_p2m_addr + pfn,
						  known ? os->mfns[i] : INVALID_P2M_ENTRY));
	}
}

static void flush_all(void)
{
	struct mmuext_op op = { .cmd = MMUEXT_TLB_FLUSH_ALL };

	WARN_ON_ONCE(HYPERVISOR_mmuext_op(&op, 1, NULL, DOMID_SELF));
}

static u32 pv_detach(struct xpv_balloon_os *os, u32 order, u32 count,
		     const uint64_t *pfns)
{
	u32 i, done, whole;

	for (i = 0; i < count << order; i++)
		os->mfns[i] = pfn_to_mfn(pfns[i >> order] +
					 (i & ((1U << order) - 1)));
	done = map_pages(os, order, 0, count << order, pfns, false);
	whole = done >> order;
	if (done != whole << order)
		WARN_ON_ONCE(map_pages(os, order, whole << order, done, pfns,
				       true) != done - (whole << order));
	set_frames(os, order, 0, whole << order, pfns, false);
	flush_all();
	return whole;
}

static u32 pv_attach(struct xpv_balloon_os *os, u32 order, u32 from, u32 count,
		     const uint64_t *pfns)
{
	set_frames(os, order, from << order, count << order, pfns, true);
	return map_pages(os, order, from << order, count << order, pfns, true) >>
	       order;
}
#else
static u32 pv_detach(struct xpv_balloon_os *os, u32 order, u32 count,
		     const uint64_t *pfns)
{
	return 0;
}

static u32 pv_attach(struct xpv_balloon_os *os, u32 order, u32 from, u32 count,
		     const uint64_t *pfns)
{
	return 0;
}
#endif

uint32_t xpv_balloon_os_detach(struct xpv_balloon_os *os, uint32_t order,
			       uint32_t count, const uint64_t *pfns)
{
	return translated() ? count : pv_detach(os, order, count, pfns);
}

uint32_t xpv_balloon_os_reattach(struct xpv_balloon_os *os, uint32_t order,
				 uint32_t from, uint32_t count,
				 const uint64_t *pfns)
{
	return translated() ? count - from :
			      pv_attach(os, order, from, count, pfns);
}

int xpv_balloon_os_decrease(struct xpv_balloon_os *os, uint32_t order,
			    uint32_t count, const uint64_t *pfns)
{
	long done;
	u32 i;

	if (translated()) {
		for (i = 0; i < count; i++)
			os->frames[i] = pfns[i];
		return memory_op(os, XENMEM_decrease_reservation, order, count);
	}
	/* Machine frames of an extent need not be neighbours. */
	for (i = 0; i < count << order; i++)
		os->frames[i] = os->mfns[i];
	done = memory_op(os, XENMEM_decrease_reservation, 0, count << order);
	return done < 0 ? done : done >> order;
}

int xpv_balloon_os_populate(struct xpv_balloon_os *os, uint32_t order,
			    uint32_t count, const uint64_t *pfns)
{
	u32 i;

	for (i = 0; i < count; i++)
		os->frames[i] = pfns[i];
	return memory_op(os, XENMEM_populate_physmap, order, count);
}

uint32_t xpv_balloon_os_attach(struct xpv_balloon_os *os, uint32_t order,
			       uint32_t count, const uint64_t *pfns)
{
	u32 i;

	if (translated())
		return count;
	/* Xen has put the first machine frame of each in the place of the guest's. */
	for (i = 0; i < count << order; i++)
		os->mfns[i] = os->frames[i >> order] + (i & ((1U << order) - 1));
	return pv_attach(os, order, 0, count, pfns);
}
