// SPDX-License-Identifier: GPL-2.0-only
// Grants as owned objects: xen/grant_table.h. A page leaves only when its grant
// is gone; what the peer still holds goes to the deferred list with its page.
#pragma once

#include "core/id.hpp"
#include "core/kapi.h"
#include "core/result.hpp"
#include "core/xen.hpp"

namespace xpv {

enum class Access : bool { ReadWrite = false, ReadOnly = true };

// A page of our own, zeroed when it is allocated, freed with its owner.
class OwnedPage : NoCopy {
public:
    OwnedPage() noexcept = default;
    explicit OwnedPage(xpv_page* page) noexcept : page_{page} {}
    OwnedPage(OwnedPage&& other) noexcept : page_{other.release()} {}
    OwnedPage& operator=(OwnedPage&& other) noexcept {
        if (this != &other) {
            reset();
            page_ = other.release();
        }
        return *this;
    }
    ~OwnedPage() { reset(); }

    static Result<OwnedPage> allocate(xpv_alloc_mode mode) noexcept;

    explicit operator bool() const noexcept { return page_ != nullptr; }
    xpv_page* get() const noexcept { return page_; }
    void* address() const noexcept { return xpv_page_address(page_); }
    // Somebody else frees it from here on.
    xpv_page* release() noexcept {
        xpv_page* page = page_;
        page_ = nullptr;
        return page;
    }
    void reset() noexcept {
        if (page_ != nullptr)
            xpv_page_free(release());
    }

private:
    xpv_page* page_ = nullptr;
};

// One page shared with one domain through one reference, for rings and other
// things that live long.
class Grant : NoCopy {
public:
    Grant() noexcept = default;
    Grant(Grant&& other) noexcept;
    Grant& operator=(Grant&& other) noexcept;
    // A grant that was not revoked goes to the deferred list with its page.
    ~Grant() { drop(); }

    // Share page with domid; the page now belongs to the grant. NoSpace when the
    // grant table is full (the page is then freed). May sleep.
    static Result<Grant> share(uint16_t domid, OwnedPage page, Access access) noexcept;

    explicit operator bool() const noexcept { return static_cast<bool>(page_); }
    GrantRef ref() const noexcept { return GrantRef{ref_}; }
    void* address() const noexcept { return page_.address(); }

    // End access and give the page back to the caller (none, if this is empty); Busy
    // when the peer still holds it: reference and page then went to the deferred
    // list. Either way this object is empty afterwards.
    Result<OwnedPage> revoke() noexcept;
    // The same, with the page freed. False when the peer still holds it: everything is as
    // it was, to be tried again.
    [[nodiscard]] bool end() noexcept;

private:
    void drop() noexcept;

    OwnedPage page_;
    uint32_t ref_ = 0;
};

// References reserved once and used for one page after another on a hot path.
// The i-th reference grants at most one page at a time; who uses i is the owner's
// business (an IdPool, a ring slot).
class GrantRefs : NoCopy {
public:
    GrantRefs() noexcept = default;
    ~GrantRefs() { release(); }

    // count references, all or NoSpace / NoMemory. May sleep.
    Result<void> reserve(uint32_t count) noexcept;
    // Give back every reference that is not lost; none of them may grant.
    void release() noexcept;

    uint32_t count() const noexcept { return count_; }
    GrantRef operator[](uint32_t i) const noexcept { return GrantRef{refs_[i]}; }
    uint32_t raw(uint32_t i) const noexcept { return refs_[i]; } // for batches that C takes

    // Access through reference i, which grants, is over for good. True: its page is the
    // caller's and index i lost (lost(i)) until the next reserve(). False: defer().
    [[nodiscard]] bool end(uint32_t i) noexcept;
    // Reference i is still held by the peer: hand it and page to the deferred list.
    // Index i is then lost.
    void defer(uint32_t i, xpv_page* page) noexcept;
    // Reference i grants nothing and is the kernel's again. Index i is then lost.
    void give(uint32_t i) noexcept;
    bool lost(uint32_t i) const noexcept { return refs_[i] == invalid; }

    static constexpr uint32_t invalid = ~uint32_t{0};

private:
    uint32_t* refs_ = nullptr;
    uint32_t count_ = 0;
};

// A shared ring of the peer, mapped for as long as this lives.
class MappedRing : NoCopy {
public:
    MappedRing() noexcept = default;
    ~MappedRing() { unmap(); }

    // Map 1..most pages contiguously. May sleep.
    static constexpr uint32_t most = 16;
    Result<void> map(xpv_xenbus* bus, Span<const GrantRef> refs) noexcept;
    void unmap() noexcept;

    explicit operator bool() const noexcept { return address_ != nullptr; }
    void* address() const noexcept { return address_; }

private:
    xpv_xenbus* bus_ = nullptr;
    void* address_ = nullptr;
};

} // namespace xpv
