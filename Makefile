# microvm: one Makefile.
#
## make                  ./microvm, a static arm64 program (COMPILER=gcc or clang)
## make run              boot Debian's kernel with --net tap0: ping, iperf3, interrupts, power off
## make shell            the same guest's prompt
## make test             every test; closes with 'N passed, N failed'
## make test-long        the long loops and the whole matrix too; test-mutants: are the tests able to fail?
## make unit-asan        unit tests (also unit-tsan, unit-arm64, coverage); T='vq vdev' for some
## make fuzz             fuzzers, TIME=15 seconds each; F='vq pci' for some; fuzz-coverage: what their inputs reach
## make test-vm          cases on real KVM; VM='net-*' for some
## make test-hostile     guests that mean harm, hundreds of cases; HOSTILE=qemu: how QEMU takes them
## make test-hosts       the same and every interrupt controller, on Linux 6.1 and 6.12 with a GICv3, a GICv2 and an SMMU;
##                       prints tables
## make audit            which system calls each thread may make, and what a VM's process has kept, against reviewed lists
## make bench            figures beside QEMU's
## make kernel           a small guest kernel
## make install          PREFIX= DESTDIR=
## make clean

VERSION     := 0.1.0
PREFIX      ?= /usr/local
DESTDIR     ?=
COMPILER    ?= gcc
B           ?= build

.DEFAULT_GOAL := all
MAKEFLAGS   += --no-builtin-rules
SHELL       := /bin/bash
.DELETE_ON_ERROR:

HOST_ARCH   := $(shell uname -m)

# ---- sources -------------------------------------------------------------------------------

SRCS        := $(wildcard vmm/*/*.c arch/*/*.c devices/*/*.c)
MAIN        := vmm/app/main.c
# What the libraries want of a C library that is not glibc: the program's alone.
LIBC        := vmm/base/libc.c
# Need arm64's <linux/kvm.h>; the unit tests link fakes of their headers instead.
ARM64_ONLY  := vmm/core/kvm.c arch/arm64/gic.c $(wildcard arch/arm64/vcpu*.c)
FAKES       := $(wildcard tests/fake/*.c)
UNIT        := $(patsubst tests/unit/test_%.c,%,$(wildcard tests/unit/test_*.c))
# Unit tests that speak to the real event loop: no fake of it is linked.
UNIT_REAL_LOOP := loop stream
# The pure ones, run for aarch64 too: qemu-user has no io_uring and no KVM.
UNIT_ARM64  := $(filter-out loop stream tap vhost uds irq_storm,$(UNIT))
# Where threads meet.
UNIT_TSAN   := $(filter loop stream gsi irqfd line msix msi_ways irq_invariants irq_check irq_storm bus log console_mux panic_text virtio_mmio virtio_pci,$(UNIT))

# ---- compilers -----------------------------------------------------------------------------

WARN        := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Wwrite-strings -Wundef \
	       -Wpointer-arith -Wformat=2 -Werror
CPPFLAGS    += -I. -D_GNU_SOURCE -DMICROVM_VERSION='"$(VERSION)"'
CSTD        := -std=gnu17 -g
HARDEN      := -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffunction-sections -fdata-sections \
	       $(if $(filter clang,$(COMPILER)),,-fstack-clash-protection)
CFLAGS      ?= -O2
LDHARDEN    := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections
LDORDER     := -Wl,-T,vmm/start.ld
LIBS        := -lfdt -luring -lz -lzstd -ljansson -pthread
UNIT_LIBS   := -lcheck -lsubunit -lm -lrt -lseccomp $(LIBS)

# What only 'clean' and 'help' can do without.
TOOLCHAIN   := $(B)/toolchain$(if $(filter clang,$(COMPILER)),-clang).mk
ifneq ($(filter-out clean help,$(or $(MAKECMDGOALS),all)),)
-include $(TOOLCHAIN)
ifeq ($(and $(SYSROOT),$(wildcard $(SYSROOT)/usr/include/libfdt.h)),)
$(TOOLCHAIN): FORCE
endif
endif
FORCE:

# Prints what is missing and installs it; makes the sysroot with the arm64 libraries.
$(TOOLCHAIN): tools/deps tools/sysroot Makefile
	@mkdir -p $(@D)
	@tools/deps build $(filter clang,$(COMPILER))
	@root=$$(tools/sysroot) && echo "SYSROOT := $$root" > $@.tmp && mv $@.tmp $@

ifeq ($(HOST_ARCH),aarch64)
# -B: before the libraries of this machine
NATIVE      := --sysroot=$(SYSROOT) -B$(SYSROOT)/usr/lib/aarch64-linux-gnu
ARM_GCC     := gcc $(NATIVE)
ARM_CLANG   := clang $(NATIVE)
STRIP       := strip
ARM_OBJCOPY := objcopy
else
ARM_GCC     := aarch64-linux-gnu-gcc --sysroot=$(SYSROOT)
ARM_CLANG   := clang --target=aarch64-linux-gnu --sysroot=$(SYSROOT)
STRIP       := aarch64-linux-gnu-strip
ARM_OBJCOPY := aarch64-linux-gnu-objcopy
endif
ARM_CC      := $(if $(filter clang,$(COMPILER)),$(ARM_CLANG),$(ARM_GCC))
ARM_CFLAGS  := $(CSTD) $(WARN) $(HARDEN) -mbranch-protection=standard
# The program's C library is musl, whose start costs a third of glibc's; everything else uses glibc.
MUSL        := $(SYSROOT)/usr/lib/aarch64-linux-musl
MUSL_CFLAGS := -nostdinc -isystem $(SYSROOT)/usr/include/aarch64-linux-musl \
	       -isystem $(if $(SYSROOT),$(shell $(ARM_CC) -print-file-name=include)) \
	       -idirafter $(SYSROOT)/usr/include -idirafter $(SYSROOT)/usr/include/aarch64-linux-gnu
MUSL_BEGIN  := -nostdlib -nostartfiles $(MUSL)/rcrt1.o $(MUSL)/crti.o
MUSL_END    := -Wl,--start-group $(MUSL)/libc.a $(wildcard $(SYSROOT)/usr/lib/gcc/aarch64-linux-gnu/*/libgcc.a) \
	       -Wl,--end-group $(MUSL)/crtn.o
UNIT_CC     ?= gcc

# Objects are kept outside the tree, as all that takes long. Asked for at the first use, when it has been installed.
CCACHE       = $(eval CCACHE := $(shell command -v ccache))$(CCACHE)
export CCACHE_DIR ?= $(or $(MICROVM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/microvm)/objects
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export CCACHE_MAXSIZE := 1G

# $(call tree,NAME,CC,FLAGS,SOURCES): objects of SOURCES under $(B)/NAME
define tree
$(patsubst %.c,$(B)/$(1)/%.o,$(4)): $(B)/$(1)/%.o: %.c $(TOOLCHAIN)
	@mkdir -p $$(@D)
	@echo "  CC      $(1) $$<"
	@$$(CCACHE) $(2) $(3) $$(CPPFLAGS) -MMD -MP -c -o $$@ $$<
-include $(patsubst %.c,$(B)/$(1)/%.d,$(4))
$(B)/$(1)/vmm/app/seccomp.o: | $(GEN)/syscall_names.h
endef

# Names of system calls, for messages: those of the arm64 headers that the C library knows, too.
GEN         := $(B)/gen
CPPFLAGS    += -I$(GEN)
$(GEN)/syscall_names.h: $(TOOLCHAIN)
	@mkdir -p $(@D)
	@sed -n 's/^#define __NR\(3264\)\?_\([a-z][a-z0-9_]*\) .*/#ifdef SYS_\2\n{ "\2", SYS_\2 },\n#endif/p' \
		$(SYSROOT)/usr/include/asm-generic/unistd.h >$@

# $(call archive,NAME,LIB,SOURCES)
define archive
$(B)/$(1)/$(2).a: $(patsubst %.c,$(B)/$(1)/%.o,$(3))
	@rm -f $$@
	@ar rcs $$@ $$^
endef

# ---- the program ---------------------------------------------------------------------------

.PHONY: all
all: microvm

$(eval $(call tree,$(COMPILER),$(ARM_CC),$(ARM_CFLAGS) $(CFLAGS) $(MUSL_CFLAGS),$(SRCS)))
$(eval $(call archive,$(COMPILER),libmicrovm,$(filter-out $(MAIN) $(LIBC),$(SRCS))))

$(B)/$(COMPILER)/microvm: $(B)/$(COMPILER)/$(MAIN:.c=.o) $(B)/$(COMPILER)/$(LIBC:.c=.o) $(B)/$(COMPILER)/libmicrovm.a vmm/start.ld
	@echo "  LD      $@"
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) $(LDORDER) -Wl,-Map,$@.map -o $@ $(MUSL_BEGIN) $(filter-out %.ld,$^) $(filter-out -pthread,$(LIBS)) $(MUSL_END)

# Changes when the other compiler's program is wanted, whichever of the two is older.
$(B)/compiler: FORCE
	@mkdir -p $(@D)
	@echo $(COMPILER) | cmp -s - $@ || echo $(COMPILER) >$@

microvm: $(B)/$(COMPILER)/microvm $(B)/compiler
	@$(STRIP) -o $@ $<
	@echo "  STRIP   $@ ($$(stat -c %s $@) bytes)"

.PHONY: install
install: microvm $(B)/boot-test
	install -D -m 755 microvm $(DESTDIR)$(PREFIX)/bin/microvm
	install -D -s --strip-program=$(STRIP) -m 755 $(B)/boot-test $(DESTDIR)$(PREFIX)/bin/microvm-boot-test
	install -D -m 644 vmm/microvm.1 $(DESTDIR)$(PREFIX)/share/man/man1/microvm.1

# ---- unit tests ----------------------------------------------------------------------------
#
# Flavours: asan (address and undefined behaviour), tsan (threads), cov (branch coverage),
# arm64 (under qemu-user). 'make unit-asan T="vq vdev"' runs some of them.

T           ?= $(UNIT)
SAN         := -O1 -fno-omit-frame-pointer
unit_flags_asan  := $(CSTD) $(WARN) $(SAN) -fsanitize=address,undefined -fno-sanitize-recover=all
unit_flags_tsan  := $(CSTD) $(WARN) $(SAN) -fsanitize=thread
unit_flags_cov   := $(CSTD) $(WARN) -O0 --coverage
unit_flags_arm64 := $(ARM_CFLAGS) -O2 -fno-omit-frame-pointer $(if $(filter aarch64,$(HOST_ARCH)),,-DSPARSE=7)
unit_cc_asan     := $(UNIT_CC)
unit_cc_tsan     := $(UNIT_CC)
unit_cc_cov      := gcc
unit_cc_arm64    := $(ARM_GCC)
unit_ld_asan     := -fsanitize=address,undefined
unit_ld_tsan     := -fsanitize=thread
unit_ld_cov      := --coverage
unit_ld_arm64    := -static-pie
unit_set_asan    := $(UNIT)
unit_set_tsan    := $(UNIT_TSAN)
unit_set_cov     := $(UNIT)
unit_set_arm64   := $(UNIT_ARM64)
unit_run_arm64   := $(if $(filter aarch64,$(HOST_ARCH)),,qemu-aarch64-static)

UNIT_SRCS   := $(filter-out $(ARM64_ONLY) $(MAIN) $(LIBC),$(SRCS))

# $(call flavour,NAME)
define flavour
$(call tree,unit-$(1),$(unit_cc_$(1)),$(unit_flags_$(1)),$(UNIT_SRCS) $(FAKES) $(UNIT:%=tests/unit/test_%.c))
$(call archive,unit-$(1),libmicrovm,$(UNIT_SRCS))
$(call archive,unit-$(1),libfake,$(FAKES))
$(call archive,unit-$(1),libfake-nonloop,$(filter-out tests/fake/loop.c,$(FAKES)))
$(UNIT:%=$(B)/unit-$(1)/test_%): $(B)/unit-$(1)/test_%: $(B)/unit-$(1)/tests/unit/test_%.o \
		$(B)/unit-$(1)/libfake.a $(B)/unit-$(1)/libfake-nonloop.a $(B)/unit-$(1)/libmicrovm.a
	@$(unit_cc_$(1)) $(unit_ld_$(1)) -Wl,--wrap=_mark_point,--wrap=fd_read -o $$@ $$< -Wl,--start-group \
		$$(if $$(filter $$*,$(UNIT_REAL_LOOP)),$(B)/unit-$(1)/libfake-nonloop.a,$(B)/unit-$(1)/libfake.a) \
		$(B)/unit-$(1)/libmicrovm.a -Wl,--end-group $(UNIT_LIBS)
.PHONY: unit-$(1)
unit-$(1): $$(patsubst %,$(B)/unit-$(1)/test_%,$$(filter $(T),$(unit_set_$(1)))) | deps-unit
	@tests/unit/run "$(1)" "$(unit_run_$(1))" $$(filter $(B)/%,$$^)
endef

.PHONY: deps-unit
deps-unit:
	@tools/deps unit
$(foreach f,asan tsan cov arm64,$(eval $(call flavour,$(f))))
# The native libraries come first: a fresh machine has none of their headers.
$(foreach f,asan tsan cov,$(patsubst %.c,$(B)/unit-$(f)/%.o,$(UNIT_SRCS) $(FAKES) $(UNIT:%=tests/unit/test_%.c))): | deps-unit

# ---- fuzzers -------------------------------------------------------------------------------
#
# tests/fuzz/fz_NAME.c is one program, found by its name. Flavours: fuzz (libFuzzer, address, undefined behaviour,
# values that a conversion cuts), fuzz-cov (the corpora are run once, lines are counted).

FUZZ        := $(patsubst tests/fuzz/fz_%.c,%,$(wildcard tests/fuzz/fz_*.c))
F           ?= $(FUZZ)
TIME        ?= 15
# Those that speak to the real event loop.
FUZZ_REAL_LOOP := loop
FUZZ_CFLAGS := $(CSTD) $(WARN) $(SAN) -fsanitize=fuzzer-no-link,address,undefined,implicit-integer-truncation -fno-sanitize-recover=all
FUZZ_LD     := -fsanitize=fuzzer,address,undefined,implicit-integer-truncation
FUZZ_COV_CFLAGS := $(CSTD) $(WARN) -O1 -fsanitize=fuzzer-no-link -fprofile-instr-generate -fcoverage-mapping
FUZZ_COV_LD := -fsanitize=fuzzer -fprofile-instr-generate
FUZZ_SRCS   := $(UNIT_SRCS) $(FAKES) tests/fuzz/fuzz.c $(FUZZ:%=tests/fuzz/fz_%.c)

# $(call fuzzers,NAME,CFLAGS,LDFLAGS)
define fuzzers
$(call tree,$(1),clang,$(2),$(FUZZ_SRCS))
$(call archive,$(1),libmicrovm,$(UNIT_SRCS))
$(call archive,$(1),libfake,$(FAKES))
$(call archive,$(1),libfake-nonloop,$(filter-out tests/fake/loop.c,$(FAKES)))
$(FUZZ:%=$(B)/$(1)/fz_%): $(B)/$(1)/fz_%: $(B)/$(1)/tests/fuzz/fz_%.o $(B)/$(1)/tests/fuzz/fuzz.o \
		$(B)/$(1)/libfake.a $(B)/$(1)/libfake-nonloop.a $(B)/$(1)/libmicrovm.a
	@clang $(3) -o $$@ $$(filter %.o,$$^) -Wl,--start-group \
		$$(if $$(filter $$*,$(FUZZ_REAL_LOOP)),$(B)/$(1)/libfake-nonloop.a,$(B)/$(1)/libfake.a) \
		$(B)/$(1)/libmicrovm.a -Wl,--end-group $(LIBS)
$(patsubst %.c,$(B)/$(1)/%.o,$(FUZZ_SRCS)): | deps-fuzz
# Sees each read of guest memory.
$(B)/$(1)/tests/fuzz/fz_vq_toctou.o: CPPFLAGS += -fsanitize-coverage=trace-loads
endef

.PHONY: deps-fuzz fuzz fuzz-coverage
deps-fuzz:
	@tools/deps fuzz
$(eval $(call fuzzers,fuzz,$(FUZZ_CFLAGS),$(FUZZ_LD)))
$(eval $(call fuzzers,fuzz-cov,$(FUZZ_COV_CFLAGS),$(FUZZ_COV_LD)))
fuzz: $(patsubst %,$(B)/fuzz/fz_%,$(F))
	@tests/fuzz/run $(B) $(TIME) $(F)
fuzz-coverage: $(patsubst %,$(B)/fuzz-cov/fz_%,$(FUZZ))
	@tests/fuzz/coverage $(B) $(FUZZ)

# ---- on real KVM ---------------------------------------------------------------------------

BT_SRCS     := $(wildcard tools/boot-test/*.c)
VM_TOOLS    := with-tap tap-state without-io-uring hostile fault
# Guests run it, too.
VM_STATIC   := vsock-peer disk-peer
BENCH_TOOLS := floor runs

$(eval $(call tree,$(COMPILER),$(ARM_CC),$(ARM_CFLAGS) $(CFLAGS),$(BT_SRCS) $(VM_TOOLS:%=tests/vm/%.c) $(VM_STATIC:%=tests/vm/%.c) $(BENCH_TOOLS:%=tests/bench/%.c)))

$(B)/boot-test: $(BT_SRCS:%.c=$(B)/$(COMPILER)/%.o)
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) -o $@ $^
$(VM_TOOLS:%=$(B)/%): $(B)/%: $(B)/$(COMPILER)/tests/vm/%.o
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) -o $@ $^ -lseccomp
# Has parts of the program in it, so it is built as the program is.
ROUTES      := tests/vm/routes.c tests/vm/its.c
$(eval $(call tree,$(COMPILER),$(ARM_CC),$(ARM_CFLAGS) $(CFLAGS) $(MUSL_CFLAGS),$(ROUTES)))
$(B)/routes: $(patsubst %.c,$(B)/$(COMPILER)/%.o,$(ROUTES) $(LIBC)) $(B)/$(COMPILER)/libmicrovm.a
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) -o $@ $(MUSL_BEGIN) $^ $(filter-out -pthread,$(LIBS)) $(MUSL_END)
# The program whose threads try what they may not do.
ATTEMPTS    := tests/audit/attempts.c tests/fake/bpf.c
AUDIT       := tests/audit/audit.c tests/fake/bpf.c
$(eval $(call tree,$(COMPILER),$(ARM_CC),$(ARM_CFLAGS) $(CFLAGS) $(MUSL_CFLAGS),$(sort $(ATTEMPTS) $(AUDIT))))
$(B)/audit: $(patsubst %.c,$(B)/$(COMPILER)/%.o,$(AUDIT) $(LIBC)) $(B)/$(COMPILER)/libmicrovm.a
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) -o $@ $(MUSL_BEGIN) $^ $(filter-out -pthread,$(LIBS)) $(MUSL_END)
$(B)/filters: $(B)/audit | deps-unit
	@$(unit_run_arm64) $< --filters $@
$(B)/attempts: $(patsubst %.c,$(B)/$(COMPILER)/%.o,$(MAIN) $(LIBC) $(ATTEMPTS)) $(B)/$(COMPILER)/libmicrovm.a
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) -Wl,--wrap=seccomp_arm,--wrap=sandbox_shut,--wrap=io_uring_queue_init_params -o $@ $(MUSL_BEGIN) $^ \
		$(filter-out -pthread,$(LIBS)) $(MUSL_END)
# The program with its sandbox up to a stage.
STAGES      := tests/bench/stages.c
$(eval $(call tree,$(COMPILER),$(ARM_CC),$(ARM_CFLAGS) $(CFLAGS) $(MUSL_CFLAGS),$(STAGES)))
$(B)/stages: $(patsubst %.c,$(B)/$(COMPILER)/%.o,$(STAGES) $(MAIN) $(LIBC)) $(B)/$(COMPILER)/libmicrovm.a vmm/start.ld
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) $(LDORDER) -Wl,--wrap=seccomp_make,--wrap=seccomp_arm -s -o $@ $(MUSL_BEGIN) $(filter-out %.ld,$^) \
		$(filter-out -pthread,$(LIBS)) $(MUSL_END)
$(VM_STATIC:%=$(B)/%): $(B)/%: $(B)/$(COMPILER)/tests/vm/%.o
	@$(ARM_CC) $(CFLAGS) -static -o $@ $^
$(BENCH_TOOLS:%=$(B)/%): $(B)/%: $(B)/$(COMPILER)/tests/bench/%.o
	@$(ARM_CC) $(CFLAGS) -static -o $@ $^
# For the programs that ours is measured against: they use the C library that Debian's do.
$(B)/routing.so: tests/bench/routing.c $(TOOLCHAIN)
	@$(ARM_GCC) $(CSTD) $(WARN) $(CPPFLAGS) -O2 -shared -fPIC -o $@ $<
$(B)/%.Image: tests/guest/%.S $(TOOLCHAIN)
	@$(ARM_GCC) -c -o $(@:.Image=.o) $<
	@$(ARM_OBJCOPY) -O binary $(@:.Image=.o) $@

# Payloads of many cases: no C library, run where they are put. tests/guest/lib is what they share.
BARE_LIB    := tests/guest/lib
BARE_CFLAGS := $(CSTD) $(WARN) -Wno-missing-field-initializers -I$(BARE_LIB) -O2 -ffreestanding -fpie -fno-stack-protector -fno-asynchronous-unwind-tables \
	       -mgeneral-regs-only -mstrict-align -mno-outline-atomics
BARE_IMAGES := $(B)/bare.Image $(B)/hostile.Image
$(foreach i,bare hostile,$(eval $(B)/$(i).Image: $(wildcard tests/guest/$(i)/*.[chS])))
$(BARE_IMAGES): $(wildcard $(BARE_LIB)/*.[chS]) $(BARE_LIB)/image.ld $(TOOLCHAIN)
	@echo "  CC      $@"
	@$(ARM_GCC) $(BARE_CFLAGS) -nostdlib -static-pie -Wl,-T,$(BARE_LIB)/image.ld,--build-id=none,-z,norelro,-z,noexecstack,--no-warn-rwx-segments \
		-o $(@:.Image=.elf) $(filter %.c %.S,$^)
	@$(ARM_OBJCOPY) -O binary $(@:.Image=.elf) $@

VM_FILES    := microvm $(B)/boot-test $(VM_TOOLS:%=$(B)/%) $(VM_STATIC:%=$(B)/%) $(B)/runs $(B)/routes $(B)/attempts $(B)/null.Image $(B)/nisv.Image $(B)/last-words.Image $(BARE_IMAGES)

.PHONY: deps-host kernel run shell test-vm test-vm-long test-hostile test-hosts
deps-host: | $(TOOLCHAIN)
	@tools/deps kernel host
kernel: | deps-host
	@tools/guest-kernel
VM          ?=
test-vm: $(VM_FILES) | deps-host
	@tests/vm/hosts $(B) quick $(VM)
test-vm-long: $(VM_FILES) | deps-host
	@VM_TIMEOUT=9000s tests/vm/hosts $(B) long $(VM)
# HOSTILE=qemu: how Debian's QEMU takes the same, as a table.
HOSTILE     ?=
test-hostile: $(VM_FILES) | deps-host
	@VM_TIMEOUT=7200s HOST_WITH=$(HOSTILE) tests/vm/hosts $(B) hostile$(HOSTILE:%=-%) $(VM)
test-hosts: $(VM_FILES) | deps-host
	@tests/vm/hosts $(B) all $(VM)
run: $(VM_FILES) | deps-host
	@tools/demo $(B)
shell: $(VM_FILES) | deps-host
	@tools/demo $(B) --shell

# What the filters of system calls allow, and, on KVM, what a VM's process has kept: each against a reviewed file.
.PHONY: audit audit-filters
audit-filters: $(B)/audit | deps-unit
	@set -o pipefail; $(unit_run_arm64) $< | tee $(B)/audit.txt
	@diff -u tests/audit/expected $(B)/audit.txt && echo 'audit: 1 passed, 0 failed' || { echo 'audit: 0 passed, 1 failed'; false; }
audit: audit-filters $(VM_FILES) | deps-host
	@tests/vm/hosts $(B) quick sandbox-lockdown

.PHONY: bench
BENCH       ?= scale counted devices stages gicv2 vfio wall
BENCH_FILES := microvm $(BENCH_TOOLS:%=$(B)/%) $(VM_STATIC:%=$(B)/%) $(B)/stages $(B)/filters $(B)/routing.so $(B)/null.Image $(B)/bare.Image
bench: $(BENCH_FILES) | deps-host
	@tests/bench/suite $(B) $(BENCH)

# ---- everything ----------------------------------------------------------------------------

.PHONY: build-clang build-bench test test-long test-mutants unit-storm coverage
build-clang:
	@$(MAKE) --no-print-directory COMPILER=clang $(B)/clang/microvm
	@echo "build-clang: 1 passed, 0 failed"
# What only the benchmarks run: it must not fall behind.
build-bench: $(BENCH_FILES)
	@echo "build-bench: 1 passed, 0 failed"
coverage: unit-cov
	@tests/unit/coverage $(B)
# The last are bugs that only a guest finds, and want real KVM.
test-mutants: $(VM_FILES) | deps-unit deps-fuzz deps-host
	@bad=0; tests/mutants/run || bad=1; tests/mutants/hostile $(B) || bad=1; exit $$bad
# A program with the object of FILE in front of what the library has of that name.
.PHONY: mutant
mutant: $(B)/$(COMPILER)/microvm
	@$(ARM_CC) $(ARM_CFLAGS) $(CFLAGS) $(MUSL_CFLAGS) $(CPPFLAGS) -w -c -o $(OUT).o $(FILE)
	@$(ARM_CC) $(CFLAGS) $(LDHARDEN) $(LDORDER) -o $(OUT) $(MUSL_BEGIN) $(OUT).o $(B)/$(COMPILER)/$(MAIN:.c=.o) \
		$(B)/$(COMPILER)/$(LIBC:.c=.o) $(B)/$(COMPILER)/libmicrovm.a $(filter-out -pthread,$(LIBS)) $(MUSL_END)
	@rm $(OUT).o
# A million masks under signals without end.
unit-storm: $(B)/unit-tsan/test_irq_storm | deps-unit
	@STORM=1000000 UNIT_TIMEOUT=1800 tests/unit/run storm "" $<
test: | $(TOOLCHAIN)
	@tests/all build-clang build-bench unit-asan unit-tsan unit-arm64 coverage 'audit-filters fuzz' test-vm
test-long: | $(TOOLCHAIN)
	@tests/all test unit-storm test-mutants test-vm-long test-hosts

.PHONY: help clean
help:
	@sed -n 's/^## //p' Makefile

clean:
	rm -rf $(B) microvm
