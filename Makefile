# SPDX-License-Identifier: GPL-2.0
#
# The kernel's build system reads Kbuild; this file is for users. `make help` lists the goals.

TARGET ?= arm64
TEST_TARGETS ?= arm64 amd64 armhf
CHECKED_TARGETS ?= debug-own debug
KERNEL_TARGETS ?= rt-arm64 arm64-16k cloud-arm64 rt-amd64
PACKAGE_TARGETS ?= arm64 armhf amd64
# The flavours of Debian's kernels.
ARCHIVE_TARGETS ?= arm64 rt-arm64 arm64-16k cloud-arm64 armhf armhf@linux-image-armmp-lpae \
	amd64 rt-amd64 amd64@linux-image-cloud-amd64
HOURS ?= 1
MEM ?= 1G
MINUTES ?= 3
BENCH_OUTPUT ?= docs
# KERNEL is another Debian package than that of the row TARGET: linux-image-... Those who build
# kernels may have a variable of that name in their environment.
ifeq ($(origin KERNEL),command line)
override TARGET := $(TARGET)@$(KERNEL)
KERNEL_TARGETS := $(TARGET)
endif
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rk_dma_heap

# What a release is made of: packages, and tests on these kernels.
RELEASE_ARGUMENTS = --packages '$(PACKAGE_TARGETS)' '$(VERSION)' \
	$(TEST_TARGETS) $(CHECKED_TARGETS) $(KERNEL_TARGETS)

.DEFAULT_GOAL := module
.PHONY: module guest setup run test test-wide test-checked test-kernels test-here compatibility \
	deb release release-check archive test-release test-archive test-install test-secure-boot \
	test-u-boot test-programs test-dkms fuzz soak bench profile shell fmt lint doc \
	rust-project.json clean distclean help

ifdef KDIR
module: ## Build the module for TARGET, or in a prepared kernel tree: make KDIR=/path/to/kernel
	@$(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(CURDIR)/build/external modules
	@qemu/check-symbols build/external/rk_dma_heap.ko $(KDIR)/Module.symvers
else
module:
	@qemu/build-module $(TARGET)
endif

setup: ## Prepare what TARGET needs (the other goals do this too)
	@qemu/setup $(TARGET)

guest: ## Build the guest programs for TARGET
	@qemu/build-guest $(TARGET)

run: module guest ## Boot TARGET, load the module, and run a demonstration
	@qemu/vm --target $(TARGET) -- 'set -e; \
		echo "# ls -l /dev/dma_heap"; ls -l /dev/dma_heap; \
		echo "# heap-demo"; heap-demo; \
		echo "# rmmod rk_dma_heap"; rmmod rk_dma_heap; \
		[ ! -e /dev/dma_heap ]; echo "unloaded, and no device node is left"'

test: ## Run the tests on Debian's own kernels, which are downloaded, not built
	@tests/run test '$(FILTER)' $(TEST_TARGETS)

test-wide: ## Run make test, and what it leaves out on armhf and amd64 because arm64 has it
	@tests/run wide '$(FILTER)' $(TEST_TARGETS)

test-checked: ## Run KUnit, fault injection and the other suites on kernels with every checker
	@tests/run checked '$(FILTER)' $(CHECKED_TARGETS)

test-kernels: ## Run all suites on further kernels of Debian; FILTER=short-cut: the shortest of them
	@tests/run kernels '$(FILTER)' $(KERNEL_TARGETS)

compatibility: ## Run all suites on all kernels; into docs/compatibility.md
	@TESTS_RECORD=docs/compatibility.json \
		$(MAKE) --keep-going test-wide test-checked test-kernels \
		CHECKED_TARGETS='$(CHECKED_TARGETS) debug-rt'

deb: ## Build the Debian packages for TARGET: arm64, armhf or amd64
	@packages/build $(TARGET)
	@packages/check $(TARGET)

archive: ## Update build/archive, an APT repository for all kernels; KEEP=2 removes older ones
	@packages/archive $(if $(KEEP),--keep '$(KEEP)') $(if $(FILTER),--filter '$(FILTER)') \
		$(ARCHIVE_TARGETS)

test-archive: ## Test the APT repository with apt, and a kernel's upgrade in a Debian that boots
	@packages/test-archive $(TARGET)

test-install: ## Install and remove the packages in a Debian with systemd and udev
	@packages/test-install $(TARGET)

test-dkms: ## Build the module by DKMS in a Debian root, and boot it; 500 MB to download
	@packages/test-dkms $(TARGET)

test-secure-boot: ## Boot the packages with Secure Boot, and enroll their key (arm64)
	@packages/test-secure-boot

release-check: ## Say what keeps this commit from being the release VERSION
	@packages/release --check $(RELEASE_ARGUMENTS)

release: ## Check, build twice, compare, and tag: make release VERSION=x.y.z
	@packages/release $(RELEASE_ARGUMENTS)

test-release: ## Test make release in a clone, with small packages and with those of arm64
	@packages/test-release --packages

test-u-boot: ## Boot a Debian by U-Boot with overlays, as a board does; U-Boot is built here
	@packages/test-u-boot $(TARGET)

test-programs: ## Run MPP, FFmpeg, GStreamer, libcamera and others in a Debian with the packages
	@packages/test-programs $(TARGET)

soak: module guest ## Run all operations at once for HOURS (1) in MEM (1G), then allocate frames
	@qemu/vm --target $(TARGET) --no-module --mem $(MEM) --timeout 0 \
		--append init_on_alloc=0 -- \
		"pool-tests soak/ --soak $$(($(HOURS) * 60)) && \
		mount -o remount,size=95% /tmp && \
		contiguous-tests --tree configured beyond/frames"

bench: ## Count the instructions of the kernel's heaps and these; into BENCH_OUTPUT (docs)
	@qemu/bench --output '$(BENCH_OUTPUT)'

profile: ## Count instructions per function, and find locks: docs/profile.md, docs/locks.md
	@qemu/build-module bench && qemu/build-guest bench
	@qemu/enter cargo build --quiet --release --package profile
	@qemu/enter cargo run --quiet --release --package profile -- --project $(CURDIR)

test-here: ## Test heaps and buffers on this machine, for example a board, with the module loaded
	@tests/here

# The seed is chosen here, so that it is printed even if the machine crashes.
fuzz: SEED ?= $(shell date +%s)
fuzz: module guest ## Make random calls on TARGET for MINUTES; SEED=N repeats a run
	@seed=$(SEED); echo "make fuzz TARGET=$(TARGET) MINUTES=$(MINUTES) SEED=$$seed"; \
	qemu/vm --target $(TARGET) --append init_on_alloc=0 \
		--timeout $$(($(MINUTES) * 60 + 180)) -- \
		fuzz --seed $$seed --seconds $$(($(MINUTES) * 60))

shell: module guest ## Boot TARGET with the module and a shell on this terminal
	@qemu/vm --target $(TARGET) --shell

fmt: ## Format all Rust and C
	@qemu/setup $(TARGET)
	@qemu/format

lint: ## Check formatting, texts and device trees, run clippy (all tested targets), shellcheck
	@qemu/lint $(sort $(TEST_TARGETS) $(CHECKED_TARGETS))

doc: ## Generate the documentation of module and programs in build/doc and target/doc
	@qemu/document $(TARGET)

rust-project.json: ## Describe the module to rust-analyzer
	@qemu/build-module $(TARGET)
	@qemu/rust-analyzer $(TARGET)

clean: ## Remove all build results
	rm -rf build target rust-project.json

distclean: clean ## Remove the cache as well: build root, kernel trees, downloads
	@if [ -d "$(CACHE)" ]; then \
		echo "removing $(CACHE) ($$(du -sh "$(CACHE)" 2>/dev/null | cut -f 1))"; fi
	rm -rf "$(CACHE)"

help: ## Show this
	@printf 'make [GOAL] [TARGET=name [KERNEL=linux-image-...]]; targets: '
	@awk '!/^#/ && NF { printf "%s ", $$1 } END { print "" }' qemu/targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
