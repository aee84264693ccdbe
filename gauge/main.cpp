// SPDX-License-Identifier: GPL-2.0-only
// xpv-gauged: tells guests how scarce memory is on their host. docs/GAUGE.md is the contract.
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include <fcntl.h>
#include <getopt.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "gauge/report.hpp"
#include "gauge/xen.hpp"

namespace xpv::gauge {
namespace {

constexpr const char* usage =
    R"(usage: xpv-gauged [--once] [--dry-run] [--json] [--config FILE]
       xpv-gauged --remove | --check-config | --help | --version

Publishes how scarce memory is on this host to each of its guests, in
/local/domain/N/memory/xpv-gauge. Runs in dom0, as root, until SIGTERM, and removes
what it wrote then. SIGHUP reads the configuration again.

  -1, --once          look once, publish, leave the nodes, and end
  -n, --dry-run       write nothing
  -j, --json          a line of JSON per look; with --once one line
  -c, --config FILE   instead of /etc/xpv/gauged.conf, which may be missing
      --check-config  read the configuration, and end
      --remove        remove every guest's node, and end
  -h, --help
      --version
)";

constexpr const char* default_config = "/etc/xpv/gauged.conf";
constexpr const char* lock_file = "/run/xpv-gauged/lock";
constexpr uint32_t poll_ms = 1000;
constexpr uint32_t failures_max = 5; // looks at Xen one after the other, then we end

struct Options {
    bool once = false, dry_run = false, json = false, remove = false, check = false;
    std::string config = default_config;
    bool config_given = false;
};

uint64_t clock_ms(clockid_t clock) noexcept {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1000 +
           static_cast<uint64_t>(time.tv_nsec) / 1000000;
}

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "xpv-gauged: ");
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
}

bool read_config(const Options& options, Config& config) {
    std::ifstream file(options.config);
    if (!file) {
        if (!options.config_given && errno == ENOENT)
            return true;
        say("%s: %s", options.config.c_str(), strerror(errno));
        return false;
    }
    std::ostringstream text;
    text << file.rdbuf();
    const std::string error = parse_config(text.str(), options.config, config);
    if (!error.empty())
        say("%s", error.c_str());
    return error.empty();
}

// One that writes at a time. The lock ends with the process.
bool lock() {
    mkdir("/run/xpv-gauged", 0755);
    const int file = open(lock_file, O_CREAT | O_CLOEXEC | O_RDWR, 0600);
    if (file < 0) {
        say("%s: %s", lock_file, strerror(errno));
        return false;
    }
    if (flock(file, LOCK_EX | LOCK_NB) != 0) {
        say("another one runs (%s)", lock_file);
        return false;
    }
    return true;
}

class Daemon {
public:
    Daemon(Xen& xen, const Options& options, const Config& config)
        : xen_{xen}, options_{options}, policy_{config, std::random_device{}(),
                                                clock_ms(CLOCK_REALTIME)} {}

    int run() {
        Xen::Woken woken;
        do {
            if (!look(woken.enomem) && ++failures_ >= (options_.once ? 1 : failures_max)) {
                say("no answer from Xen, %u times", failures_);
                remove_all();
                return 1;
            }
            if (options_.once)
                return 0;
            woken = xen_.wait(poll_ms);
            if (woken.reload)
                reload();
        } while (!woken.stop);
        remove_all();
        return 0;
    }

    void remove_all() {
        std::vector<Domain> domains;
        if (options_.dry_run || !xen_.domains(domains))
            return;
        for (const Domain& domain : domains)
            xen_.remove(domain.id);
    }

private:
    bool look(bool enomem) {
        Host host;
        std::vector<Domain> domains;
        if (!xen_.host(host) || !xen_.domains(domains))
            return false;
        failures_ = 0;
        for (const Publication& one : policy_.step(clock_ms(CLOCK_BOOTTIME), host, domains, enomem))
            publish(one);
        std::erase_if(said_, [&](const auto& said) {
            for (const Domain& domain : domains)
                if (domain.id == said.first)
                    return false;
            return true;
        });
        if (options_.json)
            fputs(as_json(clock_ms(CLOCK_REALTIME), host, policy_, said_).c_str(), stdout);
        else if (options_.once)
            fputs(as_table(host, policy_, said_).c_str(), stdout);
        fflush(stdout);
        return true;
    }

    void publish(const Publication& one) {
        said_[one.domain] = xen_.says(one.domain);
        if (options_.dry_run)
            return;
        char word[balloon::GaugeWord::size];
        const uint32_t length = balloon::format_gauge(one.word, word);
        if (xen_.publish(one.domain, {word, length})) {
            silent_.erase(one.domain);
            return;
        }
        if (silent_.insert(one.domain).second) // told once, tried each second
            say("domain %u: its node cannot be written: %s", one.domain, strerror(errno));
        policy_.failed(one.domain);
    }

    void reload() {
        Config config;
        if (read_config(options_, config))
            policy_.configure(config);
        else
            say("the configuration stays as it was");
    }

    Xen& xen_;
    const Options& options_;
    Policy policy_;
    Says said_;
    std::set<uint32_t> silent_;
    uint32_t failures_ = 0;
};

// Whether to go on.
bool read_options(int argc, char** argv, Options& options, int& status) {
    enum { Remove = 256, Check, Version };
    static constexpr option longer[] = {{"once", no_argument, nullptr, '1'},
                                        {"dry-run", no_argument, nullptr, 'n'},
                                        {"json", no_argument, nullptr, 'j'},
                                        {"config", required_argument, nullptr, 'c'},
                                        {"remove", no_argument, nullptr, Remove},
                                        {"check-config", no_argument, nullptr, Check},
                                        {"help", no_argument, nullptr, 'h'},
                                        {"version", no_argument, nullptr, Version},
                                        {}};
    status = 0;
    for (int c; (c = getopt_long(argc, argv, "1njc:h", longer, nullptr)) != -1;) {
        switch (c) {
        case '1':
            options.once = true;
            break;
        case 'n':
            options.dry_run = true;
            break;
        case 'j':
            options.json = true;
            break;
        case 'c':
            options.config = optarg;
            options.config_given = true;
            break;
        case Remove:
            options.remove = true;
            break;
        case Check:
            options.check = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return false;
        case Version:
            puts("xpv-gauged " XPV_VERSION);
            return false;
        default:
            status = 2;
            return false;
        }
    }
    if (optind != argc) {
        say("%s: there are options only; --help lists them", argv[optind]);
        status = 2;
        return false;
    }
    return true;
}

int run(int argc, char** argv) {
    Options options;
    int status = 0;
    if (!read_options(argc, argv, options, status))
        return status;
    Config config;
    if (!read_config(options, config))
        return 2;
    if (options.check)
        return 0;
    std::string error;
    const auto xen = Xen::open(error);
    if (!xen) {
        say("%s", error.c_str());
        return 1;
    }
    Daemon daemon{*xen, options, config};
    if (options.remove) {
        daemon.remove_all();
        return 0;
    }
    if (!options.dry_run && !lock())
        return 1;
    if (!options.once)
        if (const std::string missing = xen->listen(); !missing.empty())
            say("goes on with %s", missing.c_str());
    return daemon.run();
}

} // namespace
} // namespace xpv::gauge

int main(int argc, char** argv) { return xpv::gauge::run(argc, argv); }
