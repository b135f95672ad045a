# SPDX-License-Identifier: GPL-2.0-only
#
# Linux page migration, as a series on Linux 7.3.y.  `make help` lists the
# targets. Builds write only to folders outside this checkout.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# The default is ${XDG_CACHE_HOME:-~/.cache}. Each checkout has its own build folder.
XDG_CACHE_HOME ?= $(HOME)/.cache
CACHE := $(XDG_CACHE_HOME)/linux-page-migration
BUILD ?= $(CACHE)/build/$(notdir $(CURDIR))-$(shell echo $(CURDIR) | cksum | cut -d' ' -f1)

# make -s: print only results.
ifneq ($(findstring s,$(firstword -$(MAKEFLAGS))),)
QUIET := 1
endif

export XDG_CACHE_HOME BUILD QUIET KSRC

# The kernel's make does not accept a path with a space, and fails late.
ifneq ($(words [$(CURDIR)$(BUILD)$(XDG_CACHE_HOME)$(KSRC)]),1)
$(error no folder may have a space in its path here: $(CURDIR), BUILD=$(BUILD), XDG_CACHE_HOME=$(XDG_CACHE_HOME), KSRC=$(KSRC))
endif
# Check that there is enough memory and disk space for the goals.
SHORT := $(shell ROOM='$(ROOM)' BUILD='$(BUILD)' XDG_CACHE_HOME='$(XDG_CACHE_HOME)' scripts/room.sh $(MAKECMDGOALS))
ifneq ($(SHORT),)
$(error $(SHORT))
endif

# The path of the base's tree. base.sh finds or fetches it when a recipe needs it.
BASE = $$(scripts/base.sh)
# The kernel for this machine's architecture, and the target that builds it.
HOST := $(patsubst aarch64,arm64,$(shell uname -m))
GUEST_KERNEL := $(or $(filter arm64 riscv64 s390x,$(HOST)),guest)
NATIVE := $(patsubst guest-kernel,kernel,$(GUEST_KERNEL)-kernel)
# With exec, a signal to the shell of the recipe reaches guest.py.
GUEST = exec scripts/guest.py
# UNTIL=$(date +%s -d '1 hour'): leave out and name tests that cannot begin in time.
TIME = $(if $(UNTIL),--until $(UNTIL))

.DEFAULT_GOAL := help

##@ Main targets

help: ## list the targets
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9 -]+:.*## / { sub(/:.*/, "", $$1); printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nKSRC=tree-or-tarball picks the base, BUILD=folder the build folder.\n'

run: $(NATIVE) ## boot a guest and show page migration
	@$(GUEST) run

test: $(NATIVE) ## run all suites; T=pattern selects some
	@$(GUEST) test --kernel $(GUEST_KERNEL) $(if $(T),--match '$(T)') $(TIME)

test-debug: debug-kernel ## run the suites with KASAN, lockdep, DEBUG_VM and more
	@$(GUEST) test --kernel debug $(if $(T),--match '$(T)') $(if $(STRESS),--stress $(STRESS)) $(TIME)

test-arm64: arm64-kernel ## run our own suites on an emulated arm64 machine
	@$(GUEST) test --kernel arm64 $(if $(T),--match '$(T)')

test-riscv64: riscv64-kernel riscv64-nohuge-kernel ## run our own suites on riscv64, with and without huge pages
	@$(GUEST) test --kernel riscv64 --kernel riscv64-nohuge $(if $(T),--match '$(T)')

test-s390x: s390x-kernel ## run our own suites on s390x, which has one node
	@$(GUEST) test --kernel s390x $(if $(T),--match '$(T)')

shell: $(NATIVE) ## open a shell in the guest
	@$(GUEST) shell

selfcheck: $(NATIVE) ## check that the runner and the tests notice failures
	@$(GUEST) selfcheck $(TIME)

bench: kernel base-kernel uml-kernels ## measure against the base; W=pattern selects workloads
	@scripts/deps.sh bench
	@BASE_SRC="$$(QUIET=1 scripts/base.sh)" && export BASE_SRC && exec scripts/bench.py $(if $(W),--match '$(W)')

##@ The base and the kernels

deps: ## check for the tools; on Debian, install missing ones
	@scripts/deps.sh

base: deps ## find or fetch the base; its path is the last line
	@scripts/base.sh

tree: deps ## make the patched tree: the base, our files, the edits of series/
	@base=$(BASE) && scripts/series.py assemble "$$base" "$(BUILD)/src"

kernel: tree ## build the patched kernel
	@scripts/kernel.sh "$(BUILD)/src" "$(BUILD)/guest" guest series

debug-kernel: tree ## build it with KASAN, lockdep, DEBUG_VM and more
	@scripts/kernel.sh "$(BUILD)/src" "$(BUILD)/debug" guest series debug

arm64-kernel riscv64-kernel s390x-kernel: %-kernel: tree ## build it for another architecture
	@scripts/deps.sh $*
	@scripts/kernel.sh "$(BUILD)/src" "$(BUILD)/$*" guest series $(if $(filter $*,$(HOST)),,own) foreign $*

riscv64-nohuge-kernel: riscv64-kernel ## build it for riscv64, without huge pages
	@FROM="$(BUILD)/riscv64" scripts/kernel.sh "$(BUILD)/src" "$(BUILD)/riscv64-nohuge" \
		guest series own foreign riscv64 nohuge

base-kernel: deps ## build the untouched base, for comparisons
	@base=$(BASE) && scripts/kernel.sh "$$base" "$(BUILD)/base" guest

uml-kernels: tree ## build both for User Mode Linux, for the bench at native speed
	@scripts/kernel.sh "$(BUILD)/src" "$(BUILD)/uml" uml
	@base=$(BASE) && scripts/kernel.sh "$$base" "$(BUILD)/uml-base" uml

test-base: base-kernel tree ## run the suites on the untouched base
	@$(GUEST) test --kernel base $(if $(T),--match '$(T)')

##@ The series

series: tree ## write the numbered patches and the cover letter
	@base=$(BASE) && scripts/series.py format "$$base" "$(BUILD)/series"
	@ln -sfn "$(BUILD)/series" "$(CACHE)/series"

branch: deps ## the series as commits on top of the base, for git log and git bisect
	@base=$(BASE) && scripts/series.py branch "$$base" "$(BUILD)/branch"

series-check: tree ## apply the series with git am, check and build each step; P=number: build from there on
	@base=$(BASE) && P='$(P)' scripts/series.py check "$$base" "$(BUILD)/src" "$(BUILD)/series-check"

lint: tree ## run checkpatch, sparse, W=1, kernel-doc, Sphinx, shellcheck, pyflakes
	@scripts/deps.sh lint
	@scripts/lint.sh "$(BUILD)/src" "$(BUILD)/lint"

build-matrix: tree ## build our objects on 14 architectures, with options off, with drivers; M=pattern
	@scripts/deps.sh lint matrix
	@scripts/matrix.sh "$(BUILD)/src" "$(BUILD)/matrix" '$(M)'

arch-hooks: tree ## check that our objects call the arch hooks that the base's call; M=pattern
	@scripts/deps.sh matrix
	@base=$(BASE) && scripts/hooks.sh "$$base" "$(BUILD)/src" "$(BUILD)/hooks" '$(M)'

clean: ## remove this checkout's build folder; the fetched base stays
	@scripts/clean.sh "$(BUILD)"

.PHONY: help run test test-debug test-arm64 test-riscv64 test-s390x test-base selfcheck shell bench \
	deps base tree kernel debug-kernel arm64-kernel riscv64-kernel riscv64-nohuge-kernel s390x-kernel \
	base-kernel uml-kernels series branch series-check lint build-matrix arch-hooks clean
