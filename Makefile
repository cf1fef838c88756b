# The doors of the project. CI goes through the same ones: .ci/run is `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

target := $(or $(CARGO_TARGET_DIR),target)
scripts := .ci/run .ci/install-tools loadtest/run

.PHONY: help run test lint bench load doc install-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

run: install-tools ## build it, then serve a demo: three toy backends and the gateway before them
	cargo build --release --locked
	exec $(target)/release/stickfast demo

# The test run comes last, so that its summary is what a CI log ends with. `lint` has type-checked
# the benches: compiling them takes the release profile, and minutes.
test: lint ## everything CI runs: lint, documentation, documented examples, all tests
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib
	cargo test --locked --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo 'cargo nextest run --locked'; \
		cargo nextest run --locked; \
	else \
		echo 'cargo-nextest is not installed; cargo test runs the same tests, without time limits for each.'; \
		echo 'cargo test --locked --lib --bins --tests --no-fail-fast'; \
		cargo test --locked --lib --bins --tests --no-fail-fast; \
	fi

lint: install-tools ## formatting, clippy and the shell scripts; any finding fails
	@.ci/install-tools rustfmt clippy
	for script in $(scripts); do bash -n "$$script"; done
	@if command -v shellcheck >/dev/null; then \
		echo 'shellcheck $(scripts)'; \
		shellcheck $(scripts); \
	else \
		echo 'shellcheck is not installed; the scripts were checked for syntax only.'; \
	fi
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

bench: install-tools ## micro-benchmarks of the request path (criterion, release build)
	cargo bench --locked --bench decision

load: install-tools ## load on a gateway of its own, on loopback: see loadtest/README.md
	@.ci/install-tools wrk
	cargo build --release --locked
	STICKFAST=$(target)/release/stickfast loadtest/run

doc: install-tools ## the crate's documentation, which is also the map of the source
	cargo doc --locked --no-deps --lib
	@echo 'Open $(target)/doc/stickfast/index.html'

install-tools:
	@.ci/install-tools
