// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/world.hpp"

#ifdef XPV_TEST_STEPS
extern "C" void (*xpv_test_step)() = nullptr;
#endif

namespace xpv::fake {

struct Parts {
    Account account;
    Memory memory{account};
    OurGrants grants{account, memory};
    PeerGrants peers{account, memory};
    Events events{account};
    Ends ends{account};
    Log log;
    xpv_xenbus bus{World::peer_domid};
};

namespace {

World* current = nullptr;

bool contains(const char* text, const char* part) noexcept {
    for (; *text != '\0'; ++text) {
        uint32_t i = 0;
        while (part[i] != '\0' && text[i] == part[i])
            ++i;
        if (part[i] == '\0')
            return true;
    }
    return false;
}

} // namespace

World::World() noexcept
    : parts_{*new (xpv_test_alloc(sizeof(Parts))) Parts}, account{parts_.account},
      memory{parts_.memory}, grants{parts_.grants}, peers{parts_.peers}, events{parts_.events},
      ends{parts_.ends}, log{parts_.log}, bus{parts_.bus} {
    if (current != nullptr)
        XPV_FAKE_FAIL("two worlds at once");
    current = this;
}

World::~World() {
    settle();
    account.report_leaks();
    parts_.~Parts();
    xpv_test_free(&parts_);
    current = nullptr;
}

void World::settle() noexcept {
    account.at_each_call(nullptr, nullptr);
    account.context = Context::Process;
    grants.let_go_all();
    grants.poll_deferred();
}

bool World::clean() noexcept {
    settle();
    return account.outstanding() == 0;
}

World& world() noexcept { return *current; }

void fail(const char* file, int line, const char* format, ...) noexcept {
    char text[200];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    xpv_test_format(text, sizeof(text), format, arguments);
    __builtin_va_end(arguments);
    xpv_test_fail(file, line, text);
}

void Log::add(xpv_log_level level, const char* format, __builtin_va_list arguments) noexcept {
    xpv_test_format(text_[lines() % kept], sizeof(text_[0]), format, arguments);
    switch (level) {
    case XPV_LOG_ERR:
        ++errors;
        break;
    case XPV_LOG_WARN:
        ++warnings;
        break;
    case XPV_LOG_INFO:
        ++infos;
        break;
    }
}

bool Log::has(const char* text) const noexcept {
    for (const auto& line : text_)
        if (contains(line, text))
            return true;
    return false;
}

const char* Log::last() const noexcept { return text_[(lines() - 1) % kept]; }

} // namespace xpv::fake

void xpv_log(const xpv_xenbus*, xpv_log_level level, const char* format, ...) {
    xpv::fake::World& world = xpv::fake::world();
    world.account.enter(xpv::fake::Call::Log, xpv::fake::Context::Hardirq);
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    world.log.add(level, format, arguments);
    __builtin_va_end(arguments);
}

void xpv_xenbus_well(xpv_xenbus* bus) {
    xpv::fake::world().account.enter(xpv::fake::Call::Log, xpv::fake::Context::Process);
    bus->reported = false;
}

uint64_t xpv_now_ms() { return xpv::fake::world().now_ms; }

uint64_t xpv_now_ns() { return xpv::fake::world().now_ms * 1'000'000 + xpv::fake::world().more_ns; }

void xpv_sleep_ms(uint32_t ms) {
    xpv::fake::world().account.enter(xpv::fake::Call::Wait, xpv::fake::Context::Process);
    xpv::fake::world().now_ms += ms;
}
