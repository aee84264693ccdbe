// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

namespace xpv::fake {

PeerGrants::PeerGrants(Account& account, Memory& memory) noexcept
    : account_{account}, memory_{memory}, table_{static_cast<Entry*>(
                                              xpv_test_alloc(max_refs * sizeof(Entry)))},
      maps_{static_cast<Mapping*>(xpv_test_alloc(max_maps * sizeof(Mapping)))},
      rings_{static_cast<Ring*>(xpv_test_alloc(max_rings * sizeof(Ring)))} {}

PeerGrants::~PeerGrants() {
    for (uint32_t i = first_ref; i < next_ref_; ++i) {
        for (uint32_t page = 0; page < table_[i].block; ++page)
            if (xpv_page* found = memory_.find(table_[i].bytes + page * page_size))
                memory_.unmake(found);
        if (table_[i].block != 0)
            xpv_test_free(table_[i].bytes);
    }
    xpv_test_free(table_);
    xpv_test_free(maps_);
    xpv_test_free(rings_);
}

PeerGrants::Entry* PeerGrants::entry(uint32_t ref) const noexcept {
    return ref >= first_ref && ref < next_ref_ ? &table_[ref] : nullptr;
}

int PeerGrants::access(uint16_t peer, uint32_t ref, bool write) const noexcept {
    const Entry* e = entry(ref);
    if (e == nullptr)
        return GNTST_bad_gntref;
    if (!e->granted || e->peer != peer || (write && e->readonly))
        return GNTST_general_error;
    return GNTST_okay;
}

// ---- the peer ----------------------------------------------------------------

uint32_t PeerGrants::share(uint16_t peer, bool readonly, void** address) noexcept {
    uint32_t ref = 0;
    void* const bytes = share_ring(peer, 1, &ref);
    if (ref != 0)
        table_[ref].readonly = readonly;
    if (address != nullptr)
        *address = bytes;
    return ref;
}

void* PeerGrants::share_ring(uint16_t peer, uint32_t count, uint32_t* refs) noexcept {
    if (next_ref_ + count > max_refs) {
        XPV_FAKE_FAIL("the peer's grant table is full: a test shares too much");
        return nullptr;
    }
    auto* const bytes = static_cast<uint8_t*>(xpv_test_alloc(count * page_size));
    for (uint32_t i = 0; i < count; ++i) {
        refs[i] = next_ref_++;
        memory_.make(xpv_page::Is::Peer, bytes + i * page_size);
        table_[refs[i]] = Entry{
            bytes + i * page_size, peer, 0, true, false, static_cast<uint8_t>(i == 0 ? count : 0)};
    }
    return bytes;
}

bool PeerGrants::revoke(uint32_t ref) noexcept {
    Entry* e = entry(ref);
    if (e == nullptr || e->mapped != 0)
        return false;
    e->granted = false;
    return true;
}

uint8_t* PeerGrants::address(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr ? e->bytes : nullptr;
}

uint32_t PeerGrants::mapped(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr ? e->mapped : 0;
}

// ---- upcalls -------------------------------------------------------------------

int16_t PeerGrants::copy_end(const gnttab_copy::gnttab_copy_ptr& end, bool by_ref, bool write,
                             uint8_t** bytes) noexcept {
    if (by_ref) {
        if (const int status = access(end.domid, end.u.ref, write); status != GNTST_okay)
            return static_cast<int16_t>(status);
        *bytes = table_[end.u.ref].bytes;
        return GNTST_okay;
    }
    if (end.domid != DOMID_SELF)
        return GNTST_permission_denied;
    xpv_page* const page = memory_.find(reinterpret_cast<void*>(end.u.gmfn * page_size));
    if (page == nullptr || page->is == xpv_page::Is::Peer) {
        XPV_FAKE_FAIL("a copy %s a frame that is not ours", write ? "to" : "from");
        return GNTST_general_error;
    }
    *bytes = page->bytes;
    return GNTST_okay;
}

// As Xen does it: an operation of no bytes succeeds whatever it names.
int16_t PeerGrants::copy_one(const gnttab_copy& op) noexcept {
    if (const int code = account_.inject(Call::Copy, GNTST_general_error); code != 0)
        return static_cast<int16_t>(code);
    if (op.len == 0)
        return GNTST_okay;
    uint8_t* from = nullptr;
    uint8_t* to = nullptr;
    if (const int16_t status = copy_end(op.source, op.flags & GNTCOPY_source_gref, false, &from);
        status != GNTST_okay)
        return status;
    if (const int16_t status = copy_end(op.dest, op.flags & GNTCOPY_dest_gref, true, &to);
        status != GNTST_okay)
        return status;
    if (op.source.offset + op.len > page_size || op.dest.offset + op.len > page_size)
        return GNTST_bad_copy_arg;
    __builtin_memmove(to + op.dest.offset, from + op.source.offset, op.len);
    return GNTST_okay;
}

void PeerGrants::copy(gnttab_copy* ops, uint32_t count) noexcept {
    if (count == 0 || count > XPV_COPY_BATCH)
        XPV_FAKE_FAIL("%u copy operations in one batch", count);
    for (uint32_t i = 0; i < count; ++i) {
        account_.enter(Call::Copy, Context::Hardirq);
        ops[i].status = copy_one(ops[i]);
    }
}

void PeerGrants::map(xpv_map_op* ops, uint32_t count) noexcept {
    if (count == 0 || count > XPV_MAP_BATCH)
        XPV_FAKE_FAIL("%u map operations in one batch", count);
    for (uint32_t i = 0; i < count; ++i) {
        xpv_map_op& op = ops[i];
        account_.enter(Call::Map, Context::Softirq);
        op.handle = ~uint32_t{0};
        if (op.page == nullptr || op.page->is != xpv_page::Is::Frame) {
            XPV_FAKE_FAIL("a grant is mapped into a page that is no empty frame");
            op.status = GNTST_general_error;
            continue;
        }
        if (op.page->bytes != nullptr) {
            XPV_FAKE_FAIL("a grant is mapped over another mapping");
            op.status = GNTST_general_error;
            continue;
        }
        int status = account_.inject(Call::Map, GNTST_general_error);
        if (status == GNTST_okay)
            status = access(op.domid, op.ref, !op.readonly);
        while (status == GNTST_okay && next_handle_ < max_maps &&
               maps_[next_handle_].frame != nullptr)
            ++next_handle_;
        if (status == GNTST_okay && next_handle_ == max_maps) {
            next_handle_ = 0; // handles come round again, as Xen's do
            while (next_handle_ < max_maps && maps_[next_handle_].frame != nullptr)
                ++next_handle_;
            if (next_handle_ == max_maps)
                status = GNTST_no_space;
        }
        op.status = static_cast<int16_t>(status);
        if (status != GNTST_okay)
            continue;
        op.handle = next_handle_;
        maps_[next_handle_++] = Mapping{op.page, op.ref, op.domid, op.readonly};
        op.page->bytes = table_[op.ref].bytes;
        ++table_[op.ref].mapped;
        account_.mappings.take();
    }
}

void PeerGrants::unmap(xpv_map_op* ops, uint32_t count) noexcept {
    if (count == 0 || count > XPV_MAP_BATCH)
        XPV_FAKE_FAIL("%u unmap operations in one batch", count);
    for (uint32_t i = 0; i < count; ++i) {
        xpv_map_op& op = ops[i];
        account_.enter(Call::Unmap, Context::Softirq);
        if (op.handle >= max_maps || maps_[op.handle].frame == nullptr ||
            maps_[op.handle].frame != op.page) {
            XPV_FAKE_FAIL("handle %u is unmapped, but it maps nothing there", op.handle);
            op.status = GNTST_bad_handle;
            continue;
        }
        --table_[maps_[op.handle].ref].mapped;
        maps_[op.handle] = Mapping{};
        op.page->bytes = nullptr;
        op.status = GNTST_okay;
        account_.mappings.give();
    }
}

int PeerGrants::ring_map(uint16_t peer, const uint32_t* refs, uint32_t count,
                         void** address) noexcept {
    account_.enter(Call::RingMap, Context::Process);
    *address = nullptr;
    if (const int code = account_.inject(Call::RingMap, -12); code != 0)
        return code;
    if (count == 0 || count > 16)
        return -22;
    for (uint32_t i = 0; i < count; ++i) {
        if (access(peer, refs[i], true) != GNTST_okay)
            return -22;
        // Memory cannot be aliased here: only pages that are neighbours already.
        if (table_[refs[i]].bytes != table_[refs[0]].bytes + i * page_size)
            return -12;
    }
    for (uint32_t r = 0; r < max_rings; ++r) {
        if (rings_[r].address != nullptr)
            continue;
        rings_[r].address = table_[refs[0]].bytes;
        rings_[r].count = count;
        for (uint32_t i = 0; i < count; ++i) {
            rings_[r].refs[i] = refs[i];
            ++table_[refs[i]].mapped;
        }
        *address = rings_[r].address;
        account_.ring_mappings.take();
        return 0;
    }
    return -12;
}

void PeerGrants::ring_unmap(void* address) noexcept {
    account_.enter(Call::RingUnmap, Context::Process);
    for (uint32_t r = 0; r < max_rings; ++r) {
        if (address == nullptr || rings_[r].address != address)
            continue;
        for (uint32_t i = 0; i < rings_[r].count; ++i)
            --table_[rings_[r].refs[i]].mapped;
        rings_[r] = Ring{};
        account_.ring_mappings.give();
        return;
    }
    XPV_FAKE_FAIL("a ring is unmapped that is not mapped");
}

} // namespace xpv::fake

using xpv::fake::Account;
using xpv::fake::Call;
using xpv::fake::Context;
using xpv::fake::world;

void xpv_gnttab_copy(gnttab_copy* ops, uint32_t count) { world().peers.copy(ops, count); }

int xpv_gnttab_map_pages_alloc(uint32_t count, xpv_page** pages) {
    Account& account = world().account;
    account.enter(Call::MapPagesAlloc, Context::Process);
    if (const int code = account.inject(Call::MapPagesAlloc, -12); code != 0)
        return code;
    for (uint32_t i = 0; i < count; ++i) {
        pages[i] = world().memory.make(xpv_page::Is::Frame, nullptr);
        account.map_pages.take();
        if (pages[i] == nullptr) {
            account.map_pages.give();
            xpv_gnttab_map_pages_free(i, pages);
            return -12;
        }
    }
    return 0;
}

void xpv_gnttab_map_pages_free(uint32_t count, xpv_page** pages) {
    Account& account = world().account;
    account.enter(Call::Free, Context::Process);
    for (uint32_t i = 0; i < count; ++i) {
        if (pages[i]->is != xpv_page::Is::Frame) {
            XPV_FAKE_FAIL("a frame is given back that is not out");
            continue;
        }
        if (pages[i]->bytes != nullptr)
            XPV_FAKE_FAIL("a frame is given back with a grant mapped into it");
        world().memory.unmake(pages[i]);
        account.map_pages.give();
    }
}

xpv_map_scratch* xpv_map_scratch_alloc(void) {
    Account& account = world().account;
    account.enter(Call::ScratchAlloc, Context::Process);
    if (account.inject(Call::ScratchAlloc, 1) != 0)
        return nullptr;
    account.scratches.take();
    return static_cast<xpv_map_scratch*>(xpv_test_alloc(64));
}

void xpv_map_scratch_free(xpv_map_scratch* scratch) {
    world().account.enter(Call::Free, Context::Process);
    if (scratch != nullptr)
        world().account.scratches.give();
    xpv_test_free(scratch);
}

void xpv_gnttab_map(xpv_map_scratch* scratch, xpv_map_op* ops, uint32_t count) {
    if (scratch == nullptr)
        XPV_FAKE_FAIL("a map without its scratch area");
    world().peers.map(ops, count);
}

void xpv_gnttab_unmap(xpv_map_scratch* scratch, xpv_map_op* ops, uint32_t count) {
    if (scratch == nullptr)
        XPV_FAKE_FAIL("an unmap without its scratch area");
    world().peers.unmap(ops, count);
}

int xpv_ring_map(xpv_xenbus* bus, const uint32_t* refs, uint32_t count, void** address) {
    return world().peers.ring_map(bus->domid, refs, count, address);
}

void xpv_ring_unmap(xpv_xenbus*, void* address) { world().peers.ring_unmap(address); }
