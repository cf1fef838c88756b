# The doors of the project. CI goes through the same ones: .ci/run is `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

target := $(or $(CARGO_TARGET_DIR),target)
scripts := loadtest/pgo.sh .ci/run .ci/install-tools .ci/install-peers tests/fuzz/run tests/fuzz/diff
maintainer_scripts := systemd/debian/postinst systemd/debian/prerm systemd/debian/postrm
all_peers := haproxy envoy nginx traefik caddy nghttp2
peers := $(all_peers)

# how long `make fuzz` tries each decoder
FUZZ_SECONDS ?= 60
# how long `make fuzz-diff` goes on (no end), and how many cases it plays with each seed
FUZZ_DIFF_SECONDS ?=
FUZZ_DIFF_CASES ?= 2000

# what `make deb` packs: how it is built, and whether it is (`make deb DEB_BUILD=` packs what is there)
DEB_PROFILE ?= release
DEB_BUILD ?= yes
# `make load` and `make load-k6`: how often and how long, what of it (all), and where the results go
ROUNDS ?= 9
SECONDS ?= 3
SCENARIOS ?=
PROXIES ?=
OUT ?= loadtest
# yes: what `make deb` packs and `make load` measures is the build of `make pgo`, which takes 7 % less CPU time
# a request and a quarter of an hour; anything else: a plain release build
PGO ?= yes
guided = $(and $(filter yes,$(PGO)),$(filter release,$(DEB_PROFILE)))
# what `make pgo` builds for: x86-64-v3, native…; empty for any
CPU ?=
# UPDATE=yes: `make bench-instructions` writes its baseline
UPDATE ?=
examples = $(target)/$(1)/examples

# where `make install` puts things; DESTDIR=… stages them elsewhere, for a package
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

.PHONY: help run test test-peers test-systemd peers lint bench bench-instructions fuzz fuzz-diff load load-k6 pgo attack doc man install deb release dev profiling install-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

run: install-tools ## build it, then serve a demo: three toy backends and the gateway before them
	cargo build --release --locked
	exec $(target)/release/stickfast demo

# The test run comes last, so that its summary is what a CI log ends with. `lint` has type-checked
# the benches: compiling them takes the release profile, and minutes.
test: lint ## everything CI runs: lint, documentation, documented examples, all tests
	@.ci/install-tools openssl curl
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
test-peers: install-tools ## tests with load balancers and clients of others, installed in target/peers; peers='envoy caddy' for some
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

# The package of a development build does, and a second one of the same as its next version.
systemd_target := $(target)/systemd
test-systemd: ## the package on a real systemd in a container, under load; as root: see tests/systemd/README.md
	@if [[ $$(id -u) != 0 ]]; then \
		echo 'SKIPPED: the test of the package on a real systemd. It takes root, for systemd-nspawn.'; \
	else \
		.ci/install-tools rust cc cmake cargo-deb systemd-nspawn nsenter python3; \
		set -x; \
		cargo build --locked; \
		rm -rf target/man; \
		$(target)/debug/stickfast man target/man; \
		mkdir -p $(systemd_target); \
		for revision in 1 2; do \
			cargo deb --profile dev --no-build --fast --deb-revision $$revision --quiet \
				-o $(systemd_target)/revision-$$revision.deb; \
		done; \
		tests/systemd/run $(systemd_target)/revision-1.deb $(systemd_target)/revision-2.deb; \
	fi

peers: install-tools ## the load balancers and load generators that tests and load use, in target/peers
	@.ci/install-peers $(peers) k6

lint: install-tools ## formatting, clippy and the shell scripts; any finding fails
	@.ci/install-tools rustfmt clippy
	for script in $(scripts); do bash -n "$$script"; done
	for script in $(maintainer_scripts); do sh -n "$$script"; done
	@if command -v shellcheck >/dev/null; then \
		echo 'shellcheck $(scripts) $(maintainer_scripts)'; \
		shellcheck $(scripts) $(maintainer_scripts); \
	else \
		echo 'shellcheck is not installed; the scripts were checked for syntax only.'; \
	fi
	@if command -v python3 >/dev/null; then \
		echo 'python3 loadtest/selftest.py'; \
		python3 -B loadtest/selftest.py; \
	else \
		echo 'python3 is not installed; the scripts of loadtest/ were not checked.'; \
	fi
	cargo fmt --check
	cargo metadata --locked --format-version 1 --manifest-path tests/fuzz/Cargo.toml >/dev/null
	cargo clippy --locked --all-targets -- -D warnings

bench: install-tools ## micro-benchmarks of the request path (release build), and what a second thread adds
	cargo bench --locked --bench decision --bench decoders --bench tables --bench rewriting --bench threads

fuzz: install-tools ## every decoder against libFuzzer, FUZZ_SECONDS (60) each: see tests/fuzz/README.md
	@.ci/install-tools c++
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

fuzz-diff: install-tools ## both drivers on random requests and responses, until they differ or FUZZ_DIFF_SECONDS are over
	FUZZ_DIFF_SECONDS=$(FUZZ_DIFF_SECONDS) FUZZ_DIFF_CASES=$(FUZZ_DIFF_CASES) tests/fuzz/diff

load: $(if $(guided),pgo,release) ## Stickfast beside other proxies, on loopback, into loadtest/RESULTS.md: see loadtest/README.md
	@.ci/install-tools wrk python3 openssl
	cargo build --release --locked --example floor --example backend
	loadtest/load.py --stickfast $(target)/$(if $(guided),pgo,release)/stickfast \
		--build '$(if $(guided),make pgo,cargo build --release)' --examples $(call examples,release) \
		--peers $(target)/peers --rounds $(ROUNDS) --seconds $(SECONDS) --out $(OUT) \
		--scenarios '$(SCENARIOS)' --proxies '$(PROXIES)'

load-k6: install-tools ## browsers, a failover and reloads, played by k6; thresholds fail it
	@.ci/install-tools python3
	@.ci/install-peers k6
	cargo build --release --locked --bin stickfast --example backend
	loadtest/k6.py --stickfast $(target)/release/stickfast --examples $(call examples,release) \
		--peers $(target)/peers --seconds $(SECONDS)

pgo: install-tools ## a build that is laid out as the load of loadtest/ uses it: target/pgo/stickfast
	@.ci/install-tools profdata wrk python3 openssl
	@.ci/install-peers nghttp2
	loadtest/pgo.sh $(target) $(CPU)

bench-instructions: install-tools ## instructions of a request, by valgrind; fails where they grew by over 3 %
	@.ci/install-tools valgrind python3
	cargo build --profile profiling --locked --bin stickfast
	cargo build --locked --example backend
	loadtest/instructions.py --stickfast $(target)/profiling/stickfast \
		--examples $(call examples,debug) $(if $(UPDATE),--update)

attack: install-tools ## attacks on a gateway of its own, and what others notice: see loadtest/README.md
	@.ci/install-tools python3 openssl
	cargo build --release --locked
	STICKFAST=$(target)/release/stickfast python3 loadtest/attack $(attacks)

doc: install-tools ## the crate's documentation, which is also the map of the source
	cargo doc --locked --no-deps --lib
	@echo 'Open $(target)/doc/stickfast/index.html'

# Written by the program itself, from its command line.
man: install-tools ## the manual pages, in target/man
	cargo build --release --locked
	rm -rf $(target)/man
	$(target)/release/stickfast man $(target)/man

# A configuration that is there already stays. What is built is not built anew: `make` it as yourself,
# install as root.
install: ## binary, manual, units and a first configuration below PREFIX (/usr/local) and SYSCONFDIR (/etc)
	test -x $(target)/release/stickfast || cargo build --release --locked
	install -D -m 0755 $(target)/release/stickfast $(DESTDIR)$(PREFIX)/bin/stickfast
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(UNITDIR)
	$(target)/release/stickfast man $(DESTDIR)$(MANDIR)/man1
	chmod 0644 $(DESTDIR)$(MANDIR)/man1/stickfast*.1
	sed 's,/usr/bin/,$(PREFIX)/bin/,; s,/etc/stickfast,$(SYSCONFDIR)/stickfast,' systemd/stickfast.service \
		>$(DESTDIR)$(UNITDIR)/stickfast.service
	install -m 0644 systemd/stickfast.socket $(DESTDIR)$(UNITDIR)/stickfast.socket
	install -D -m 0644 systemd/stickfast.sysusers $(DESTDIR)$(SYSUSERSDIR)/stickfast.conf
	install -D -m 0644 systemd/stickfast.tmpfiles $(DESTDIR)$(TMPFILESDIR)/stickfast.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/stickfast/stickfast.yaml || \
		install -D -m 0640 conf/minimal.yaml $(DESTDIR)$(SYSCONFDIR)/stickfast/stickfast.yaml

# What is in it stands in Cargo.toml, what it does on a machine in systemd/debian/.
# Where cargo puts what it builds for a profile.
built = $(target)/$(if $(filter dev,$(1)),debug,$(1))
deb: $(if $(DEB_BUILD),$(if $(guided),pgo,$(DEB_PROFILE)),install-tools) ## a Debian package in target/debian; DEB_PROFILE=dev or PGO=no for a quick one
	@.ci/install-tools cargo-deb
	$(if $(and $(DEB_BUILD),$(guided)),install -D $(target)/pgo/stickfast $(call built,$(DEB_PROFILE))/stickfast)
	rm -rf target/man
	$(call built,$(DEB_PROFILE))/stickfast man target/man
	cargo deb --locked --profile $(DEB_PROFILE) --no-build

release dev profiling: install-tools
	cargo build --locked --profile $@ --bin stickfast

install-tools:
	@.ci/install-tools
