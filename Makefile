# SPDX-License-Identifier: GPL-2.0-only
#
# Every verb of the project; `make help` lists them. Kbuild says what the modules
# are made of, this file says for which kernel and where they go:
#
#   build/<name>/xpv-*.ko     modules that passed scripts/check-ko
#   build/<name>/obj/         Kbuild's objects for that kernel and no other
#
# <name> is 6.1, 6.12, debug or a full kernel version.

KVER             ?=
KDIR             ?=
SUITE            ?=
MINUTES          ?=
SEED             ?=
INSTALL_MOD_PATH ?=
W                ?= 1
WERROR           ?= 1
XEN_INCLUDE      ?= /usr/include/xen
KERNELS          ?= 6.1 6.12

version := $(shell cat VERSION)
top     := $(CURDIR)

# All processors, unless -j said otherwise.
jobs = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Run by the recipes below: $$kdir and $$name of the kernel that KVER and KDIR pick.
pick = kernel=$$(scripts/kdir '$(KVER)' '$(KDIR)') || exit 1; \
       kdir=$${kernel% *}; name=$${kernel\#\#* }; out=build/$$name

# Kbuild of that kernel over our objects. Without BTF: pahole cannot make it of
# C++ (it stops on template parameters), and not all headers carry the kernel's.
kbuild = $(MAKE) -C $$kdir $(jobs) M=$(top)/$$out/obj W='$(W)' CONFIG_DEBUG_INFO_BTF_MODULES=

## Build
all: modules        ## build for the running kernel, or the newest with headers
.PHONY: all

modules: build/include/xen        ## KVER=6.1|6.12|debug|<version>, or KDIR=<folder>; WERROR=0
	+@$(pick); mkdir -p $$out/obj; \
	 printf '%s := %s\n' xpv-top '$(top)' xpv-include '$(top)/build/include' \
	   xpv-version '$(version)' xpv-werror '$(filter-out 0,$(WERROR))' > $$out/obj/Kbuild.new; \
	 echo 'include $$(xpv-top)/Kbuild' >> $$out/obj/Kbuild.new; \
	 exec 9> $$out/.lock && flock 9 && \
	 { cmp -s $$out/obj/Kbuild.new $$out/obj/Kbuild && rm $$out/obj/Kbuild.new || \
	   mv $$out/obj/Kbuild.new $$out/obj/Kbuild; } && \
	 $(kbuild) modules 9>&- && scripts/publish $$kdir $$out
.PHONY: modules

all-kernels:        ## build for each of KERNELS (6.1 6.12)
	+@status=0; for kernel in $(KERNELS); do \
	   $(MAKE) modules KVER=$$kernel KDIR= || status=1; \
	 done; exit $$status
.PHONY: all-kernels

# The one folder on the C++ include path: Xen's public headers as <xen/...>.
build/include/xen:
	@[ -e $(XEN_INCLUDE)/io/netif.h ] || { \
	   echo "xpv: Xen's public headers are not in $(XEN_INCLUDE): install libxen-dev (make deps)" >&2; exit 1; }
	@mkdir -p $(@D) && ln -sfn $(XEN_INCLUDE) $@

gauged:        ## the pressure gauge's daemon for dom0, build/gauged/xpv-gauged
	+@$(MAKE) $(jobs) -s -f gauge/build.mk gauged
.PHONY: gauged

# Not the modules that only test others.
modules_install: modules        ## install the drivers that were built, and run depmod; INSTALL_MOD_PATH=
	@$(pick); release=$$(scripts/kdir --release $$kdir) || exit 1; \
	 to='$(INSTALL_MOD_PATH)'/lib/modules/$$release/updates; \
	 install -D -v -m 644 -t "$$to" \
	   $$(ls $$out/xpv-*.ko | grep -v -e '-test[.]ko$$' -e '-kunit[.]ko$$') && \
	 depmod -b '$(INSTALL_MOD_PATH)/' $$release
.PHONY: modules_install

deb:        ## Debian packages xpv-dkms and xpv-utils in build/deb, lintian clean
	@scripts/deps deb && scripts/deb
.PHONY: deb

clean:        ## remove build/
	rm -rf build
.PHONY: clean

deps:        ## install the packages that all verbs but deb need (Debian 12, root)
	@scripts/deps
.PHONY: deps

## Test
check:        ## format, tidy, sparse, checkpatch and house rules
	@scripts/check
.PHONY: check

format:        ## write the sources as `make check` wants them
	@scripts/check --format
.PHONY: format

kunit: build/include/xen        ## KUnit suites under UML with KASAN; SUITE='ring*'
	@scripts/kunit $(if $(SUITE),'$(SUITE)')
.PHONY: kunit

fuzz:        ## libFuzzer targets
	@scripts/fuzz
.PHONY: fuzz

net-interleave:        ## every schedule of rings, events and pollers, up to a bound
	@scripts/net-interleave
.PHONY: net-interleave

gauge-sim:        ## what docs/GAUGE.md claims of guests under the pressure gauge, simulated
	@scripts/gauge-sim --check
.PHONY: gauge-sim

pvlock-interleave:        ## every schedule of the PV lock's real code, up to a bound
	@scripts/pvlock-interleave
.PHONY: pvlock-interleave

pvlock-model:        ## the PV lock's Promela model, and broken ones that must be caught
	@scripts/pvlock-model
.PHONY: pvlock-model

lab-test:        ## the drivers on real Xen in QEMU, against themselves and Linux's own
	@scripts/lab-test
.PHONY: lab-test

soak:        ## all drivers at random on real Xen; MINUTES=60 SEED= KVER=6.1|6.12 (dom0's)
	@scripts/soak $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(SEED),--seed '$(SEED)') \
	  $(if $(KVER),--kernel '$(KVER)')
.PHONY: soak

bare-test:        ## the modules on a machine without Xen
	@lab/bare-test
.PHONY: bare-test

test:        ## the whole ladder; ends with `N passed, N failed`
	@scripts/deps || { echo "0 passed, 1 failed"; exit 1; }
	@scripts/test
.PHONY: test

## Show
bench:        ## ours and Linux's drivers side by side, in counted instructions
	@scripts/bench
.PHONY: bench

demo:        ## from nothing to a guest that talks through our drivers
	@scripts/deps
	@scripts/demo
.PHONY: demo

help:        ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^## / { printf "\n%s\n", substr($$0, 4) } \
	  /^[a-z_-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
.PHONY: help
