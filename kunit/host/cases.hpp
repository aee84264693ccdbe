// SPDX-License-Identifier: GPL-2.0-only
// The cases of a program that searches worlds, as KTAP: those that the command line names by
// their beginnings, or all. A case is sound and must hold, or a fault and must be caught.
//
//     PROGRAM [--states N] [--story] [NAME...]     exit status 0: all passed
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>

#include "kunit/host/search.hpp"

namespace xpv::host {

class Cases {
public:
    explicit Cases(const char* program) : program_{program} {}

    // Nothing may break.
    void holds(const std::string& name, std::function<Verdict(const Limits&)> play) {
        list_.push_back({name, [this, name, play = std::move(play)] { hold(name.c_str(), play); }});
    }
    // One of these scenarios must break, and say something that begins like how.
    using Plays = std::vector<std::pair<std::string, std::function<Verdict(const Limits&)>>>;
    void breaks(const char* name, Plays plays, const char* how = "") {
        list_.push_back(
            {name, [this, name, plays = std::move(plays), how] { must_break(name, plays, how); }});
    }

    int run(int argc, char** argv) {
        std::vector<std::string> names;
        for (int i = 1; i < argc; ++i) {
            if (!strcmp(argv[i], "--states")) {
                limits_.states = number(argv[i], argv[i + 1], 1, 1'000'000'000);
                ++i;
            } else if (!strcmp(argv[i], "--story")) {
                limits_.story = true;
            } else {
                names.emplace_back(argv[i]);
            }
        }
        std::vector<bool> used(names.size());
        std::vector<const Case*> wanted;
        for (const Case& one : list_) {
            bool any = names.empty();
            for (size_t i = 0; i < names.size(); ++i) {
                if (one.name.rfind(names[i], 0) == 0)
                    any = used[i] = true;
            }
            if (any)
                wanted.push_back(&one);
        }
        for (size_t i = 0; i < names.size(); ++i)
            if (!used[i])
                return no_such_name(names[i]);
        printf("KTAP version 1\n");
        for (const Case* one : wanted)
            one->run();
        printf("1..%d\n%d passed, %d failed\n", passed_ + failed_, passed_, failed_);
        return failed_ != 0;
    }

private:
    struct Case {
        std::string name;
        std::function<void()> run;
    };

    void report(bool good, const char* name, const std::string& detail) {
        good ? ++passed_ : ++failed_;
        printf("%s %d %s # %s\n", good ? "ok" : "not ok", passed_ + failed_, name, detail.c_str());
        fflush(stdout);
    }
    void hold(const char* name, const std::function<Verdict(const Limits&)>& play) {
        const clock_t start = clock();
        const Verdict v = play(limits_);
        char detail[200];
        snprintf(detail, sizeof(detail), "%s%llu states, %llu runs, depth %zu, %.1f s%s",
                 v.broken.empty() ? "" : (v.broken + "; ").c_str(),
                 static_cast<unsigned long long>(v.states), static_cast<unsigned long long>(v.runs),
                 v.depth, static_cast<double>(clock() - start) / CLOCKS_PER_SEC,
                 v.complete ? "" : ", not all");
        report(v.broken.empty() && v.complete, name, detail);
        printf("%s", v.broken.empty() ? "" : v.story.c_str());
    }
    void must_break(const char* name, const Plays& plays, const char* how) {
        std::string seen = "no scenario breaks";
        for (const auto& [scenario, play] : plays) {
            const Verdict v = play(limits_);
            if (!v.broken.empty() && v.broken.rfind(how, 0) == 0) {
                report(true, name, scenario + ": " + v.broken);
                printf("%s", v.story.c_str());
                return;
            }
            if (!v.broken.empty())
                seen = scenario + ", but otherwise: " + v.broken;
        }
        report(false, name, seen);
    }
    int no_such_name(const std::string& name) const {
        fprintf(stderr, "%s: no case's name begins with \"%s\"; there are", program_, name.c_str());
        for (const Case& one : list_)
            fprintf(stderr, " %s", one.name.c_str());
        fprintf(stderr, "\n");
        return 2;
    }
    // A whole number of an option, or the end of the program.
    uint64_t number(const char* option, const char* text, uint64_t least, uint64_t most) const {
        char* end = nullptr;
        const uint64_t value = text != nullptr ? strtoull(text, &end, 10) : 0;
        if (text == nullptr || *text < '0' || *text > '9' || *end != 0 || value < least ||
            value > most) {
            fprintf(stderr, "%s: %s: \"%s\" is not a number from %llu to %llu\n", program_, option,
                    text != nullptr ? text : "", static_cast<unsigned long long>(least),
                    static_cast<unsigned long long>(most));
            exit(2);
        }
        return value;
    }

    const char* const program_;
    std::vector<Case> list_;
    Limits limits_;
    int passed_ = 0;
    int failed_ = 0;
};

} // namespace xpv::host
