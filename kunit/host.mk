# SPDX-License-Identifier: GPL-2.0-only
#
# The same sources as ordinary host programs with ASan and UBSan: the suites
# (build/host/suites [GLOB]), and what fuzz/ links with. No kernel anywhere.
#
#   make -f kunit/host.mk [suites]        from the project's folder

xpv-top := $(CURDIR)
include kunit/sources.mk

CXX      := clang++-14
SANITIZE ?= -fsanitize=address,undefined -fno-sanitize-recover=undefined
out      ?= build/host

# The language of the modules, without a kernel's code generation.
CXXFLAGS := -std=gnu++20 -O1 -g -ffreestanding -fno-exceptions -fno-rtti -fno-omit-frame-pointer \
	-fno-threadsafe-statics -fno-strict-aliasing -fwrapv -Wall -Wextra -Wshadow \
	-Wconversion -Wno-sign-conversion -Wno-string-conversion \
	-Wno-missing-field-initializers -Wold-style-cast -Werror \
	-iquote . -include kunit/step.hpp -Ibuild/include -DXPV_KUNIT_SELFTEST $(SANITIZE) $(HOST_CXXFLAGS)

# Objects that a fuzz target needs as well: all but the suites.
library := $(patsubst %.cpp,$(out)/%.o,$(filter-out %_test.cpp,$(xpv-kunit-cpp)))
suites  := $(patsubst %.cpp,$(out)/%.o,$(filter %_test.cpp,$(xpv-kunit-cpp)))
host    := $(out)/kunit/host/os.o

suites: $(out)/suites
.PHONY: suites
library: $(library) $(host)
.PHONY: library

$(out)/suites: $(library) $(suites) $(host) $(out)/kunit/host/main.o
	@echo "  LINK    $@"
	@$(CXX) $(SANITIZE) -o $@ $^

# These two are hosted code: they alone see libc.
$(out)/kunit/host/%.o: private CXXFLAGS += -fhosted

$(out)/%.o: %.cpp kunit/host.mk
	@mkdir -p $(@D)
	@echo "  HOSTCXX $@"
	@$(CXX) $(CXXFLAGS) -MMD -MP -c -o $@ $<

-include $(patsubst %.o,%.d,$(library) $(suites) $(host) $(out)/kunit/host/main.o)
