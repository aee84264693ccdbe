// SPDX-License-Identifier: GPL-2.0-only
#include "blkfront/features.hpp"

#include "blkfront/blkif.hpp"

namespace xpv::blkfront {
namespace {

// Slots that a disk has in all its rings, and one ring at most: each costs the backend some
// 40 KiB of its domain's memory.
constexpr uint32_t disk_slots = 256;
constexpr uint32_t ring_slots = 128;
constexpr uint32_t order0_slots = 32;
constexpr uint32_t most_sectors_shift = 54; // bytes fit into 63 bits

uint32_t log2_of(uint32_t power) noexcept {
    return power == 0 ? 0 : static_cast<uint32_t>(31 - __builtin_clz(power));
}

// A node that may not be there.
Result<void> remove(const Xenstore& store, const NodeName& key) noexcept {
    Result<void> gone = store.remove(key);
    if (!gone.ok() && gone.error() == Error::NoEntry)
        return {};
    return gone;
}

// The presence of a key decides how a backend reads the others, so that what another
// driver or another connection wrote has to go.
Result<void> remove_leftovers(const Xenstore& store) noexcept {
    const char* const flat[] = {
        "ring-ref", "event-channel",      "ring-page-order",          "num-ring-pages",
        "protocol", "feature-persistent", "feature-large-sector-size"};
    for (const char* name : flat)
        XPV_TRY(remove(store, name));
    for (uint32_t i = 0; i < 1U << XPV_BLKFRONT_MAX_ORDER; ++i)
        XPV_TRY(remove(store, NodeName{"ring-ref", i}));
    // Whatever number of rings they had.
    const Result<uint32_t> before = store.optional(XPV_XS_OWN, "multi-queue-num-queues", 0, 64, 0);
    for (uint32_t i = 0; i < before.value_or(64); ++i)
        XPV_TRY(remove(store, NodeName{"queue-", i}));
    return remove(store, "multi-queue-num-queues");
}

Result<void> write_ring(const Xenstore& store, const char* folder, uint32_t order,
                        const RingPlace& at) noexcept {
    const NodeName ref = NodeName::in(folder, "ring-ref");
    if (order == 0)
        XPV_TRY(store.write(ref, at.refs[0]));
    else
        for (uint32_t i = 0; i < 1U << order; ++i)
            XPV_TRY(store.write(NodeName{ref.text(), i}, at.refs[i]));
    return store.write(NodeName::in(folder, "event-channel"), at.port);
}

} // namespace

Offer read_offer(const Xenstore& store, const xpv_blkfront_settings& settings) noexcept {
    const auto number = [&store](const char* name, uint32_t absent) noexcept {
        return store.optional(XPV_XS_PEER, name, 0, UINT32_MAX, absent).value_or(absent);
    };
    Offer offer;
    const uint32_t queues = number("multi-queue-max-queues", 0);
    offer.multi_queue = queues != 0;
    offer.rings = max(min(queues, settings.max_rings), 1U);

    uint32_t order = XPV_BLKFRONT_MAX_ORDER + 1;
    const Result<uint32_t> orders =
        store.optional(XPV_XS_PEER, "max-ring-page-order", 0, UINT32_MAX, order);
    if (orders.ok())
        order = orders.value();
    else
        order = 0;
    if (order == XPV_BLKFRONT_MAX_ORDER + 1) // another scheme, or none
        order = log2_of(number("max-ring-pages", 1));
    const uint32_t slots = min(ring_slots, disk_slots / offer.rings);
    const uint32_t wanted = log2_of(max(slots / order0_slots, 1U));
    offer.order = min(min(order, wanted), settings.max_order);

    offer.indirect = min(number("feature-max-indirect-segments", 0), settings.max_segments);
    if (offer.indirect <= direct_segments)
        offer.indirect = 0;

    // The promise to keep what is granted covers every grant of the connection, and has to
    // be made before the backend tells whether it cares. Those that know indirect segments
    // do; the others copy by themselves or map each time.
    const bool trusted = store.flag(XPV_XS_OWN, "trusted", true);
    const bool knows = number("feature-max-indirect-segments", 0) != 0;
    offer.persistent = settings.persistent == XPV_BLKFRONT_ON ||
                       (settings.persistent == XPV_BLKFRONT_AUTO && knows);
    offer.copy = offer.persistent || !trusted;
    return offer;
}

Result<void> write_answer(const Xenstore& store, const Offer& offer,
                          Span<const RingPlace> rings) noexcept {
    return store.transact([&]() noexcept -> Result<void> {
        XPV_TRY(remove_leftovers(store));
        if (offer.order != 0) {
            XPV_TRY(store.write("ring-page-order", offer.order));
            XPV_TRY(store.write("num-ring-pages", 1U << offer.order));
        }
        if (rings.size() == 1) {
            XPV_TRY(write_ring(store, "", offer.order, rings[0]));
        } else {
            XPV_TRY(store.write("multi-queue-num-queues", rings.size()));
            for (uint32_t i = 0; i < rings.size(); ++i)
                XPV_TRY(
                    write_ring(store, NodeName{"queue-", i, "/"}.text(), offer.order, rings[i]));
        }
        XPV_TRY(store.write("protocol", "x86_64-abi"));
        return store.write("feature-persistent", offer.persistent);
    });
}

Result<xpv_blkfront_disk> read_disk(const Xenstore& store) noexcept {
    const auto flag = [&store](const char* name) noexcept { return store.flag(XPV_XS_PEER, name); };
    xpv_blkfront_disk disk{};
    uint32_t size = 0;
    XPV_TRY_SET(size,
                store.optional(XPV_XS_PEER, "sector-size", sector_bytes, page_size, sector_bytes));
    if (!is_power_of_two(size)) {
        xpv_log(store.bus(), XPV_LOG_ERR,
                "the other end's sector-size = %u is not a power of two in %u..%u", size,
                sector_bytes, page_size);
        return Error::Range;
    }
    disk.sector_size = size;
    uint64_t sectors = 0;
    XPV_TRY_SET(sectors,
                store.require64(XPV_XS_PEER, "sectors", 0, uint64_t{1} << most_sectors_shift));
    disk.sectors = sectors & ~uint64_t{size / sector_bytes - 1};
    const uint32_t physical =
        store.optional(XPV_XS_PEER, "physical-sector-size", 0, UINT32_MAX, size).value_or(size);
    disk.physical_size = is_power_of_two(physical) && physical >= size ? physical : size;

    const uint32_t info = store.optional(XPV_XS_PEER, "info", 0, UINT32_MAX, 0).value_or(0);
    disk.cdrom = (info & VDISK_CDROM) != 0;
    disk.removable = (info & VDISK_REMOVABLE) != 0;
    disk.readonly = (info & VDISK_READONLY) != 0;

    disk.barrier = flag("feature-barrier");
    disk.flush = flag("feature-flush-cache");
    disk.barrier = disk.barrier && !disk.flush;
    disk.flush = disk.flush || disk.barrier;
    disk.discard = flag("feature-discard") && !disk.readonly;
    disk.erase = disk.discard && flag("discard-secure");
    if (disk.discard) {
        const uint32_t bytes =
            store.optional(XPV_XS_PEER, "discard-granularity", 0, UINT32_MAX, size).value_or(size);
        disk.discard_bytes = bytes >= size && bytes % size == 0 ? bytes : size;
        disk.discard_offset =
            store.optional(XPV_XS_PEER, "discard-alignment", 0, UINT32_MAX, 0).value_or(0);
        if (disk.discard_offset % size != 0)
            disk.discard_offset = 0;
    }
    return disk;
}

namespace {

constexpr uint32_t extended = 1U << 28;
constexpr uint32_t own_major = 202;
constexpr uint32_t disk_minors = 16;
constexpr uint32_t extended_minors = 256;
constexpr uint32_t minor_bits = 20;

// Disks before the first one of a major, of a bus that guests knew before Xen.
Result<uint32_t> disks_before(uint32_t major) noexcept {
    if (major == 8)
        return 0U;
    if (major >= 65 && major <= 71)
        return (major - 64) * 16;
    if (major >= 128 && major <= 135)
        return (major - 128 + 8) * 16;
    return Error::Invalid;
}

// xvda, xvdz, xvdaa.
char* append_letters(char* to, uint32_t disk) noexcept {
    if (disk >= 26)
        to = append_letters(to, disk / 26 - 1);
    *to = static_cast<char>('a' + disk % 26);
    return to + 1;
}

char* append_number(char* to, uint32_t number) noexcept {
    if (number >= 10)
        to = append_number(to, number / 10);
    *to = static_cast<char>('0' + number % 10);
    return to + 1;
}

} // namespace

Result<xpv_blkfront_name> disk_name(uint32_t vdevice) noexcept {
    xpv_blkfront_name name{};
    uint32_t minors = disk_minors;
    uint32_t minor = vdevice & 0xff;
    const uint32_t major = vdevice >> 8;
    if ((vdevice & extended) != 0) {
        minors = extended_minors;
        minor = vdevice & (extended - 1);
    } else if (major == 3 || major == 22) { // IDE: two disks of 64 minors each
        const uint32_t part = minor % 64;
        if (part >= disk_minors)
            return Error::Invalid;
        minor = (minor / 64 + (major == 22 ? 2 : 0)) * disk_minors + part;
        name.foreign = true;
    } else if (major != own_major) {
        uint32_t before = 0;
        XPV_TRY_SET(before, disks_before(major));
        minor += before * disk_minors;
        name.foreign = true;
    }
    if (minor >> minor_bits != 0 || (vdevice & ~(extended * 2 - 1)) != 0)
        return Error::Invalid;
    const uint32_t part = minor % minors;
    name.minor = minor;
    name.minors = part == 0 ? minors : 1;
    name.text[0] = 'x';
    name.text[1] = 'v';
    name.text[2] = 'd';
    char* end = append_letters(name.text + 3, minor / minors);
    if (part != 0)
        end = append_number(end, part);
    *end = '\0';
    return name;
}

} // namespace xpv::blkfront
