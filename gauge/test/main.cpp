// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/test/check.hpp"

namespace xpv::gauge::test {
Case* cases = nullptr;
unsigned failures = 0;
} // namespace xpv::gauge::test

int main() {
    using namespace xpv::gauge::test;
    unsigned number = 0, failed = 0;
    std::cout << "KTAP version 1\n";
    for (const Case* one = cases; one != nullptr; one = one->next) {
        const unsigned before = failures;
        one->run();
        failed += failures != before;
        std::cout << (failures == before ? "ok " : "not ok ") << ++number << ' ' << one->name
                  << '\n';
    }
    std::cout << "1.." << number << '\n';
    return failed != 0 ? 1 : 0;
}
