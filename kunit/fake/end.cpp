// SPDX-License-Identifier: GPL-2.0-only
#include "kunit/fake/end.hpp"

#include "kunit/fake/world.hpp"

namespace xpv::fake {

void Ends::poke(xpv_event event, uint32_t delay_ms) noexcept {
    if (delay_ms > 60000 || (event != XPV_CHANGED && event != XPV_BROKE && event != XPV_RENEW))
        XPV_FAKE_FAIL("event %u in %u ms", event, delay_ms);
    if (!due(event) || delay_ms == 0)
        delay_ms_[event] = delay_ms;
    due_ |= 1U << event;
    ++asked_[event];
}

bool Ends::wait(uint16_t mask, uint32_t timeout_ms) noexcept {
    account_.enter(Call::Wait, Context::Process);
    if (timeout_ms == 0 || timeout_ms > 60000)
        XPV_FAKE_FAIL("a wait of %u ms", timeout_ms);
    ++waits;
    return on_wait_ != nullptr && on_wait_(on_wait_context_, mask);
}

void Ends::report(int error, const char* format, __builtin_va_list arguments) noexcept {
    account_.enter(Call::Log, Context::Process);
    if (error >= 0)
        XPV_FAKE_FAIL("a report of %d, which is no error", error);
    ++reports;
    xpv_test_format(text_, sizeof(text_), format, arguments);
}

} // namespace xpv::fake

using xpv::fake::world;

void xpv_end_poke(xpv_xenbus*, xpv_event event, uint32_t delay_ms) {
    world().ends.poke(event, delay_ms);
}

bool xpv_end_wait(xpv_xenbus*, uint16_t mask, uint32_t timeout_ms) {
    return world().ends.wait(mask, timeout_ms);
}

void xpv_end_report(xpv_xenbus* bus, int error, const char* format, ...) {
    ++bus->reports;
    bus->reported = true;
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    world().ends.report(error, format, arguments);
    __builtin_va_end(arguments);
    __builtin_va_start(arguments, format);
    world().log.add(XPV_LOG_ERR, format, arguments);
    __builtin_va_end(arguments);
}
