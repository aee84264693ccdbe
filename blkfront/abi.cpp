// SPDX-License-Identifier: GPL-2.0-only
// The downcalls of abi.h.
#include "blkfront/device.hpp"

xpv_blkfront* xpv_blkfront_create(xpv_xenbus* bus, xpv_blkfront_os* os,
                                  const xpv_blkfront_settings* settings) {
    void* const memory = xpv_alloc(sizeof(xpv_blkfront));
    if (memory == nullptr)
        return nullptr;
    auto* const device = new (memory) xpv_blkfront{bus, os, *settings};
    if (device->create().ok())
        return device;
    xpv_blkfront_destroy(device);
    return nullptr;
}

void xpv_blkfront_destroy(xpv_blkfront* device) {
    if (device != nullptr)
        device->~xpv_blkfront();
    xpv_free(device);
}

int xpv_blkfront_identity(xpv_blkfront* device, xpv_blkfront_name* name) {
    const xpv::Result<xpv_blkfront_name> read = device->name();
    if (read.ok())
        *name = read.value();
    return read.ok() ? 0 : to_errno(read.error());
}

int xpv_blkfront_handle(xpv_blkfront* device, xpv_event event) { return device->handle(event); }

void xpv_blkfront_set(xpv_blkfront* device, const xpv_blkfront_settings* settings) {
    device->set(*settings);
}

void xpv_blkfront_tick(xpv_blkfront* device) { device->tick(); }

void xpv_blkfront_fail_all(xpv_blkfront* device) { device->fail_all(); }

void xpv_blkfront_submit(xpv_blkfront* device, uint32_t queue, xpv_blkfront_request* first,
                         bool more) {
    device->submit(queue, first, more);
}

void xpv_blkfront_commit(xpv_blkfront* device, uint32_t queue) { device->commit(queue); }

bool xpv_blkfront_look(xpv_blkfront* device, uint32_t ring) { return device->look(ring); }

bool xpv_blkfront_poll(xpv_blkfront* device, uint32_t queue) { return device->poll(queue); }

void xpv_blkfront_timeout(xpv_blkfront* device, xpv_blkfront_request* request) {
    device->timeout(*request);
}

const xpv_blkfront_counters* xpv_blkfront_ring_counters(const xpv_blkfront* device, uint32_t ring) {
    return &device->counters(xpv::QueueIndex{ring});
}

void xpv_blkfront_view_ring(xpv_blkfront* device, uint32_t ring, xpv_blkfront_view* view) {
    device->view(ring, *view);
}

void xpv_blkfront_summarise(xpv_blkfront* device, xpv_blkfront_summary* summary) {
    device->summary(*summary);
}
