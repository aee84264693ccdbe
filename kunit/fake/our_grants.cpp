// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

namespace xpv::fake {

OurGrants::OurGrants(Account& account, Memory& memory) noexcept
    : account_{account}, memory_{memory}, table_{static_cast<Entry*>(
                                              xpv_test_alloc(max_refs * sizeof(Entry)))} {}

OurGrants::~OurGrants() { xpv_test_free(table_); }

OurGrants::Entry* OurGrants::entry(uint32_t ref) const noexcept {
    return ref >= first_ref && ref < max_refs ? &table_[ref] : nullptr;
}

OurGrants::State OurGrants::state(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr ? e->state : State::Free;
}

xpv_page* OurGrants::page(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr ? e->page : nullptr;
}

bool OurGrants::readonly(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr && e->readonly;
}

uint16_t OurGrants::domid(uint32_t ref) const noexcept {
    const Entry* e = entry(ref);
    return e != nullptr ? e->peer : uint16_t{0};
}

int OurGrants::access(uint16_t peer, uint32_t ref, bool write) const noexcept {
    const Entry* e = entry(ref);
    if (e == nullptr)
        return GNTST_bad_gntref;
    if (e->state != State::Granted && e->state != State::Deferred)
        return GNTST_general_error;
    if (e->peer != peer || (write && e->readonly))
        return GNTST_general_error;
    return GNTST_okay;
}

// ---- the peer ----------------------------------------------------------------

void OurGrants::hold(uint32_t ref) noexcept {
    if (Entry* e = entry(ref))
        ++e->held;
}

void OurGrants::let_go(uint32_t ref) noexcept {
    if (Entry* e = entry(ref); e != nullptr && e->held != 0)
        --e->held;
}

void OurGrants::let_go_all() noexcept {
    hold_all = false;
    for (uint32_t i = first_ref; i < fresh_; ++i)
        table_[i].held = 0;
}

uint8_t* OurGrants::map(uint16_t peer, uint32_t ref, bool write) noexcept {
    if (access(peer, ref, write) != GNTST_okay)
        return nullptr;
    hold(ref);
    return table_[ref].page->bytes;
}

int OurGrants::write(uint16_t peer, uint32_t ref, uint32_t offset, const void* data,
                     uint32_t bytes) noexcept {
    if (bytes == 0)
        return GNTST_okay;
    if (const int status = access(peer, ref, true); status != GNTST_okay)
        return status;
    if (offset > page_size || bytes > page_size - offset)
        return GNTST_bad_copy_arg;
    __builtin_memcpy(table_[ref].page->bytes + offset, data, bytes);
    return GNTST_okay;
}

int OurGrants::read(uint16_t peer, uint32_t ref, uint32_t offset, void* data,
                    uint32_t bytes) noexcept {
    if (bytes == 0)
        return GNTST_okay;
    if (const int status = access(peer, ref, false); status != GNTST_okay)
        return status;
    if (offset > page_size || bytes > page_size - offset)
        return GNTST_bad_copy_arg;
    __builtin_memcpy(data, table_[ref].page->bytes + offset, bytes);
    return GNTST_okay;
}

bool OurGrants::peer_sees(uint8_t secret) const noexcept {
    for (uint32_t i = first_ref; i < fresh_; ++i) {
        const Entry& e = table_[i];
        if (e.page == nullptr || e.page->bytes == nullptr)
            continue;
        for (uint32_t byte = 0; byte < page_size; ++byte)
            if (e.page->bytes[byte] == secret)
                return true;
    }
    return false;
}

// ---- the deferred list ---------------------------------------------------------

void OurGrants::defer(uint32_t ref, xpv_page* page) noexcept {
    account_.enter(Call::Defer, Context::Hardirq);
    Entry* e = entry(ref);
    if (e == nullptr || e->state != State::Granted) {
        XPV_FAKE_FAIL("reference %u is deferred, but grants nothing", ref);
        return;
    }
    if (page != nullptr && page != e->page)
        XPV_FAKE_FAIL("reference %u is deferred with a page that it does not grant", ref);
    e->state = State::Deferred;
    e->owns_page = page != nullptr;
    account_.deferred.take();
}

void OurGrants::poll_deferred() noexcept {
    for (uint32_t i = first_ref; i < fresh_; ++i) {
        Entry& e = table_[i];
        if (e.state != State::Deferred || e.held != 0)
            continue;
        xpv_page* const page = e.page;
        const bool owns_page = e.owns_page;
        --page->grants;
        e = Entry{nullptr, free_, 0, 0, State::Free, false, false};
        free_ = i;
        account_.deferred.give();
        account_.grants.give();
        account_.refs.give();
        if (owns_page)
            memory_.page_free(page);
    }
}

// ---- upcalls -------------------------------------------------------------------

int OurGrants::reserve(uint32_t count, uint32_t* refs) noexcept {
    account_.enter(Call::Reserve, Context::Hardirq);
    if (const int code = account_.inject(Call::Reserve, -28); code != 0)
        return code;
    if (count > 65535 || account_.refs.outstanding() + count > capacity ||
        account_.refs.outstanding() + count > max_refs - first_ref)
        return -28;
    for (uint32_t i = 0; i < count; ++i) {
        refs[i] = free_ != 0 ? free_ : fresh_++;
        Entry& e = table_[refs[i]];
        if (free_ != 0)
            free_ = e.next_free;
        e.state = State::Reserved;
        account_.refs.take();
    }
    return 0;
}

void OurGrants::unreserve(uint32_t count, const uint32_t* refs) noexcept {
    account_.enter(Call::Unreserve, Context::Hardirq);
    for (uint32_t i = 0; i < count; ++i) {
        Entry* e = entry(refs[i]);
        if (e == nullptr || e->state != State::Reserved) {
            XPV_FAKE_FAIL("reference %u is given back, but it is %s", refs[i],
                          state(refs[i]) == State::Free ? "free" : "in use");
            continue;
        }
        *e = Entry{nullptr, free_, 0, 0, State::Free, false, false};
        free_ = refs[i];
        account_.refs.give();
    }
}

void OurGrants::grant(uint16_t peer, uint32_t count, const uint32_t* refs, xpv_page* const* pages,
                      bool read_only) noexcept {
    account_.enter(Call::Grant, Context::Hardirq);
    for (uint32_t i = 0; i < count; ++i) {
        Entry* e = entry(refs[i]);
        if (e == nullptr || e->state != State::Reserved) {
            XPV_FAKE_FAIL("reference %u grants, but it is %s", refs[i],
                          state(refs[i]) == State::Free ? "not ours" : "granting already");
            continue;
        }
        // Not a page of another domain's, and not one that was freed.
        if (pages[i] == nullptr || pages[i]->bytes == nullptr ||
            (pages[i]->is != xpv_page::Is::Owned && pages[i]->is != xpv_page::Is::Buffer)) {
            XPV_FAKE_FAIL("reference %u grants a page that is not ours", refs[i]);
            continue;
        }
        *e = Entry{pages[i],       0,         peer, static_cast<uint16_t>(hold_all ? 1 : 0),
                   State::Granted, read_only, false};
        ++pages[i]->grants;
        account_.grants.take();
    }
}

uint32_t OurGrants::end(uint32_t count, const uint32_t* refs, bool* ended) noexcept {
    account_.enter(Call::End, Context::Hardirq);
    const uint32_t n = end_each(count, refs, ended);
    loud += count - n;
    return n;
}

uint32_t OurGrants::give_up(uint32_t count, const uint32_t* refs, bool* ended) noexcept {
    account_.enter(Call::GiveUp, Context::Hardirq);
    const uint32_t n = end_each(count, refs, ended);
    for (uint32_t i = 0; i < count; ++i)
        if (ended[i])
            unreserve(1, &refs[i]);
    return n;
}

uint32_t OurGrants::end_each(uint32_t count, const uint32_t* refs, bool* ended) noexcept {
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; ++i) {
        Entry* e = entry(refs[i]);
        ended[i] = false;
        if (e == nullptr || e->state != State::Granted) {
            XPV_FAKE_FAIL("access through reference %u is ended, but it grants nothing", refs[i]);
            continue;
        }
        if (e->held != 0)
            continue;
        --e->page->grants;
        e->page = nullptr;
        e->state = State::Reserved;
        ended[i] = true;
        account_.grants.give();
        ++n;
    }
    return n;
}

} // namespace xpv::fake

using xpv::fake::world;

int xpv_gnttab_reserve(uint32_t count, uint32_t* refs) {
    return world().grants.reserve(count, refs);
}
void xpv_gnttab_unreserve(uint32_t count, const uint32_t* refs) {
    world().grants.unreserve(count, refs);
}
void xpv_gnttab_grant(uint16_t domid, uint32_t count, const uint32_t* refs, xpv_page* const* pages,
                      bool readonly) {
    world().grants.grant(domid, count, refs, pages, readonly);
}
uint32_t xpv_gnttab_end(uint32_t count, const uint32_t* refs, bool* ended) {
    return world().grants.end(count, refs, ended);
}
uint32_t xpv_gnttab_give_up(uint32_t count, const uint32_t* refs, bool* ended) {
    return world().grants.give_up(count, refs, ended);
}
void xpv_gnttab_defer(uint32_t ref, xpv_page* page) { world().grants.defer(ref, page); }
