// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: one end of a device. Until shim/end.c is there for all drivers. */
#include "blkfront/blkfront.h"

void xpv_end_poke(struct xpv_xenbus *bus, enum xpv_event event,
		  uint32_t delay_ms)
{
	struct xpv_blkfront_os *os =
		container_of(bus, struct xpv_blkfront_os, bus);
	struct blkfront_poke *poke = &os->pokes[BLKFRONT_CHANGED];

	if (event == XPV_BROKE)
		poke = &os->pokes[BLKFRONT_BROKE];
	if (event == XPV_RENEW)
		poke = &os->pokes[BLKFRONT_RENEW];
	queue_delayed_work(blkfront_works, &poke->work,
			   msecs_to_jiffies(delay_ms));
}

bool xpv_end_wait(struct xpv_xenbus *bus, uint16_t mask, uint32_t timeout_ms)
{
	return xpv_wait_peer(bus->dev, mask, timeout_ms);
}
