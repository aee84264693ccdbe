// SPDX-License-Identifier: GPL-2.0-only
#include "gauge/sim/picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace xpv::gauge::sim {
namespace {

constexpr double width = 800, left = 70, right = 150, panel = 130, gap = 34;

template <class... T> void add(std::string& to, const char* format, T... values) {
    char line[256];
    snprintf(line, sizeof(line), format, values...);
    to += line;
}

struct Line {
    const char* name;
    const char* colour;
    std::vector<double> values; // one per second
};

void draw(std::string& svg, double top, const char* title, double most,
          const std::vector<Line>& lines) {
    add(svg, "<text x='%.0f' y='%.0f' font-weight='bold'>%s</text>\n", left, top - 6, title);
    for (const double part : {0.0, 0.5, 1.0})
        add(svg,
            "<path d='M%.0f %.1fh%.0f' stroke='#ddd'/><text x='%.0f' y='%.1f' "
            "text-anchor='end'>%.4g</text>\n",
            left, top + panel * (1 - part), width - left - right, left - 6,
            top + panel * (1 - part) + 4, most * part);
    double label = top + 12;
    for (const Line& line : lines) {
        const size_t step = std::max<size_t>(line.values.size() / 500, 1);
        add(svg, "<polyline fill='none' stroke='%s' points='", line.colour);
        for (size_t t = 0; t + step <= line.values.size(); t += step) {
            // The largest of what a point stands for: a spike is what matters.
            const auto at = line.values.begin() + static_cast<ptrdiff_t>(t);
            const double value = *std::max_element(at, at + static_cast<ptrdiff_t>(step));
            add(svg, "%.1f,%.1f ",
                left + (width - left - right) * static_cast<double>(t) /
                           static_cast<double>(line.values.size()),
                top + panel * (1 - std::min(value / most, 1.0)));
        }
        add(svg, "'/><text x='%.0f' y='%.0f' fill='%s'>%s</text>\n", width - right + 8, label,
            line.colour, line.name);
        label += 16;
    }
}

} // namespace

std::string picture(const Scenario& scenario) {
    std::vector<Line> unmet;
    static constexpr const char* colours[] = {"#999", "#c60", "#06c", "#090", "#090"};
    for (const Manager manager :
         {Manager::Static, Manager::Squeeze, Manager::Teller, Manager::Gauge}) {
        Line line{name_of(manager), colours[static_cast<size_t>(manager)], {}};
        for (const Moment& moment : run(scenario, manager).moments)
            line.values.push_back(moment.lack / 1024);
        unmet.push_back(std::move(line));
    }
    Line need{"need", "#c00", {}}, held{"held", "#06c", {}}, free{"host free", "#090", {}},
        level{"level", "#c60", {}};
    double most = 1;
    for (const Moment& moment : run(scenario, Manager::Gauge).moments) {
        need.values.push_back(moment.need / 1024);
        held.values.push_back(moment.held / 1024);
        free.values.push_back(moment.free / 1024);
        level.values.push_back(moment.level);
        most = std::max(most, std::ceil((moment.held + moment.free) / 1024));
    }
    double worst = 0.1;
    for (const Line& line : unmet)
        worst = std::max(worst, *std::max_element(line.values.begin(), line.values.end()));

    std::string svg;
    const double height = 3 * (panel + gap) + 30;
    add(svg,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' font-family='sans-serif' "
        "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n",
        width, height);
    draw(svg, gap, "unmet memory, GiB", worst, unmet);
    draw(svg, gap + panel + gap, "under the gauge, GiB", most, {need, held, free});
    draw(svg, gap + 2 * (panel + gap), "level that guests believe, mean", 1, {level});
    add(svg, "<text x='%.0f' y='%.0f'>%u guests, %s load, %u s</text>\n", left, height - 8,
        scenario.guests, name_of(scenario.load), scenario.seconds);
    return svg + "</svg>\n";
}

} // namespace xpv::gauge::sim
