// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/test/fake.hpp"

using namespace xpv;
using fake::world;
using Is = xpv_balloon_os::Is;

namespace {

bool same(const char* a, const char* b) noexcept {
    while (*a != '\0' && *a == *b) {
        ++a;
        ++b;
    }
    return *a == *b;
}

void copy(char* to, const char* from, uint32_t size) noexcept {
    uint32_t i = 0;
    for (; i + 1 < size && from[i] != '\0'; ++i)
        to[i] = from[i];
    to[i] = '\0';
}

// How far a call comes that stops once after `limit`.
uint32_t stops(uint32_t& limit, uint32_t count) noexcept {
    const uint32_t done = min(limit, count);
    if (limit < count)
        limit = xpv_balloon_os::never;
    return done;
}

template <class Body>
void each_page(xpv_balloon_os* os, uint32_t order, uint32_t count, const uint64_t* pfns,
               Body body) noexcept {
    for (uint32_t i = 0; i < count; ++i) {
        if (pfns[i] == 0 || pfns[i] + (1u << order) > os->count) {
            XPV_FAKE_FAIL("an extent at %lu", pfns[i]);
            return;
        }
        for (uint64_t j = 0; j < (1u << order); ++j)
            body(os->pages[pfns[i] + j], pfns[i] + j);
    }
}

bool free_run(const xpv_balloon_os* os, uint64_t from, uint32_t size, Is is) noexcept {
    for (uint64_t i = from; i < from + size; ++i)
        if (os->pages[i].is != is)
            return false;
    return true;
}

} // namespace

// ---- the model -------------------------------------------------------------------

xpv_balloon_os::xpv_balloon_os(uint32_t pages_, bool pv_) noexcept
    : count{pages_}, pages{static_cast<Page*>(xpv_test_alloc(pages_ * sizeof(Page)))},
      words{static_cast<uint64_t*>(xpv_test_alloc(pages_ * sizeof(uint64_t)))}, managed{pages_},
      pv{pv_} {
    for (uint32_t i = 0; i < count; ++i)
        pages[i] = {Is::Free, 0, false, true, false, true, false};
    pages[0].is = Is::User;
    stock = {pages_, pages_, pages_, true};
}

xpv_balloon_os::~xpv_balloon_os() {
    xpv_test_free(pages);
    xpv_test_free(words);
}

uint64_t xpv_balloon_os::number(Is is) const noexcept {
    uint64_t found = 0;
    for (uint32_t i = 0; i < count; ++i)
        found += pages[i].is == is ? 1 : 0;
    return found;
}

uint64_t xpv_balloon_os::number_gone() const noexcept {
    uint64_t found = 0;
    for (uint32_t i = 0; i < count; ++i)
        found += pages[i].gone ? 1 : 0;
    return found;
}

void xpv_balloon_os::use(Is is, uint64_t wanted) noexcept {
    for (uint32_t i = count; i-- > 0 && wanted != 0;) {
        if (pages[i].is != Is::Free)
            continue;
        pages[i].is = is;
        pages[i].dirty = true;
        --wanted;
    }
    if (wanted != 0)
        XPV_FAKE_FAIL("no free pages to use");
}

void xpv_balloon_os::put(const char* key, const char* text) noexcept {
    for (Node& node : nodes) {
        if (node.key != nullptr && !same(node.key, key))
            continue;
        node.key = text == nullptr ? nullptr : key;
        copy(node.text, text == nullptr ? "" : text, sizeof(node.text));
        return;
    }
    XPV_FAKE_FAIL("more nodes than there is room for");
}

const char* xpv_balloon_os::get(const char* key) const noexcept {
    for (const Node& node : nodes)
        if (node.key != nullptr && same(node.key, key))
            return node.text;
    return nullptr;
}

bool xpv_balloon_os::conserved() const noexcept {
    uint64_t offline = 0;
    for (uint32_t i = 0; i < count; ++i) {
        const Page& page = pages[i];
        offline += page.offline ? 1 : 0;
        if (page.is != Is::Ours && page.is != Is::Lost &&
            (page.offline || page.gone || !page.mapped || words[i] != 0))
            return false;
        if (page.gone && !page.offline)
            return false;
    }
    return managed == count - offline;
}

// ---- upcalls ---------------------------------------------------------------------

uint32_t xpv_balloon_os_alloc(xpv_balloon_os* os, uint32_t order, uint32_t rung, uint32_t count,
                              uint64_t* pfns) {
    const uint32_t size = 1u << order;
    ++os->allocations;
    if (count == 0 || count * size > XPV_BALLOON_BATCH || (rung != 0 && order != 0))
        XPV_FAKE_FAIL("%u of order %u at rung %u", count, order, rung);
    uint32_t got = 0;
    if (order >= os->no_order)
        return 0;
    for (uint32_t pass = 0; pass < (rung == 0 ? 1u : 2u); ++pass) {
        const Is from = pass == 0 ? Is::Free : Is::Cache;
        for (uint64_t pfn = size; pfn + size <= os->count && got < count; pfn += size) {
            if (!free_run(os, pfn, size, from))
                continue;
            for (uint64_t i = pfn; i < pfn + size; ++i)
                os->pages[i] = {Is::Ours, static_cast<uint8_t>(order), false, true, false, false,
                                i == pfn};
            pfns[got++] = pfn;
        }
    }
    return got;
}

void xpv_balloon_os_free(xpv_balloon_os* os, uint32_t order, uint32_t count, const uint64_t* pfns) {
    each_page(os, order, count, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (page.is != Is::Ours || page.order != order || page.offline || page.gone ||
            !page.mapped || os->words[pfn] != 0)
            XPV_FAKE_FAIL("page %lu is freed as it is not", pfn);
        page.is = Is::Free;
        page.dirty = true;
    });
}

void xpv_balloon_os_split(xpv_balloon_os* os, uint32_t order, uint64_t pfn) {
    each_page(os, order, 1, &pfn, [&](xpv_balloon_os::Page& page, uint64_t at) {
        if (page.is != Is::Ours || page.order != order || !page.offline)
            XPV_FAKE_FAIL("page %lu is split as it is not", at);
        page.order = 0;
        page.first = true;
    });
}

void xpv_balloon_os_mark(xpv_balloon_os* os, uint32_t order, uint32_t count, const uint64_t* pfns) {
    each_page(os, order, count, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (page.is != Is::Ours || page.offline)
            XPV_FAKE_FAIL("page %lu is marked as it is not", pfn);
        page.offline = true;
        --os->managed;
    });
}

void xpv_balloon_os_unmark(xpv_balloon_os* os, uint32_t order, uint32_t count,
                           const uint64_t* pfns) {
    each_page(os, order, count, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (!page.offline || page.gone || !page.mapped)
            XPV_FAKE_FAIL("page %lu is unmarked as it is not", pfn);
        page.offline = false;
        ++os->managed;
    });
}

uint64_t* xpv_balloon_os_word(xpv_balloon_os* os, uint64_t pfn) {
    if (pfn == 0 || pfn >= os->count || !os->pages[pfn].offline || !os->pages[pfn].first) {
        XPV_FAKE_FAIL("the word of page %lu", pfn);
        pfn = 0;
    }
    return &os->words[pfn];
}

uint32_t xpv_balloon_os_detach(xpv_balloon_os* os, uint32_t order, uint32_t count,
                               const uint64_t* pfns) {
    const uint32_t done = stops(os->detach_stops, count);
    each_page(os, order, done, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (!page.offline || !page.mapped)
            XPV_FAKE_FAIL("page %lu is detached as it is not", pfn);
        page.mapped = false;
    });
    return done;
}

uint32_t xpv_balloon_os_reattach(xpv_balloon_os* os, uint32_t order, uint32_t from, uint32_t count,
                                 const uint64_t* pfns) {
    const uint32_t done = stops(os->reattach_stops, count - from);
    each_page(os, order, done, pfns + from, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (page.mapped || page.gone)
            XPV_FAKE_FAIL("page %lu is reattached as it is not", pfn);
        page.mapped = true;
    });
    return done;
}

int xpv_balloon_os_decrease(xpv_balloon_os* os, uint32_t order, uint32_t count,
                            const uint64_t* pfns) {
    if (os->decrease_code != 0) {
        const int code = os->decrease_code;
        os->decrease_code = 0;
        return code;
    }
    uint32_t left = stops(os->decrease_stops, count << order);
    const uint32_t done = left >> order;
    each_page(os, order, count, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (left == 0)
            return;
        --left;
        if (page.is != Is::Ours || !page.offline || page.mapped || page.gone || page.dirty)
            XPV_FAKE_FAIL("page %lu is given as it is not", pfn);
        page.gone = true;
        ++os->xen_free;
    });
    return static_cast<int>(done);
}

int xpv_balloon_os_populate(xpv_balloon_os* os, uint32_t order, uint32_t count,
                            const uint64_t* pfns) {
    if (order >= os->xen_no_order)
        return 0;
    uint32_t done = stops(os->populate_stops, count);
    while (uint64_t{done} << order > os->xen_free)
        --done;
    each_page(os, order, done, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (!page.gone || page.order != order)
            XPV_FAKE_FAIL("page %lu is populated as it is not", pfn);
        page.gone = false;
        page.dirty = true;
        --os->xen_free;
    });
    return static_cast<int>(done);
}

uint32_t xpv_balloon_os_attach(xpv_balloon_os* os, uint32_t order, uint32_t count,
                               const uint64_t* pfns) {
    const uint32_t done = stops(os->attach_stops, count);
    each_page(os, order, done, pfns, [&](xpv_balloon_os::Page& page, uint64_t pfn) {
        if (page.gone || page.mapped)
            XPV_FAKE_FAIL("page %lu is attached as it is not", pfn);
        page.mapped = true;
    });
    return done;
}

void xpv_balloon_os_sample(xpv_balloon_os* os, xpv_balloon_sample* sample) {
    *sample = os->sample;
    sample->free = os->number(Is::Free);
    sample->cache = os->number(Is::Cache);
    sample->available = sample->free + sample->cache;
    sample->anonymous += os->number(Is::User);
}

void xpv_balloon_os_stock(xpv_balloon_os* os, xpv_balloon_stock* stock) { *stock = os->stock; }

void xpv_balloon_os_set_stock(xpv_balloon_os* os, uint64_t target, bool still) {
    if (!os->stock.present)
        XPV_FAKE_FAIL("a target for a driver that is not there");
    os->stock.target = target;
    os->still = still;
    ++os->stock_sets;
}

uint64_t xpv_balloon_os_now_ns(xpv_balloon_os* os) { return os->now_ns += os->ns_per_call; }

int xpv_balloon_os_read(xpv_balloon_os* os, const char* key, char* buffer, uint32_t size) {
    const char* const text = os->get(key);
    if (text == nullptr)
        return to_errno(Error::NoEntry);
    uint32_t length = 0;
    while (text[length] != '\0')
        ++length;
    if (length >= size)
        return to_errno(Error::TooBig);
    copy(buffer, text, size);
    return static_cast<int>(length);
}

int xpv_balloon_os_write(xpv_balloon_os* os, const char* key, const char* text) {
    os->put(key, text);
    ++os->writes;
    return 0;
}

void xpv_balloon_os_hold(xpv_balloon_os* os, bool out) {
    if (os->held == out)
        XPV_FAKE_FAIL("held twice, or let go twice");
    os->held = out;
}

void xpv_balloon_os_log(xpv_balloon_os*, xpv_log_level level, const char* format, ...) {
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    world().log.add(level, format, arguments);
    __builtin_va_end(arguments);
}
