// SPDX-License-Identifier: GPL-2.0-only
#include "core/xenstore.hpp"

namespace xpv {
namespace {

constexpr uint32_t value_size = 32; // of any number that makes sense

// For messages: what the peer wrote, with nothing that could confuse a terminal.
void make_printable(char* text) noexcept {
    for (; *text != '\0'; ++text)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

} // namespace

void NodeName::append(const char* text) noexcept {
    while (*text != '\0' && length_ + 1 < sizeof(text_))
        text_[length_++] = *text++;
    text_[length_] = '\0';
}

void NodeName::append(uint32_t number) noexcept {
    char digits[21];
    format_number(number, digits);
    append(digits);
}

void format_number(uint64_t number, char (&digits)[21]) noexcept {
    char reversed[20];
    uint32_t count = 0;
    do {
        reversed[count++] = static_cast<char>('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (uint32_t i = 0; i < count; ++i)
        digits[i] = reversed[count - 1 - i];
    digits[count] = '\0';
}

Result<uint64_t> parse_number64(const char* text) noexcept {
    if (*text == '\0')
        return Error::Invalid;
    uint64_t number = 0;
    for (; *text != '\0'; ++text) {
        if (*text < '0' || *text > '9')
            return Error::Invalid;
        const auto digit = static_cast<uint64_t>(*text - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return Error::Range;
        number = number * 10 + digit;
    }
    return number;
}

Result<uint32_t> parse_number(const char* text) noexcept {
    const Result<uint64_t> number = parse_number64(text);
    if (number.ok() && number.value() > UINT32_MAX)
        return Error::Range;
    return number.ok() ? Result<uint32_t>{static_cast<uint32_t>(number.value())}
                       : Result<uint32_t>{number.error()};
}

// One look at the node: what was checked is what is used. absent: what a missing
// node means, or nullptr when it must be there.
Result<uint64_t> Xenstore::read(xpv_xs_dir dir, const NodeName& key, uint64_t min, uint64_t max,
                                const uint64_t* absent) const noexcept {
    const char* const whose = dir == XPV_XS_PEER ? "the other end's " : "";
    const auto from = static_cast<unsigned long long>(min);
    const auto to = static_cast<unsigned long long>(max);
    char text[value_size];
    const int length = xpv_xs_read(bus_, dir, key.text(), text, sizeof(text));
    // Of a node that is gone together with the folders above it, the other end's domain's
    // maybe, xenstored tells who may not read what is left of its path only that it is denied.
    if (length == to_errno(Error::NoEntry) || length == to_errno(Error::Denied)) {
        if (absent != nullptr)
            return *absent;
        xpv_log(bus_, XPV_LOG_ERR, "%s%s is missing, a number in %llu..%llu is needed", whose,
                key.text(), from, to);
        return Error::NoEntry;
    }
    if (length == to_errno(Error::TooBig)) {
        xpv_log(bus_, XPV_LOG_ERR, "%s%s is too long for a number in %llu..%llu", whose, key.text(),
                from, to);
        return Error::Range;
    }
    if (length < 0)
        return from_errno(length);
    const Result<uint64_t> number = parse_number64(text);
    if (!number.ok() || number.value() < min || number.value() > max) {
        make_printable(text);
        xpv_log(bus_, XPV_LOG_ERR, "%s%s = \"%s\" is not a number in %llu..%llu", whose, key.text(),
                text, from, to);
        return Error::Range;
    }
    return number;
}

namespace {

// Of a number that was checked against 32 bits.
Result<uint32_t> narrow(const Result<uint64_t>& number) noexcept {
    if (!number.ok())
        return number.error();
    return static_cast<uint32_t>(number.value());
}

} // namespace

Result<uint32_t> Xenstore::require(xpv_xs_dir dir, const NodeName& key, uint32_t min,
                                   uint32_t max) const noexcept {
    return narrow(read(dir, key, min, max, nullptr));
}

Result<uint32_t> Xenstore::optional(xpv_xs_dir dir, const NodeName& key, uint32_t min, uint32_t max,
                                    uint32_t absent) const noexcept {
    const uint64_t otherwise = absent;
    return narrow(read(dir, key, min, max, &otherwise));
}

Result<uint64_t> Xenstore::require64(xpv_xs_dir dir, const NodeName& key, uint64_t min,
                                     uint64_t max) const noexcept {
    return read(dir, key, min, max, nullptr);
}

bool Xenstore::flag(xpv_xs_dir dir, const NodeName& key, bool absent) const noexcept {
    const Result<uint32_t> value = optional(dir, key, 0, 1, absent ? 1 : 0);
    return value.ok() ? value.value() != 0 : absent;
}

Result<void> Xenstore::write(const NodeName& key, uint32_t number) const noexcept {
    char digits[21];
    format_number(number, digits);
    return write(key, digits);
}

Result<void> Xenstore::write(const NodeName& key, const char* text) const noexcept {
    return check(xpv_xs_write(bus_, key.text(), text));
}

Result<void> Xenstore::remove(const NodeName& key) const noexcept {
    return check(xpv_xs_remove(bus_, key.text()));
}

} // namespace xpv
