// SPDX-License-Identifier: GPL-2.0-only
// The fuzzer's bytes as decisions. Past their end every decision is 0, so a target
// loops while left() and ends.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace xpv::fuzz {

class Input {
public:
    Input(const uint8_t* data, size_t size) noexcept : data_{data}, size_{size} {}

    size_t left() const noexcept { return size_; }
    uint8_t u8() noexcept {
        if (size_ == 0)
            return 0;
        --size_;
        return *data_++;
    }
    uint16_t u16() noexcept { return static_cast<uint16_t>(u8() | u8() << 8); }
    uint32_t u32() noexcept { return u16() | static_cast<uint32_t>(u16()) << 16; }
    bool flag() noexcept { return u8() & 1; }
    // 0..n - 1.
    uint32_t below(uint32_t n) noexcept { return n <= 256 ? u8() % n : u16() % n; }
    // Mostly a value near what matters, sometimes any.
    uint32_t near(uint32_t value) noexcept {
        const uint8_t how = u8();
        return how < 200 ? value + (how % 8) - 4 : how < 240 ? value + u8() : u32();
    }
    // Text of up to size - 1 characters, NUL terminated.
    void text(char* to, uint32_t size) noexcept {
        uint32_t length = below(size);
        while (length-- != 0)
            if (const char c = static_cast<char>(u8()); c != '\0')
                *to++ = c;
        *to = '\0';
    }

private:
    const uint8_t* data_;
    size_t size_;
};

// What each target defines.
void one(Input& in);

} // namespace xpv::fuzz
