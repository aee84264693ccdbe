// SPDX-License-Identifier: GPL-2.0-only
// The downcalls of abi.h.
#include "balloon/balloon.hpp"

xpv_balloon* xpv_balloon_create(xpv_balloon_os* os, const xpv_balloon_settings* settings) {
    void* const memory = xpv_alloc(sizeof(xpv_balloon));
    return memory == nullptr ? nullptr : new (memory) xpv_balloon{os, *settings};
}

void xpv_balloon_destroy(xpv_balloon* balloon) {
    if (balloon != nullptr) {
        balloon->leave();
        balloon->~xpv_balloon();
    }
    xpv_free(balloon);
}

int xpv_balloon_set(xpv_balloon* balloon, const xpv_balloon_settings* settings) {
    return balloon->set(*settings);
}

uint32_t xpv_balloon_turn(xpv_balloon* balloon, uint32_t events) { return balloon->turn(events); }

uint32_t xpv_balloon_oom(xpv_balloon* balloon) { return balloon->oom(); }

int xpv_balloon_ask(xpv_balloon* balloon, const char* text) { return balloon->ask(text); }

const xpv_balloon_counters* xpv_balloon_count(const xpv_balloon* balloon) {
    return &balloon->counters();
}

void xpv_balloon_show(const xpv_balloon* balloon, xpv_balloon_state* state) {
    balloon->show(*state);
}
