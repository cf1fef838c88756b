# The doors of the project. CI goes through the same ones: .ci/run is `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

target := $(or $(CARGO_TARGET_DIR),target)
scripts := .ci/run .ci/install-tools .ci/install-peers loadtest/run tests/fuzz/run
all_peers := haproxy envoy nginx traefik caddy
peers := $(all_peers)

# how long `make fuzz` tries each decoder
FUZZ_SECONDS ?= 60

# where `make install` puts things; DESTDIR=… stages them elsewhere, for a package
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
DESTDIR ?=

.PHONY: help run test test-peers lint bench fuzz load doc install install-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: install-tools ## build it, then serve a demo: three toy backends and the gateway before them
	cargo build --release --locked
	exec $(target)/release/stickfast demo

# The test run comes last, so that its summary is what a CI log ends with. `lint` has type-checked
# the benches: compiling them takes the release profile, and minutes.
test: lint ## everything CI runs: lint, documentation, documented examples, all tests
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib
	cargo test --locked --doc
	@echo 'SKIPPED here, and counted so below: the tests against real peers ($(all_peers)): make test-peers runs them.'
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo 'cargo nextest run --locked'; \
		cargo nextest run --locked; \
	else \
		echo 'cargo-nextest is not installed; cargo test runs the same tests, without time limits for each.'; \
		echo 'cargo test --locked --lib --bins --tests --no-fail-fast'; \
		cargo test --locked --lib --bins --tests --no-fail-fast; \
	fi

# All of a run are wanted: one that is missing fails it. Where one cannot be had, name the others.
test-peers: install-tools ## tests against other load balancers, installed in target/peers; peers='envoy caddy' for some
	@.ci/install-peers $(peers)
	@left_out='$(filter-out $(peers),$(all_peers))'; \
	if [[ -n $$left_out ]]; then echo "LEFT OUT, as you say: the tests against $$left_out."; fi
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo 'cargo nextest run --locked --test e2e --run-ignored only $(peers:%=peers::%::)'; \
		cargo nextest run --locked --test e2e --run-ignored only $(peers:%=peers::%::); \
	else \
		echo 'cargo test --locked --test e2e -- --ignored --test-threads 2 $(peers:%=peers::%::)'; \
		cargo test --locked --test e2e -- --ignored --test-threads 2 $(peers:%=peers::%::); \
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
	cargo bench --locked --bench decision --bench decoders --bench tables --bench rewriting

fuzz: install-tools ## every decoder against libFuzzer, FUZZ_SECONDS (60) each: see tests/fuzz/README.md
	@.ci/install-tools c++
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

load: install-tools ## load on a gateway of its own, on loopback: see loadtest/README.md
	@.ci/install-tools wrk
	cargo build --release --locked
	STICKFAST=$(target)/release/stickfast loadtest/run

doc: install-tools ## the crate's documentation, which is also the map of the source
	cargo doc --locked --no-deps --lib
	@echo 'Open $(target)/doc/stickfast/index.html'

# A configuration that is there already stays. What is built is not built anew: `make` it as yourself,
# install as root.
install: ## binary, units and a first configuration below PREFIX (/usr/local) and SYSCONFDIR (/etc)
	test -x $(target)/release/stickfast || cargo build --release --locked
	install -D -m 0755 $(target)/release/stickfast $(DESTDIR)$(PREFIX)/bin/stickfast
	install -d $(DESTDIR)$(UNITDIR)
	sed 's,/usr/bin/,$(PREFIX)/bin/,; s,/etc/stickfast,$(SYSCONFDIR)/stickfast,' systemd/stickfast.service \
		>$(DESTDIR)$(UNITDIR)/stickfast.service
	install -m 0644 systemd/stickfast.socket $(DESTDIR)$(UNITDIR)/stickfast.socket
	install -D -m 0644 systemd/stickfast.sysusers $(DESTDIR)$(SYSUSERSDIR)/stickfast.conf
	install -D -m 0644 systemd/stickfast.tmpfiles $(DESTDIR)$(TMPFILESDIR)/stickfast.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/stickfast/stickfast.yaml || \
		install -D -m 0640 conf/minimal.yaml $(DESTDIR)$(SYSCONFDIR)/stickfast/stickfast.yaml

install-tools:
	@.ci/install-tools
