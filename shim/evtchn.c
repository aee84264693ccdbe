// SPDX-License-Identifier: GPL-2.0-only
/* core/kapi.h: event channels, with late EOI. */
#include <linux/interrupt.h>
#include <linux/slab.h>
#include <xen/events.h>

#include "shim/shim.h"

struct xpv_evtchn {
	int irq;
	xpv_evtchn_handler handler;
	void *context;
	char name[32]; /* for /proc/interrupts */
};

static irqreturn_t evtchn_interrupt(int irq, void *data)
{
	struct xpv_evtchn *channel = data;

	channel->irq = irq; /* the first event may come before bind returns */
	channel->handler(channel->context);
	return IRQ_HANDLED;
}

static struct xpv_evtchn *evtchn_new(const char *name,
				     xpv_evtchn_handler handler, void *context)
{
	struct xpv_evtchn *channel = kzalloc(sizeof(*channel), GFP_KERNEL);

	if (!channel)
		return NULL;
	channel->handler = handler;
	channel->context = context;
	strscpy(channel->name, name, sizeof(channel->name));
	return channel;
}

int xpv_evtchn_offer(struct xpv_xenbus *bus, const char *name,
		     xpv_evtchn_handler handler, void *context,
		     struct xpv_evtchn **channel, uint32_t *port)
{
	struct xpv_evtchn *new = evtchn_new(name, handler, context);
	evtchn_port_t local;
	int err;

	if (!new)
		return -ENOMEM;
	err = xenbus_alloc_evtchn(bus->dev, &local);
	if (err)
		goto free;
	/* *channel first: the handler may run before this returns. */
	*channel = new;
	*port = local;
	err = bind_evtchn_to_irqhandler_lateeoi(local, evtchn_interrupt, 0,
						new->name, new);
	if (err < 0)
		goto close;
	new->irq = err;
	return 0;
close:
	*channel = NULL;
	xenbus_free_evtchn(bus->dev, local);
free:
	kfree(new);
	return err;
}

int xpv_evtchn_bind(struct xpv_xenbus *bus, uint32_t peer_port,
		    const char *name, xpv_evtchn_handler handler, void *context,
		    struct xpv_evtchn **channel)
{
	struct xpv_evtchn *new = evtchn_new(name, handler, context);
	int err;

	if (!new)
		return -ENOMEM;
	*channel = new;
	err = bind_interdomain_evtchn_to_irqhandler_lateeoi(bus->dev, peer_port,
							    evtchn_interrupt, 0,
							    new->name, new);
	if (err < 0) {
		*channel = NULL;
		kfree(new);
		return err;
	}
	new->irq = err;
	return 0;
}

void xpv_evtchn_unbind(struct xpv_evtchn *channel)
{
	unbind_from_irqhandler(channel->irq, channel);
	kfree(channel);
}

void xpv_evtchn_notify(struct xpv_evtchn *channel)
{
	notify_remote_via_irq(channel->irq);
}

void xpv_evtchn_eoi(struct xpv_evtchn *channel, bool spurious)
{
	xen_irq_lateeoi(channel->irq, spurious ? XEN_EOI_FLAG_SPURIOUS : 0);
}
