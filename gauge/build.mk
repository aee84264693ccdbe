# SPDX-License-Identifier: GPL-2.0-only
#
# The gauge's programs, for this machine. From the project's folder:
#
#   make -f gauge/build.mk gauged     build/gauged/xpv-gauged, the daemon of dom0
#   make -f gauge/build.mk test       build/gauged/gauge-test, its policy without Xen
#   make -f gauge/build.mk sim        build/gauged/gauge-sim

out  := build/gauged
CXX  := g++
libs := xenlight xenstore xenevtchn xentoollog

# The builder's own: CXXFLAGS, CPPFLAGS, LDFLAGS. The lab's dom0 has no libstdc++; a package
# says runtime= and depends on it.
CXXFLAGS ?= -O2 -g
runtime  := -static-libstdc++ -static-libgcc
flags = $(CPPFLAGS) $(CXXFLAGS) -std=gnu++20 -fno-strict-aliasing -Wall -Wextra -Wshadow \
	-Wconversion -Wno-sign-conversion -Wno-missing-field-initializers -Wold-style-cast \
	-Werror -iquote . -DXPV_VERSION=\"$(shell cat VERSION)\" $(foreign)
# The tests': what they do wrong ends them.
sanitize := -fsanitize=address,undefined -fno-sanitize-recover=undefined

# Of the gauge without Xen, as daemon, test and simulator share it.
policy := gauge/meter.cpp gauge/config.cpp gauge/policy.cpp gauge/says.cpp gauge/report.cpp \
          balloon/gauge.cpp
daemon := $(policy) gauge/xen.cpp gauge/main.cpp
test   := $(policy) $(wildcard gauge/test/*.cpp)
sim    := $(policy) balloon/controller.cpp $(wildcard gauge/sim/*.cpp)

gauged: $(out)/xpv-gauged
test: $(out)/gauge-test
sim: $(out)/gauge-sim
.PHONY: gauged test sim
.DELETE_ON_ERROR:

$(out)/xpv-gauged: $(daemon:%.cpp=$(out)/obj/%.o)
	@echo "  LINK    $@"
	@$(CXX) $(LDFLAGS) $(runtime) -o $@ $^ $$(pkg-config --libs $(libs))

$(out)/gauge-test: $(test:%.cpp=$(out)/san/%.o)
	@echo "  LINK    $@"
	@$(CXX) $(sanitize) -o $@ $^

$(out)/gauge-sim: $(sim:%.cpp=$(out)/obj/%.o)
	@echo "  LINK    $@"
	@$(CXX) -o $@ $^

# The one file that sees Xen's headers, which are not ours to warn about.
$(out)/obj/gauge/xen.o: foreign := -Wno-old-style-cast -Wno-conversion
$(out)/obj/gauge/xen.o: | $(out)/have-xen
$(out)/have-xen:
	@pkg-config --exists $(libs) 2>/dev/null || { \
	   echo "xpv: libxenlight's headers are not here: install libxen-dev and pkgconf (make deps)" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

$(out)/obj/%.o: %.cpp gauge/build.mk
	@mkdir -p $(@D)
	@echo "  CXX     $@"
	@$(CXX) $(flags) -MMD -MP -c -o $@ $<

$(out)/san/%.o: %.cpp gauge/build.mk
	@mkdir -p $(@D)
	@echo "  CXX     $@"
	@$(CXX) $(flags) $(sanitize) -O1 -MMD -MP -c -o $@ $<

-include $(patsubst %.cpp,$(out)/obj/%.d,$(daemon) $(sim)) $(patsubst %.cpp,$(out)/san/%.d,$(test))
