# SPDX-License-Identifier: GPL-2.0-only
#
# What the test image is made of, relative to $(xpv-top): the core, the C++ of each
# driver that has fakes here (kunit/<driver>*.cpp), the fakes and the suites.
# Included by kunit/Makefile (UML), by Kbuild (xpv-kunit.ko) and, without the .c
# files, by the host build.

xpv-kunit-dirs := core net $(foreach d,netfront netback blkfront balloon pvlock, \
                    $(if $(wildcard $(xpv-top)/kunit/$d*.cpp),$d))

xpv-kunit-cpp := $(patsubst $(xpv-top)/%,%, \
                   $(foreach d,$(xpv-kunit-dirs) kunit,$(sort $(wildcard $(xpv-top)/$d/*.cpp))))

xpv-kunit-sources := $(xpv-kunit-cpp) kunit/os.c kunit/suites.c
