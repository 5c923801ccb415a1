# `make demo` and `make test` are all that a newcomer needs; the rest is for people who change things.

CARGO ?= cargo
HOMEOSTAT = target/release/homeostat
ifdef CARGO_TARGET_DIR
HOMEOSTAT = $(CARGO_TARGET_DIR)/release/homeostat
endif

.PHONY: demo up test check bench build postgres python format clippy docs deny queries

## The main job: a small real cluster, a flash crowd and a failing dependency, without and with Homeostat.
demo: postgres build
	$(HOMEOSTAT) demo

## The control plane on this machine; then, in another terminal, `homeostat staging`.
up: postgres build
	$(HOMEOSTAT) up

build:
	$(CARGO) build --release --package homeostat

## Every test: cores, services over sockets, five processes, kills. Needs no database of yours.
test: postgres python
	$(CARGO) test --workspace

## What CI runs beside the tests.
check: format clippy docs deny queries

bench: postgres build
	$(HOMEOSTAT) bench

format:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

## Licences, sources and doubled versions. The advisory database needs the network; run `cargo deny check advisories` where there is one.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked --version 0.20.2
	$(CARGO) deny --all-features check bans licenses sources

## The committed query metadata fits the migrations.
queries: postgres
	knowledge/prepare.sh --check

## PostgreSQL's programs; a cluster of ours is started from them. Installed with apt where they are missing.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || deploy/install.sh

## The Python that the example actuator's test runs with.
python: .venv/.installed

.venv/.installed: actuators/examples/python/requirements.txt
	@python3 -c "import ensurepip, venv" >/dev/null 2>&1 || deploy/install.sh
	python3 -m venv .venv
	.venv/bin/pip install --quiet --requirement $<
	touch $@
