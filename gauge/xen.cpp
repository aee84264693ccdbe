// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/xen.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

extern "C" { // these headers do not say so themselves
#include <libxl.h>
#include <libxl_utils.h>
#include <xenevtchn.h>
#include <xenstore.h>
#include <xentoollog.h>
}
#include <xen/xen.h>

namespace xpv::gauge {
namespace {

constexpr int tries = 5; // of a transaction that others disturb
constexpr Kib page = 4;

struct Free {
    void operator()(void* memory) const noexcept { free(memory); }
};
using Text = std::unique_ptr<char, Free>;

class Real final : public Xen {
public:
    Real() = default;
    Real(const Real&) = delete;
    Real& operator=(const Real&) = delete;
    ~Real() override {
        if (signals_ >= 0)
            close(signals_);
        if (events_ != nullptr)
            xenevtchn_close(events_);
        if (store_ != nullptr)
            xs_close(store_);
        if (xl_ != nullptr)
            libxl_ctx_free(xl_);
        if (log_ != nullptr)
            xtl_logger_destroy(reinterpret_cast<xentoollog_logger*>(log_));
    }

    std::string start() {
        log_ = xtl_createlogger_stdiostream(stderr, XTL_ERROR, 0);
        if (log_ == nullptr || libxl_ctx_alloc(&xl_, LIBXL_VERSION, 0,
                                               reinterpret_cast<xentoollog_logger*>(log_)) != 0)
            return "libxenlight does not start: is this dom0, and root?";
        store_ = xs_open(0);
        if (store_ == nullptr)
            return std::string("xenstore does not answer: ") + strerror(errno);
        return {};
    }

    std::string listen() override {
        std::string missing;
        // First: libxenstore starts a thread.
        sigset_t set;
        sigemptyset(&set);
        for (const int signal : {SIGTERM, SIGINT, SIGHUP})
            sigaddset(&set, signal);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        for (const char* path : {"@introduceDomain", "@releaseDomain"})
            if (!xs_watch(store_, path, path))
                missing += std::string("no watch on ") + path + ": " + strerror(errno) + "; ";
        events_ = xenevtchn_open(nullptr, 0);
        if (events_ == nullptr || xenevtchn_bind_virq(events_, VIRQ_ENOMEM) < 0)
            missing +=
                std::string("no interrupt when Xen runs out of memory: ") + strerror(errno) + "; ";
        if (!missing.empty())
            missing.resize(missing.size() - 2);
        return missing;
    }

    Woken wait(uint32_t ms) override {
        pollfd fds[] = {{signals_, POLLIN, 0},
                        {xs_fileno(store_), POLLIN, 0},
                        {events_ != nullptr ? xenevtchn_fd(events_) : -1, POLLIN, 0}};
        Woken woken;
        if (poll(fds, 3, static_cast<int>(ms)) <= 0)
            return woken;
        signalfd_siginfo signal;
        while (read(signals_, &signal, sizeof(signal)) == sizeof(signal)) {
            woken.reload |= signal.ssi_signo == SIGHUP;
            woken.stop |= signal.ssi_signo != SIGHUP;
        }
        if (fds[1].revents != 0)
            while (char** event = xs_check_watch(store_)) {
                free(event);
                woken.domains = true;
            }
        if (fds[2].revents != 0) {
            const auto port = xenevtchn_pending(events_);
            if (port >= 0) {
                woken.enomem = true;
                xenevtchn_unmask(events_, static_cast<evtchn_port_t>(port));
            }
        }
        return woken;
    }

    bool host(Host& host) override {
        libxl_physinfo info;
        libxl_physinfo_init(&info);
        const bool good = libxl_get_physinfo(xl_, &info) == 0;
        host = {info.total_pages * page, info.free_pages * page, info.outstanding_pages * page};
        libxl_physinfo_dispose(&info);
        return good && host.total != 0;
    }

    bool domains(std::vector<Domain>& domains) override {
        int count = 0;
        libxl_dominfo* list = libxl_list_domain(xl_, &count);
        if (list == nullptr)
            return false;
        domains.clear();
        for (int i = 0; i < count; ++i) {
            const libxl_dominfo& info = list[i];
            uint64_t target = 0;
            if (info.domid == 0 || info.dying || !read_target(info.domid, target))
                continue;
            Domain domain;
            domain.id = info.domid;
            char uuid[37];
            const uint8_t* u = info.uuid.uuid;
            snprintf(uuid, sizeof(uuid),
                     "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
                     u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                     u[13], u[14], u[15]);
            domain.uuid = uuid;
            const Text name{libxl_domid_to_name(xl_, info.domid)};
            domain.name = name ? name.get() : "";
            domain.held = info.current_memkb;
            domain.max = target;
            domains.push_back(std::move(domain));
        }
        libxl_dominfo_list_free(list, count);
        return true;
    }

    GuestSays says(uint32_t domain) override {
        GuestSays said;
        for (size_t i = 0; i < GuestSays::nodes.size(); ++i) {
            unsigned length = 0;
            const std::string path = folder(domain) + "/data/xpv-balloon/" + GuestSays::nodes[i];
            const Text text{static_cast<char*>(xs_read(store_, XBT_NULL, path.c_str(), &length))};
            if (text)
                said.hear(i, {text.get(), length});
        }
        return said;
    }

    bool publish(uint32_t domain, const std::string& word) override {
        xs_permissions permissions[2] = {{0, XS_PERM_NONE}, {domain, XS_PERM_READ}};
        const std::string path = node(domain);
        // Together: a node that is written after its domain has gone would stay for ever.
        return transaction(domain, [&](xs_transaction_t t) {
            return xs_write(store_, t, path.c_str(), word.data(),
                            static_cast<unsigned>(word.size())) &&
                   xs_set_permissions(store_, t, path.c_str(), permissions, 2);
        });
    }

    bool remove(uint32_t domain) override {
        const std::string path = node(domain);
        return transaction(domain, [&](xs_transaction_t t) {
            return xs_rm(store_, t, path.c_str()) || errno == ENOENT;
        });
    }

private:
    static std::string folder(uint32_t domain) { return "/local/domain/" + std::to_string(domain); }
    static std::string node(uint32_t domain) { return folder(domain) + "/memory/xpv-gauge"; }

    bool read_target(uint32_t domain, uint64_t& kib, xs_transaction_t t = XBT_NULL) {
        unsigned length = 0;
        const std::string path = folder(domain) + "/memory/target";
        const Text text{static_cast<char*>(xs_read(store_, t, path.c_str(), &length))};
        if (!text)
            return false;
        kib = strtoull(text.get(), nullptr, 10); // dom0's
        return true;
    }

    template <class Change> bool transaction(uint32_t domain, Change change) {
        for (int i = 0; i < tries; ++i) {
            const xs_transaction_t t = xs_transaction_start(store_);
            if (t == XBT_NULL)
                return false;
            uint64_t target = 0;
            const bool changed = read_target(domain, target, t) && change(t);
            const int error = errno;
            if (xs_transaction_end(store_, t, !changed))
                return errno = error, changed;
            if (!changed || errno != EAGAIN)
                return false;
        }
        return false;
    }

    xentoollog_logger_stdiostream* log_ = nullptr;
    libxl_ctx* xl_ = nullptr;
    xs_handle* store_ = nullptr;
    xenevtchn_handle* events_ = nullptr;
    int signals_ = -1;
};

} // namespace

std::unique_ptr<Xen> Xen::open(std::string& error) {
    auto xen = std::make_unique<Real>();
    error = xen->start();
    if (!error.empty())
        return nullptr;
    return xen;
}

} // namespace xpv::gauge
