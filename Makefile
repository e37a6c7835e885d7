# One entry per thing one does with ropewalk. `make` alone lists them.
#
# Everything is built with the release profile (docs/decisions/0001): RocksDB takes minutes to compile, and so it is
# compiled once for the demo, the tests, the benchmarks, clippy and the docs. Artefacts go to one folder outside the
# tree, which all clones share; CARGO_TARGET_DIR moves it.

SHELL := /bin/bash
export CARGO_TARGET_DIR ?= $(if $(HOME),$(HOME)/.cache/ropewalk/target,$(CURDIR)/target)

# What was tested is what is built. `make test LOCKED=` lets cargo update Cargo.lock, after a change of dependencies.
export LOCKED ?= --locked

# Cargo has a job server of its own and complains about one it cannot reach.
unexport MAKEFLAGS

.PHONY: help prepare demo test specification crash bench check sums

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

prepare: ## install what a build needs and the machine lacks, fetch the crates
	@.ci/prepare

demo: prepare ## replay the blocks of fixtures/ in parallel into an embedded RocksDB, verify them, show the speed-up
	cargo run --release $(LOCKED) --package ropewalk-replay --bin ropewalk -- replay fixtures

test: prepare ## all tests of all crates, with their documentation examples
	cargo test --workspace --release $(LOCKED)

# For how long blocks are compared with the executable specification.
MINUTES ?= 10

specification: prepare ## compare random blocks with the executable specification for MINUTES (10), from ROPEWALK_SEED on
	ROPEWALK_SPECIFICATION_SECONDS=$$((60 * $(MINUTES))) \
	  cargo test --release $(LOCKED) --package ropewalk-tests --test specification

# How often a process is killed at a random moment, how often at a named step, and how often the power is cut.
KILLS ?= 1000
# At which seed to begin.
SEED ?= 1

crash: prepare ## the store among KILLS (1000) kills and as many power cuts, damaged files, full disks, from SEED on
	ROPEWALK_KILLS=$(KILLS) ROPEWALK_CUTS=$(KILLS) ROPEWALK_PLACES=24 ROPEWALK_LIMITED=8 ROPEWALK_SEED=$(SEED) \
	  cargo test --release $(LOCKED) --package ropewalk-crash-tests

bench: prepare ## all criterion benchmarks; each checks its results before it times anything
	cargo bench --package ropewalk-benches $(LOCKED)

check: prepare ## formatting, lints and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --release $(LOCKED) -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --release $(LOCKED)

sums: ## write fixtures/SHA256SUMS anew, after a change of fixtures that was meant
	cd fixtures && git ls-files --cached --others --exclude-standard | grep -v -e '^SHA256SUMS$$' -e '\.md$$' \
	  | LC_ALL=C sort | tr '\n' '\0' | xargs -0 sha256sum > SHA256SUMS
