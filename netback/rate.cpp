// SPDX-License-Identifier: GPL-2.0-only
// The `rate` node: a limit that the toolstack sets and may change at any time. It counts for each
// direction by itself, as a link's speed does, and for all queues of a vif together. Its credit
// outlives connections: a guest gains none by connecting again.
#include "netback/device.hpp"

namespace xpv::netback {

void Device::read_rate() noexcept {
    char text[sizeof(rate_text_)];
    const int length = xpv_xs_read(bus(), XPV_XS_OWN, "rate", text, sizeof(text));
    const bool present = length != to_errno(Error::NoEntry);
    if (!present)
        text[0] = '\0';
    else if (length == to_errno(Error::TooBig))
        __builtin_memcpy(text, "...", sizeof("..."));
    else if (length < 0)
        return; // no answer says nothing
    if (present == rate_present_ && __builtin_strcmp(text, rate_text_) == 0)
        return;
    rate_present_ = present;
    __builtin_memcpy(rate_text_, text, sizeof(text));

    const Result<Rate> rate = present ? Rate::parse(text) : Rate{};
    if (!rate.ok()) {
        xpv_log(bus(), XPV_LOG_ERR, "rate = \"%s\" is not " XPV_RATE_RANGE ": %s", text,
                rates_[0].limited() ? "the limit stays" : "nothing is limited");
        return;
    }
    for (RateBucket& bucket : rates_)
        bucket.set(rate.value());
    if (present)
        xpv_log(bus(), XPV_LOG_INFO, "limited to %llu bytes per %u us in each direction",
                static_cast<unsigned long long>(rate.value().bytes()), rate.value().period_us());
    else
        xpv_log(bus(), XPV_LOG_INFO, "not limited any more");
    // Who waits for the old rate's credit looks at the new one's.
    for (uint32_t i = 0; i < queue_count_; ++i)
        xpv_netback_os_schedule(queues_[i]->shim, XPV_NETBACK_TX | XPV_NETBACK_RX);
}

} // namespace xpv::netback
