# SPDX-License-Identifier: GPL-2.0-only
#
# How Linux's Kbuild compiles C++: included by Kbuild for modules, and by
# kunit/Makefile for the suites in a UML kernel. Needs xpv-top, the project's
# folder, and xpv-include, a folder that holds a link to Xen's public headers.

xpv-cxx := $(subst gcc,g++,$(CC))
ifneq ($(CONFIG_CC_IS_GCC),y)
$(error xpv: this kernel was configured for a compiler other than GCC; the C++ rule knows only GCC)
endif
ifeq ($(shell command -v $(lastword $(xpv-cxx))),)
$(error xpv: $(lastword $(xpv-cxx)) not found; install g++-12 (make deps))
endif

# Kernel flags that mean nothing to a C++ compiler.
xpv-c-only := -std=gnu% -Wstrict-prototypes -Werror=strict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wbad-function-cast \
	-Wdeclaration-after-statement -Wno-pointer-sign -Wno-override-init \
	-Werror=implicit-function-declaration -Werror=implicit-int \
	-Werror=incompatible-pointer-types -Werror=designated-init

# Warnings of our own, errors unless WERROR=0.
xpv-cxx-warnings := -Wall -Wextra -Wconversion -Wshadow -Wold-style-cast \
	-Woverloaded-virtual -Wnon-virtual-dtor -Wextra-semi -Wcast-qual \
	-Wunused-const-variable -Wmissing-declarations -Wno-missing-field-initializers

# No kernel include path: Linux's include/xen shadows Xen's public headers, and
# C++ sees no kernel header anyway. $(xpv-include) holds one link, xen. It is -I
# because -MMD leaves -isystem files out of the dependencies.
xpv-cxx-flags = -Wp,-MMD,$(depfile) -nostdinc \
	-isystem $(shell $(CC) -print-file-name=include) -I$(xpv-include) \
	$(filter-out $(xpv-c-only),$(_c_flags) $(modkern_cflags)) \
	$(basename_flags) $(modname_flags) \
	-std=gnu++20 -ffreestanding -fno-exceptions -fno-rtti \
	-fno-threadsafe-statics -fno-use-cxa-atexit -fno-gnu-unique \
	-fno-asynchronous-unwind-tables -fvisibility=hidden $(xpv-cxx-warnings) \
	$(if $(or $(filter $(xpv-top)/kunit/%,$<),$(findstring /test/,$<)),-Wframe-larger-than=8192)

# Inline functions arrive as COMDAT groups, one in every object that uses them.
# `ld -r` cannot drop the copies, since ftrace's and the return thunk's tables
# point into them: without groups each object keeps its own copy and its own
# table. A `;` follows the compiler since kbuild runs this under set -e, which
# does not see a failing left side of &&.
quiet_cmd_cxx_o_cpp = CXX $(quiet_modtag) $@
      cmd_cxx_o_cpp = $(xpv-cxx) $(xpv-cxx-flags) -c -o $@ $<; \
		$(OBJCOPY) --remove-section=.group $@ $(cmd_objtool)

define rule_cxx_o_cpp
	$(call cmd_and_fixdep,cxx_o_cpp)
	$(call cmd,gen_objtooldep)
endef

# ---- one rule an object ----------------------------------------------------
# $(call xpv-object,FOLDER/,LIST,SOURCE): SOURCE, relative to $(xpv-top), is compiled
# into an object below $(obj)/FOLDER/ that is added to LIST: x.o of x.c, x.cpp.o of
# x.cpp, since a topic may have both. Static pattern rules with the whole path as the
# stem, by which kbuild finds the module's name.

xpv-rule.c   := cc_o_c
xpv-rule.cpp := cxx_o_cpp

define xpv-object
$(2) += $(1)$(3:.c=).o
$$(obj)/$(1)$(3:.c=).o: $$(obj)/%.o: $$(xpv-top)/$(3) FORCE
	$$(call if_changed_rule,$(xpv-rule$(suffix $(3))))
	$(if $(filter .c,$(suffix $(3))),$$(call cmd,force_checksrc))
endef
