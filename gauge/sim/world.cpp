// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/sim/world.hpp"

#include <algorithm>
#include <cmath>

namespace xpv::gauge::sim {
namespace {

using balloon::Controller;
using balloon::Decision;
using balloon::GaugeWord;
using balloon::Sample;

// What a balloon moves per second, whoever asks it.
constexpr Pages give_speed = 512 * mib, take_speed = 1024 * mib;
constexpr Pages kernel = 48 * mib; // of each guest, before it does anything
constexpr uint32_t start_s = 300;  // before anything is counted
constexpr double hits_per_s = 800; // pages of files that a guest looks at

Pages whole(double pages) { return static_cast<Pages>(std::max(pages, 0.0)); }

struct Mail {
    uint64_t at_ms;
    GaugeWord word;
};

struct Guest {
    Pages max = 0, held = 0;
    double need = 0;     // anonymous memory that it wants
    double working = 0;  // pages of files, of which 1 - e^-(cache/working) are found
    double cache = 0;    // pages of files that are there
    double refaults = 0; // so far
    double looking = 1;  // how busy with files
    bool lacking = false, greedy = false;
    Pages target = 0; // of a manager's
    double told = 0;  // to a manager
    balloon::Gauge gauge;
    Controller controller{{}};
    std::deque<Mail> mail;

    Pages reserve() const { return held / 128; }
    double room() const { return static_cast<double>(held) - static_cast<double>(kernel); }
    double lack() const { return std::max(0.0, need - room()); }
    double anonymous() const { return std::min(need, std::max(room(), 0.0)); }
    double free() const { return std::max(0.0, room() - anonymous() - cache); }

    // A second passes: anonymous memory comes first, files fill what is left as they are
    // read, and what was read before and did not stay is read again.
    void live() {
        const double space = std::max(0.0, room() - anonymous() - static_cast<double>(reserve()));
        const double missed = looking * hits_per_s * std::exp(-cache / working);
        if (cache > space)
            cache = space;
        refaults += missed;
        cache = std::min({cache + missed + working / 200, space, 4 * working});
    }
    Sample sample(uint64_t now_ms, bool ours) const {
        Sample sample;
        sample.now_ms = now_ms;
        sample.held = held;
        sample.max = max;
        sample.free = whole(free());
        sample.cache = whole(cache);
        sample.available = sample.free + sample.cache;
        sample.anonymous = whole(anonymous());
        sample.kernel = kernel;
        sample.watermarks = reserve();
        sample.refaults = whole(refaults);
        sample.direct_reclaims = lacking ? now_ms : 0;
        sample.ours = ours;
        return sample;
    }
};

class World {
public:
    World(const Scenario& scenario, Manager manager)
        : scenario_{scenario}, manager_{manager}, policy_{scenario.config, scenario.seed, 1} {
        static constexpr Pages sizes[] = {2048 * mib, 4096 * mib, 8192 * mib};
        Pages sum = 0;
        std::vector<Pages> max;
        for (uint32_t i = 0; i < scenario.guests; ++i) {
            max.push_back(sizes[i % 3]);
            sum += max.back();
        }
        host_ = whole(static_cast<double>(sum) / scenario.over_commit);
        needs_ = needs_of(scenario, max, host_ - kernel * scenario.guests);
        guests_.resize(scenario.guests);
        for (uint32_t i = 0; i < scenario.guests; ++i) {
            Guest& guest = guests_[i];
            guest.max = max[i];
            guest.working = static_cast<double>(max[i]) / 40;
            guest.greedy = i < scenario.greedy;
            // In proportion to max, with a little left, and so do all begin.
            guest.held = whole(static_cast<double>(max[i]) / scenario.over_commit * 0.93);
            guest.target = guest.held;
            names_.push_back("g" + std::to_string(i));
        }
    }

    Result go() {
        Result result;
        double free_sum = 0, free_squares = 0, free_min = 1e18;
        std::vector<double> shares(guests_.size());
        for (uint32_t t = 0; t < start_s + scenario_.seconds; ++t) {
            now_ms_ = uint64_t{t} * 1000 + 1000;
            moved_ = 0;
            for (uint32_t i = 0; i < guests_.size(); ++i)
                guests_[i].need = needs_[i][t < start_s ? 0 : t - start_s];
            manage(t);
            for (Guest& guest : guests_)
                guest.live();
            const Moment moment = look(result.metrics);
            if (t < start_s) { // all find their places first
                result.metrics = {};
                changes_ = 0;
                continue;
            }
            result.metrics.lack += moment.lack;
            result.metrics.moved += static_cast<double>(moved_ / mib);
            free_sum += moment.free;
            free_squares += moment.free * moment.free;
            free_min = std::min(free_min, moment.free);
            for (uint32_t i = 0; i < guests_.size(); ++i) {
                const Guest& guest = guests_[i];
                const double could = static_cast<double>(guest.max - kernel) - guest.need;
                shares[i] += std::max(0.0, guest.room() - guest.need) / std::max(could, 1.0);
            }
            result.moments.push_back(moment);
        }
        const double n = scenario_.seconds;
        Metrics& metrics = result.metrics;
        metrics.lack /= n;
        metrics.moved /= n;
        metrics.changes = static_cast<double>(changes_) / n;
        metrics.free_mean = free_sum / n;
        metrics.free_sd =
            std::sqrt(std::max(0.0, free_squares / n - metrics.free_mean * metrics.free_mean));
        metrics.free_min = free_min;
        double sum = 0, squares = 0;
        for (Guest& guest : guests_)
            metrics.refaults += guest.refaults / n;
        for (const double share : shares) {
            sum += share;
            squares += share * share;
        }
        metrics.jain = squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 0;
        metrics.settled_s = settled_s_;
        return result;
    }

private:
    Pages held() const {
        Pages sum = 0;
        for (const Guest& guest : guests_)
            sum += guest.held;
        return sum;
    }

    void move(Guest& guest, Pages to) {
        if (to < guest.held) {
            // Not what is in use: that is the balloon's reserve.
            const Pages used = whole(guest.anonymous()) + kernel + guest.reserve();
            to = std::max(to, std::min(used, guest.held));
            const Pages step = std::min(guest.held - to, give_speed);
            guest.held -= step;
            moved_ += step;
            guest.cache = std::min(guest.cache, std::max(0.0, guest.room() - guest.anonymous()));
        } else {
            const Pages step = std::min({to - guest.held, take_speed, host_ - held()});
            guest.held += step;
            moved_ += step;
        }
    }

    void manage(uint32_t t) {
        switch (manager_) {
        case Manager::Static:
            for (Guest& guest : guests_)
                move(guest, std::min(host_ / guests_.size(), guest.max));
            break;
        case Manager::Squeeze:
            if (t % 30 == 0)
                squeeze();
            obey();
            break;
        case Manager::Teller:
            tell();
            obey();
            break;
        default:
            follow(t);
        }
    }

    void obey() {
        for (Guest& guest : guests_)
            if (guest.target < guest.held)
                move(guest, guest.target);
        for (Guest& guest : guests_)
            if (guest.target > guest.held)
                move(guest, guest.target);
    }

    // squeezed: all as far between their least and their most.
    void squeeze() {
        double least = 0, most = 0;
        for (const Guest& guest : guests_) {
            least += static_cast<double>(guest.max) / 4;
            most += static_cast<double>(guest.max);
        }
        const double part =
            std::clamp((static_cast<double>(host_) - least) / (most - least), 0.0, 1.0);
        for (Guest& guest : guests_)
            guest.target = whole(static_cast<double>(guest.max) * (0.25 + 0.75 * part));
    }

    // qmemman: each tells what it uses, each second; 1.3 of that is what it should have,
    // and what is left, or lacks, is dealt out in proportion.
    void tell() {
        double wanted = 0;
        std::vector<double> wants;
        for (Guest& guest : guests_) {
            const double used = guest.told + static_cast<double>(kernel);
            wants.push_back(std::clamp(1.3 * used, 200.0 * mib, static_cast<double>(guest.max)));
            wanted += wants.back();
            guest.told = guest.anonymous() + guest.lack(); // heard at the next look
        }
        const double factor = static_cast<double>(host_) / wanted;
        for (uint32_t i = 0; i < guests_.size(); ++i)
            guests_[i].target =
                whole(std::min(wants[i] * factor, static_cast<double>(guests_[i].max)));
    }

    void follow(uint32_t t) {
        std::vector<Domain> domains;
        for (uint32_t i = 0; i < guests_.size(); ++i)
            domains.push_back(
                {i + 1, names_[i], names_[i], guests_[i].held * 4, guests_[i].max * 4});
        const Host host{host_ * 4, (host_ - held()) * 4, 0};
        if (scenario_.dead_from_s == 0 || t < start_s + scenario_.dead_from_s)
            for (const Publication& one : policy_.step(now_ms_, host, domains, false)) {
                Guest& guest = guests_[one.domain - 1];
                guest.mail.push_back({now_ms_ + scenario_.store_s * 1000, one.word});
            }
        // In another order each second: nobody is always the first at the host's memory.
        for (uint32_t n = 0; n < guests_.size(); ++n)
            react(guests_[(n * 7 + t) % guests_.size()], t);
    }

    void react(Guest& guest, uint32_t t) {
        while (!guest.mail.empty() && guest.mail.front().at_ms <= now_ms_) {
            const balloon::Level before = guest.gauge.level(now_ms_);
            (void)guest.gauge.hear(guest.mail.front().word, now_ms_);
            guest.mail.pop_front();
            const balloon::Level level = guest.gauge.level(now_ms_);
            changes_ += level != before;
            if (level > before ? level - before > 200 : before - level > 200)
                settled_s_ = t < start_s ? 0 : t - start_s;
        }
        const Pages before = guest.held;
        const Decision decision =
            guest.controller.tick(guest.sample(now_ms_, guest.cache > 0),
                                  guest.gauge.level(now_ms_), guest.gauge.known());
        move(guest, guest.greedy ? guest.max : decision.goal);
        if (manager_ == Manager::Relief && guest.lack() > 0) { // the OOM notifier
            move(guest, std::min(guest.max, guest.held + whole(guest.lack()) + mib));
            if (guest.held > before)
                guest.controller.relieved(guest.held - before, now_ms_);
        }
    }

    Moment look(Metrics& metrics) {
        Moment moment;
        for (Guest& guest : guests_) {
            const double lack = guest.lack();
            moment.lack += lack / mib;
            moment.need += (guest.need + static_cast<double>(kernel)) / mib;
            moment.level +=
                guest.gauge.level(now_ms_) / 1000.0 / static_cast<double>(guests_.size());
            metrics.ooms += lack > mib && !guest.lacking;
            guest.lacking = lack > mib;
        }
        moment.held = static_cast<double>(held()) / mib;
        moment.free = static_cast<double>(host_) / mib - moment.held;
        return moment;
    }

    const Scenario& scenario_;
    Manager manager_;
    Policy policy_;
    Pages host_ = 0;
    std::vector<Guest> guests_;
    std::vector<std::string> names_;
    std::vector<std::vector<double>> needs_;
    uint64_t now_ms_ = 0;
    Pages moved_ = 0;
    uint64_t changes_ = 0;
    uint32_t settled_s_ = 0;
};

} // namespace

const char* name_of(Manager manager) {
    static constexpr const char* names[] = {"static", "squeeze", "need-teller", "gauge",
                                            "gauge + OOM relief"};
    return names[static_cast<uint8_t>(manager)];
}

const char* name_of(Load load) {
    static constexpr const char* names[] = {"diurnal", "step",  "spike", "leak",
                                            "anti",    "mixed", "steady"};
    return names[static_cast<uint8_t>(load)];
}

Result run(const Scenario& scenario, Manager manager) { return World{scenario, manager}.go(); }

} // namespace xpv::gauge::sim
