// SPDX-License-Identifier: GPL-2.0-only
// Numbers and flags in xenstore, read with their range and written in
// transactions. What the peer wrote is text until it has been checked; an error
// names the node, the value and the range.
#pragma once

#include "core/id.hpp"
#include "core/kapi.h"
#include "core/result.hpp"

namespace xpv {

// A node's name under the device's folder, put together without allocation:
// NodeName{"queue-", 3, "/tx-ring-ref"}. Too long a name is cut, which no caller's is.
class NodeName {
public:
    NodeName(const char* name) noexcept { append(name); }
    NodeName(const char* prefix, uint32_t number, const char* suffix = "") noexcept {
        append(prefix);
        append(number);
        append(suffix);
    }
    // name in folder, which is "" or ends with a slash.
    static NodeName in(const char* folder, const char* name) noexcept {
        NodeName key{folder};
        key.append(name);
        return key;
    }
    const char* text() const noexcept { return text_; }

private:
    void append(const char* text) noexcept;
    void append(uint32_t number) noexcept;

    char text_[48] = {};
    uint32_t length_ = 0;
};

// Decimal, as xenstore wants it.
void format_number(uint64_t number, char (&digits)[21]) noexcept;
// Decimal digits only, no sign, no space, no overflow; nothing after them.
Result<uint32_t> parse_number(const char* text) noexcept;
Result<uint64_t> parse_number64(const char* text) noexcept;

class Xenstore {
public:
    explicit Xenstore(xpv_xenbus* bus) noexcept : bus_{bus} {}
    xpv_xenbus* bus() const noexcept { return bus_; }

    // A number that must be there: NoEntry when it is not, Range when it is not a
    // number or not in min..max. Each failure is logged. May sleep, as all below.
    Result<uint32_t> require(xpv_xs_dir dir, const NodeName& key, uint32_t min,
                             uint32_t max) const noexcept;

    // A number that may be absent (`absent` then). Rubbish or out of range is Range,
    // logged.
    Result<uint32_t> optional(xpv_xs_dir dir, const NodeName& key, uint32_t min, uint32_t max,
                              uint32_t absent) const noexcept;

    // The same of 64 bits: NoEntry (logged), or Range.
    Result<uint64_t> require64(xpv_xs_dir dir, const NodeName& key, uint64_t min,
                               uint64_t max) const noexcept;

    // A feature node, 0 or 1. Absent or rubbish (logged) gives `absent`: a feature
    // that nobody can read is one that was not offered.
    bool flag(xpv_xs_dir dir, const NodeName& key, bool absent = false) const noexcept;

    // Inside transact() or outside.
    Result<void> write(const NodeName& key, uint32_t number) const noexcept;
    Result<void> write(const NodeName& key, const char* text) const noexcept;
    template <class Tag> Result<void> write(const NodeName& key, Id<Tag> id) const noexcept {
        return write(key, id.number());
    }
    Result<void> remove(const NodeName& key) const noexcept;

    // body() between begin and end, again when others wrote at the same time, at
    // most 100 times (then TryAgain).
    template <class Body> Result<void> transact(Body body) const noexcept {
        for (uint32_t attempt = 0; attempt < 100; ++attempt) {
            XPV_TRY(check(xpv_xs_begin(bus_)));
            if (Result<void> done = body(); !done.ok()) {
                (void)xpv_xs_end(bus_, true);
                return done;
            }
            const int code = xpv_xs_end(bus_, false);
            if (code != to_errno(Error::TryAgain))
                return check(code);
        }
        return Error::TryAgain;
    }

private:
    Result<uint64_t> read(xpv_xs_dir dir, const NodeName& key, uint64_t min, uint64_t max,
                          const uint64_t* absent) const noexcept;

    xpv_xenbus* bus_;
};

} // namespace xpv
