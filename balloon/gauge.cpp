// SPDX-License-Identifier: GPL-2.0-only
#include "balloon/gauge.hpp"

namespace xpv::balloon {
namespace {

// What is left of a word's text.
class Reader {
public:
    Reader(const char* text, uint32_t length) noexcept : at_{text}, end_{text + length} {}

    bool done() const noexcept { return at_ == end_; }
    bool next(char c) noexcept {
        if (done() || *at_ != c)
            return false;
        ++at_;
        return true;
    }
    bool digit(uint32_t& value) noexcept {
        if (done() || *at_ < '0' || *at_ > '9')
            return false;
        value = static_cast<uint32_t>(*at_++ - '0');
        return true;
    }
    // As format_gauge() writes one: without a sign, a space or a 0 in front.
    Result<uint64_t> number() noexcept {
        uint32_t first = 0;
        if (!digit(first))
            return Error::Invalid;
        uint64_t value = first;
        bool fits = true;
        for (uint32_t more = 0; digit(more);) {
            if (first == 0)
                return Error::Invalid;
            fits = fits && value <= (UINT64_MAX - more) / 10;
            value = value * 10 + more;
        }
        if (!fits)
            return Error::Range;
        return value;
    }

private:
    const char* at_;
    const char* end_;
};

Result<Level> read_level(Reader& reader) noexcept {
    uint64_t whole = 0;
    XPV_TRY_SET(whole, reader.number());
    uint32_t a = 0, b = 0, c = 0;
    if (!reader.next('.') || !reader.digit(a) || !reader.digit(b) || !reader.digit(c))
        return Error::Invalid;
    const uint32_t thousandths = a * 100 + b * 10 + c;
    if (whole > 1 || (whole == 1 && thousandths != 0))
        return Error::Range;
    return static_cast<Level>(whole) * level_max + thousandths;
}

class Writer {
public:
    explicit Writer(char* to) noexcept : to_{to}, at_{to} {}

    void put(char c) noexcept { *at_++ = c; }
    void number(uint64_t value, uint32_t digits = 1) noexcept {
        char reversed[20];
        uint32_t count = 0;
        for (; value != 0 || count < digits; value /= 10)
            reversed[count++] = static_cast<char>('0' + value % 10);
        while (count != 0)
            put(reversed[--count]);
    }
    uint32_t end() noexcept {
        *at_ = '\0';
        return static_cast<uint32_t>(at_ - to_);
    }

private:
    char* to_;
    char* at_;
};

// A word that is over loses as much each second: nothing is left after 100 s.
constexpr uint64_t fade_per_s = 10;

} // namespace

Result<GaugeWord> parse_gauge(const char* text, uint32_t length) noexcept {
    if (length == 0)
        return Error::NoEntry;
    if (length >= GaugeWord::size)
        return Error::Invalid;
    Reader reader{text, length};
    uint64_t version = 0, ttl = 0;
    XPV_TRY_SET(version, reader.number());
    if (!reader.next(' '))
        return Error::Invalid;
    if (version != GaugeWord::version)
        return Error::Unsupported; // whatever follows
    GaugeWord word;
    XPV_TRY_SET(word.level, read_level(reader));
    if (!reader.next(' '))
        return Error::Invalid;
    XPV_TRY_SET(word.sequence, reader.number());
    if (!reader.next(' '))
        return Error::Invalid;
    XPV_TRY_SET(ttl, reader.number());
    if (!reader.done())
        return Error::Invalid;
    if (ttl == 0 || ttl > GaugeWord::ttl_max)
        return Error::Range;
    word.ttl_s = static_cast<uint32_t>(ttl);
    return word;
}

uint32_t format_gauge(const GaugeWord& word, char (&out)[GaugeWord::size]) noexcept {
    Writer writer{out};
    writer.number(GaugeWord::version);
    writer.put(' ');
    writer.number(word.level / level_max);
    writer.put('.');
    writer.number(word.level % level_max, 3);
    writer.put(' ');
    writer.number(word.sequence);
    writer.put(' ');
    writer.number(word.ttl_s);
    return writer.end();
}

Result<void> Gauge::hear(const Result<GaugeWord>& word, uint64_t now_ms) noexcept {
    if (!word.ok()) {
        until_ms_ = min(until_ms_, now_ms); // nobody stands for what was said
        return word.error();
    }
    const GaugeWord& heard = word.value();
    if (known_) {
        // The same word again, as a watch's first call brings it: it gets no younger by that.
        if (heard.sequence == word_.sequence)
            return heard.level == word_.level && heard.ttl_s == word_.ttl_s
                       ? Result<void>{}
                       : Result<void>{Error::Invalid};
        if (heard.sequence < word_.sequence && now_ms < until_ms_)
            return Error::Invalid;
    }
    word_ = heard;
    until_ms_ = now_ms + uint64_t{heard.ttl_s} * 1000;
    known_ = true;
    return {};
}

Level Gauge::level(uint64_t now_ms) const noexcept {
    if (!known_ || now_ms < until_ms_)
        return word_.level;
    const uint64_t over_s = (now_ms - until_ms_) / 1000;
    return over_s >= level_max / fade_per_s
               ? 0
               : word_.level - static_cast<Level>(min<uint64_t>(word_.level, over_s * fade_per_s));
}

bool Gauge::fades(uint64_t now_ms) const noexcept { return level(now_ms) != 0; }

} // namespace xpv::balloon
