// SPDX-License-Identifier: GPL-2.0-only
// What every fake does at each upcall: count it, check the calling context, let
// the test look in ("a second CPU"), and fail on demand. And the books: what was
// handed out, what came back.
#pragma once

#include "core/kapi.h"
#include "core/std.hpp"
#include "kunit/os.h"

namespace xpv::fake {

// The upcalls of core/kapi.h. Copy, Map and Unmap count operations, not batches.
enum class Call : uint8_t {
    // These can fail, by fail() and fail_nth(). What failing means:
    Alloc,         // NULL
    PageAlloc,     // NULL
    Reserve,       // -ENOSPC
    MapPagesAlloc, // -ENOMEM
    ScratchAlloc,  // NULL
    RingMap,       // -ENOMEM
    Map,           // status GNTST_general_error
    Copy,          // status GNTST_general_error, nothing copied
    Offer,         // -ENOSPC
    Bind,          // -EINVAL
    XsRead,        // -EIO
    XsBegin,       // -ENOMEM
    XsWrite,       // -EIO
    XsRemove,      // -EIO
    XsEnd,         // -EAGAIN
    Switch,        // -EIO
    // A driver's own upcalls, for the driver's fakes: failing means what they say.
    Driver0,
    Driver1,
    Driver2,
    Driver3,
    // These cannot.
    Grant,
    End,
    GiveUp,
    Unreserve,
    Defer,
    Unmap,
    RingUnmap,
    Notify,
    Eoi,
    Unbind,
    Free,
    Log,
    Wait,
    count
};
inline constexpr Call last_fallible = Call::Driver3;

// Where the code under test is being called from.
enum class Context : uint8_t { Process, Softirq, Hardirq };

// A driver's fakes may add counts of their own (packets, say): World::watch().
struct Count {
    const char* what = "";
    uint32_t out = 0;
    uint32_t back = 0;
    Count* next = nullptr;

    void take() noexcept { ++out; }
    void give(uint32_t n = 1) noexcept { back += n; }
    uint32_t outstanding() const noexcept { return out - back; }
};

class Account : NoCopy {
public:
    Account() noexcept;

    // ---- for tests ----------------------------------------------------------

    // The nth call from now (1: the next) and times - 1 after it fail, with code
    // instead of the errno or status above unless it is 0.
    void fail(Call call, uint32_t nth = 1, uint32_t times = 1, int code = 0) noexcept;
    // The nth fallible call from now, of whatever kind: for sweeps that inject one
    // failure at each place in turn until injected() stays 0.
    void fail_nth(uint32_t nth) noexcept { sweep_ = nth; }
    void fail_nothing() noexcept;
    // Failures that were injected so far.
    uint32_t injected() const noexcept { return injected_; }
    uint32_t calls(Call call) const noexcept { return calls_[static_cast<uint32_t>(call)]; }

    // Called at the start of each upcall, before it does anything: what another
    // CPU or the peer does meanwhile. Not called again from inside itself.
    using Hook = void (*)(void* context, Call call);
    void at_each_call(Hook hook, void* hook_context) noexcept {
        hook_ = hook;
        hook_context_ = hook_context;
    }

    // Called when a lock was taken, and before one is dropped.
    using LockHook = void (*)(void* context, bool taken);
    void at_each_lock(LockHook hook, void* hook_context) noexcept {
        lock_hook_ = hook;
        lock_hook_context_ = hook_context;
    }

    Context context = Context::Process;
    uint32_t locks = 0; // taken now: a bit for each order

    // Handed out and not back yet.
    Count memory{"xpv_alloc memory"};
    Count pages{"pages"};
    Count refs{"grant references"};
    Count grants{"grants in force"};
    Count deferred{"deferred grants"};
    Count map_pages{"pages to map into"};
    Count mappings{"mapped grants"};
    Count scratches{"map scratch areas"};
    Count ring_mappings{"mapped rings"};
    Count channels{"event channels"};
    Count transactions{"xenstore transactions"};
    void watch(Count& count) noexcept;
    // Everything of every count that is out, with one failure a kind.
    uint32_t report_leaks() const noexcept;
    uint32_t outstanding() const noexcept;

    // ---- for the fakes ------------------------------------------------------

    void lock_changes(bool taken) noexcept {
        if (lock_hook_ != nullptr)
            lock_hook_(lock_hook_context_, taken);
    }
    // At the start of each upcall; worst is the most constrained context it may be
    // called from.
    void enter(Call call, Context worst) noexcept;
    // Does this call (this operation of it) fail? The code to fail with, or 0.
    int inject(Call call, int usual_code) noexcept;

private:
    struct Plan {
        uint32_t nth = 0; // calls to go; 0: no plan
        uint32_t times = 0;
        int code = 0;
    };
    Plan plans_[static_cast<uint32_t>(last_fallible) + 1];
    uint32_t calls_[static_cast<uint32_t>(Call::count)] = {};
    uint32_t sweep_ = 0;
    uint32_t injected_ = 0;
    Hook hook_ = nullptr;
    void* hook_context_ = nullptr;
    bool in_hook_ = false;
    LockHook lock_hook_ = nullptr;
    void* lock_hook_context_ = nullptr;
    Count* first_ = nullptr;
};

// For the time of a block the code under test runs in another context.
class In : NoCopy {
public:
    In(Account& account, Context context) noexcept : account_{account}, old_{account.context} {
        account.context = context;
    }
    ~In() { account_.context = old_; }

private:
    Account& account_;
    Context old_;
};

} // namespace xpv::fake
