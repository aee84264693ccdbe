// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

namespace xpv::fake {
namespace {

const char* name_of(Context context) noexcept {
    switch (context) {
    case Context::Process:
        return "process context";
    case Context::Softirq:
        return "softirq context";
    case Context::Hardirq:
        return "hard interrupt context";
    }
    return "?";
}

} // namespace

Account::Account() noexcept {
    Count* const all[] = {&memory,        &pages,     &refs,        &grants,
                          &deferred,      &map_pages, &mappings,    &scratches,
                          &ring_mappings, &channels,  &transactions};
    for (Count* count : all)
        watch(*count);
}

void Account::watch(Count& count) noexcept {
    count.next = first_;
    first_ = &count;
}

void Account::fail(Call call, uint32_t nth, uint32_t times, int code) noexcept {
    if (call > last_fallible) {
        XPV_FAKE_FAIL("upcall %d cannot fail", static_cast<int>(call));
        return;
    }
    plans_[static_cast<uint32_t>(call)] = Plan{nth, times, code};
}

void Account::fail_nothing() noexcept {
    for (Plan& plan : plans_)
        plan = Plan{};
    sweep_ = 0;
}

void Account::enter(Call call, Context worst) noexcept {
    ++calls_[static_cast<uint32_t>(call)];
    if (context > worst)
        XPV_FAKE_FAIL("upcall %d in %s", static_cast<int>(call), name_of(context));
    if (locks != 0 && worst == Context::Process)
        XPV_FAKE_FAIL("upcall %d, which may sleep, with a lock held", static_cast<int>(call));
    if (hook_ != nullptr && !in_hook_) {
        in_hook_ = true;
        hook_(hook_context_, call);
        in_hook_ = false;
    }
}

int Account::inject(Call call, int usual_code) noexcept {
    if (sweep_ != 0 && --sweep_ == 0) {
        ++injected_;
        return usual_code;
    }
    Plan& plan = plans_[static_cast<uint32_t>(call)];
    if (plan.nth == 0 || --plan.nth != 0)
        return 0;
    if (--plan.times != 0)
        plan.nth = 1; // the next one too
    ++injected_;
    return plan.code != 0 ? plan.code : usual_code;
}

uint32_t Account::report_leaks() const noexcept {
    uint32_t leaks = 0;
    for (const Count* count = first_; count != nullptr; count = count->next) {
        if (count->outstanding() == 0)
            continue;
        XPV_FAKE_FAIL("%s: %u handed out, %u came back", count->what, count->out, count->back);
        ++leaks;
    }
    return leaks;
}

uint32_t Account::outstanding() const noexcept {
    uint32_t sum = 0;
    for (const Count* count = first_; count != nullptr; count = count->next)
        sum += count->outstanding();
    return sum;
}

} // namespace xpv::fake
