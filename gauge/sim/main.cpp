// SPDX-License-Identifier: GPL-2.0-only
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gauge/sim/picture.hpp"
#include "gauge/sim/study.hpp"

namespace xpv::gauge::sim {
namespace {

constexpr const char* usage =
    R"(usage: gauge-sim [--guests N] [--seconds N] [--seed N] [--load LOAD] [--svg FILE]
       gauge-sim --border | --leak | --check | --help

Hosts with guests that follow the pressure gauge, by the code of the balloon and of
xpv-gauged, beside static targets, a proportional squeeze, and a manager that is told each
guest's need. Prints Markdown.

  --guests N     2 to 200 (20)
  --seconds N    600 to 100000 (7200)
  --seed N       (1)
  --load LOAD    one of diurnal step spike leak anti mixed; all of them otherwise
  --svg FILE     a picture of the mixed load over time
  --border       the delay at which guests begin to swing, beside the formula
  --leak         bits per second that a neighbour gets through the gauge, beside the bound
  --check        a test of what docs/GAUGE.md claims, in KTAP
)";

constexpr Manager managers[] = {Manager::Static, Manager::Squeeze, Manager::Teller, Manager::Gauge,
                                Manager::Relief};
constexpr Load loads[] = {Load::Mixed, Load::Diurnal, Load::Step,
                          Load::Spike, Load::Leak,    Load::Anti};

void row(const char* what, const char* who, const Metrics& m) {
    printf("| %s | %s | %.1f | %u | %.0f ± %.0f | %.0f | %.0f | %.2f | %.0f | %.2f |\n", what, who,
           m.lack, m.ooms, m.free_mean, m.free_sd, m.free_min, m.moved, m.changes, m.refaults,
           m.jain);
}

void table(const Scenario& asked, bool one_load) {
    printf("%u guests, %u s, seed %" PRIu64
           ", over-commit %.1f, needs %.0f %% of the host at their "
           "peak\n\n| load | targets by | unmet MiB | OOMs | host free MiB | least | moved MiB/s | "
           "levels/s | refaults/s | Jain |\n|---|---|---|---|---|---|---|---|---|---|\n",
           asked.guests, asked.seconds, asked.seed, asked.over_commit, asked.peak * 100);
    for (const Load load : loads) {
        Scenario scenario = asked;
        if (one_load && load != asked.load)
            continue;
        scenario.load = load;
        for (const Manager manager : managers)
            row(name_of(load), name_of(manager), run(scenario, manager).metrics);
    }
    if (one_load)
        return;
    Scenario scenario = asked;
    scenario.greedy = 1;
    row("mixed, one never gives", name_of(Manager::Relief), run(scenario, Manager::Relief).metrics);
    scenario.greedy = 0;
    scenario.dead_from_s = asked.seconds / 2;
    row("mixed, gauged dies half-way", name_of(Manager::Relief),
        run(scenario, Manager::Relief).metrics);
    scenario.dead_from_s = 0;
    for (const uint32_t late : {5u, 12u}) {
        scenario.store_s = late;
        row(("mixed, words " + std::to_string(late) + " s late").c_str(), name_of(Manager::Relief),
            run(scenario, Manager::Relief).metrics);
    }
    printf("\n| sum of max / host | settles, s after a push is over |\n|---|---|\n");
    for (const double over_commit : {1.2, 1.5, 2.0})
        printf("| %.1f | %u |\n", over_commit, settles_s(over_commit));
}

struct Setting {
    double over_commit;
    uint32_t band;
};
constexpr Setting settings[] = {{1.2, 10}, {1.2, 16}, {1.5, 5}, {1.5, 10},
                                {1.5, 16}, {2.0, 10}, {2.0, 16}};

void borders() {
    printf("| sum of max / host | band, %% of the host | at rest below, s | estimate, s | swings "
           "from, s |\n|---|---|---|---|---|\n");
    for (const Setting& one : settings) {
        const Border border = border_of(one.over_commit, one.band);
        printf("| %.1f | %u | %.0f | %.0f | %.0f |\n", border.over_commit, border.band,
               border.proven, border.estimate, border.found);
    }
}

constexpr double amplitudes[] = {0.3, 1, 3};

void leaks() {
    printf(
        "Bits per second, the length of a bit being the neighbour's best of 1 to 64 s; a level is "
        "936 MiB of a 64 GiB host.\n\n| interval + jitter, s | ± 0.3 level | ± 1 level | ± 3 "
        "levels | log2(8) / interval |\n|---|---|---|---|---|\n");
    constexpr uint32_t timings[][2] = {{1, 0}, {2, 1}, {5, 5}, {10, 5}, {30, 30}};
    for (const auto& [interval, jitter] : timings) {
        printf("| %u + %u |", interval, jitter);
        for (const double amplitude : amplitudes)
            printf(" %.3f |", leak_of(interval, jitter, amplitude).bits);
        printf(" %.2f |\n", leak_of(interval, jitter, 1).bound);
    }
    printf("| populating until it fails, 1 |");
    for (const double amplitude : amplitudes)
        printf(" %.3f |", leak_by_populating(amplitude));
    printf(" |\n");
}

class Report {
public:
    Report() { printf("KTAP version 1\n"); }
    // What is claimed, and the figures that it rests on.
    void test(bool holds, const std::string& name, const std::string& figures) {
        failed_ += !holds;
        printf("%sok %u %s # %s\n", holds ? "" : "not ", ++done_, name.c_str(), figures.c_str());
        fflush(stdout);
    }
    int finish() const {
        printf("1..%u\n# %u passed, %u failed\n", done_, done_ - failed_, failed_);
        return failed_ != 0 ? 1 : 0;
    }

private:
    unsigned done_ = 0, failed_ = 0;
};

std::string text(const char* format, double a, double b) {
    char line[160];
    snprintf(line, sizeof(line), format, a, b);
    return line;
}

int check() {
    Report report;
    for (const uint32_t guests : {20u, 60u}) {
        double lack[5] = {};
        for (uint64_t seed = 1; seed <= 6; ++seed)
            for (const Manager manager : {Manager::Squeeze, Manager::Teller, Manager::Gauge}) {
                Scenario scenario;
                scenario.guests = guests;
                scenario.seed = seed;
                lack[static_cast<size_t>(manager)] += run(scenario, manager).metrics.lack / 6;
            }
        const std::string who = std::to_string(guests) + " guests, six seeds";
        report.test(lack[3] * 10 <= lack[1], who + ": a tenth of what a squeeze leaves unmet",
                    text("%.2f and %.2f MiB", lack[3], lack[1]));
        report.test(lack[3] < lack[2], who + ": less than who is told each need",
                    text("%.2f and %.2f MiB", lack[3], lack[2]));
    }
    for (const Load load : loads)
        for (const uint32_t guests : {5u, 20u, 200u}) {
            Scenario scenario;
            scenario.load = load;
            scenario.guests = guests;
            const double squeeze = run(scenario, Manager::Squeeze).metrics.lack;
            const double ours = run(scenario, Manager::Gauge).metrics.lack;
            // A squeeze that leaves next to nothing unmet is no measure.
            report.test(ours <= std::max(squeeze / 10, 0.5),
                        std::string(name_of(load)) + ", " + std::to_string(guests) +
                            " guests: a tenth of a squeeze's, or half a MiB",
                        text("%.2f and %.2f MiB", ours, squeeze));
        }
    Scenario odd;
    const double squeeze = run(odd, Manager::Squeeze).metrics.lack;
    odd.greedy = 1;
    report.test(run(odd, Manager::Gauge).metrics.lack * 10 <= squeeze,
                "one that never gives: a tenth of a squeeze's",
                text("%.2f and %.2f MiB", run(odd, Manager::Gauge).metrics.lack, squeeze));
    odd.greedy = 0;
    odd.dead_from_s = odd.seconds / 2;
    const Result dead = run(odd, Manager::Gauge);
    report.test(dead.moments[odd.seconds / 2 + 170].level == 0, "a dead gauged's word is forgotten",
                text("level %.3f after 170 s, %.3f at the end",
                     dead.moments[odd.seconds / 2 + 170].level, dead.moments.back().level));
    for (const double over_commit : {1.2, 1.5, 2.0, 3.0}) {
        uint32_t late = 0;
        while (late <= 12 && rests(over_commit, late))
            ++late;
        report.test(late > 12,
                    text("over-commit %.1f: at rest for any delay up to 12 s more", over_commit, 0),
                    text("swings %.0f s late", late, 0));
    }
    for (const Setting& one : settings) {
        const Border border = border_of(one.over_commit, one.band);
        const std::string what =
            text("over-commit %.1f, band %.0f %%: ", one.over_commit, one.band);
        report.test(border.found >= border.proven, what + "at rest where that is proven",
                    text("swings at %.0f s, proven below %.1f s", border.found, border.proven));
        report.test(border.found >= border.estimate * 0.6 && border.found <= border.estimate * 1.6,
                    what + "swings about where the estimate has it",
                    text("%.0f s, estimate %.1f s", border.found, border.estimate));
    }
    double worst = 0;
    for (const double amplitude : amplitudes) {
        const Leak leak = leak_of(5, 5, amplitude);
        worst = std::max(worst, leak.bits);
        report.test(leak.bits <= leak.bound,
                    text("the leak is within its bound, %.1f levels", amplitude, 0),
                    text("%.3f and %.3f bit/s", leak.bits, leak.bound));
    }
    report.test(worst * 5 < leak_by_populating(0.3), "populating until it fails tells more",
                text("%.3f and %.3f bit/s", worst, leak_by_populating(0.3)));
    return report.finish();
}

bool number(const char* text, uint64_t low, uint64_t high, uint64_t& to) {
    char* end = nullptr;
    to = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && to >= low && to <= high;
}

int fail(const std::string& what) {
    fprintf(stderr, "gauge-sim: %s; --help says more\n", what.c_str());
    return 2;
}

int run_main(int argc, char** argv) {
    Scenario scenario;
    bool one_load = false;
    const char* svg = nullptr;
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--help" || option == "-h")
            return fputs(usage, stdout), 0;
        if (option == "--check")
            return check();
        if (option == "--border")
            return borders(), 0;
        if (option == "--leak")
            return leaks(), 0;
        if (++i == argc)
            return fail(option + " is no option, or wants a value");
        uint64_t value = 0;
        if (option == "--guests") {
            if (!number(argv[i], 2, 200, value))
                return fail(option + " " + argv[i] + ": must be 2 to 200");
            scenario.guests = static_cast<uint32_t>(value);
        } else if (option == "--seconds") {
            if (!number(argv[i], 600, 100000, value))
                return fail(option + " " + argv[i] + ": must be 600 to 100000");
            scenario.seconds = static_cast<uint32_t>(value);
        } else if (option == "--seed") {
            if (!number(argv[i], 0, UINT64_MAX, scenario.seed))
                return fail(option + " " + argv[i] + ": must be a number");
        } else if (option == "--load") {
            for (const Load load : loads)
                if (option == "--load" && !strcmp(argv[i], name_of(load))) {
                    scenario.load = load;
                    one_load = true;
                }
            if (!one_load)
                return fail(option + " " + argv[i] + ": no such load");
        } else if (option == "--svg") {
            svg = argv[i];
        } else {
            return fail(option + " is no option");
        }
    }
    if (svg != nullptr) {
        FILE* file = fopen(svg, "w");
        if (file == nullptr || fputs(picture(scenario).c_str(), file) < 0 || fclose(file) != 0)
            return fail(std::string(svg) + ": " + strerror(errno));
        return 0;
    }
    table(scenario, one_load);
    return 0;
}

} // namespace
} // namespace xpv::gauge::sim

int main(int argc, char** argv) { return xpv::gauge::sim::run_main(argc, argv); }
