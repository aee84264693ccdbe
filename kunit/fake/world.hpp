// SPDX-License-Identifier: GPL-2.0-only
// The operating system, the hypervisor and the peer of one test: implements
// core/kapi.h. Make one first thing in each test:
//
//     World world;                        // a few words of stack, the rest is elsewhere
//     world.account.fail(Call::Reserve);  // if wanted
//     ... run the code under test, play the peer ...
//                                         // at the end: everything came back, or the
//                                         // test fails with what is missing
//
// Only one at a time. The peer plays through raw ring memory: fake_ring.hpp.
#pragma once

#include "kunit/fake/account.hpp"
#include "kunit/fake/end.hpp"
#include "kunit/fake/evtchn.hpp"
#include "kunit/fake/grant.hpp"
#include "kunit/fake/memory.hpp"
#include "kunit/fake/xenstore.hpp"

namespace xpv::fake {

// What xpv_log() was told.
class Log : NoCopy {
public:
    // Lines of each level.
    uint32_t errors = 0;
    uint32_t warnings = 0;
    uint32_t infos = 0;
    uint32_t lines() const noexcept { return errors + warnings + infos; }
    // Does one of the last lines contain this text?
    bool has(const char* text) const noexcept;
    const char* last() const noexcept;

    void add(xpv_log_level level, const char* format, __builtin_va_list arguments) noexcept;

private:
    static constexpr uint32_t kept = 16;
    char text_[kept][160] = {};
};

struct Parts;

class World : NoCopy {
    Parts& parts_; // before the references into it

public:
    // The domain at the other end of bus.
    static constexpr uint16_t peer_domid = 7;

    World() noexcept;
    // Settles, and reports whatever is still out.
    ~World();

    Account& account;
    Memory& memory;
    OurGrants& grants; // that we give
    PeerGrants& peers; // that the peer gives
    Events& events;
    Ends& ends;
    Log& log;
    xpv_xenbus& bus;
    uint64_t now_ms = 1000; // xpv_now_ms()
    uint64_t more_ns = 0;   // xpv_now_ns() besides

    // The peer lets go of everything and the deferred list runs dry.
    void settle() noexcept;
    // Settles, then says whether nothing is out; does not fail the test.
    bool clean() noexcept;
};

// The world of the running test; for a driver's fakes.
World& world() noexcept;

// Fail the running test.
void fail(const char* file, int line, const char* format, ...) noexcept
    __attribute__((format(printf, 3, 4)));

} // namespace xpv::fake

#define XPV_FAKE_FAIL(...) ::xpv::fake::fail(__FILE__, __LINE__, __VA_ARGS__)
