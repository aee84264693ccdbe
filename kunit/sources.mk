# SPDX-License-Identifier: GPL-2.0-only
#
# What the test image is made of, relative to $(xpv-top): the core, the C++ of each
# driver that has suites, the fakes and the suites: kunit/ has the core's, <driver>/test/
# those of a driver; pvlock/test/ is a module of its own, so pvlock/kunit/.
# Included by kunit/Makefile (UML), by Kbuild (xpv-kunit.ko) and, without the .c
# files, by the host build.

xpv-kunit-dirs := core $(foreach d,net netfront netback blkfront balloon,$d $d/test) \
                  pvlock/kunit kunit kunit/fake kunit/core kunit/model

xpv-kunit-cpp := $(patsubst $(xpv-top)/%,%, \
                   $(foreach d,$(xpv-kunit-dirs),$(sort $(wildcard $(xpv-top)/$d/*.cpp))))

xpv-kunit-sources := $(xpv-kunit-cpp) kunit/os.c kunit/suites.c
