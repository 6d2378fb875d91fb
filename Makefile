# Everything that is done with this repository, by name: `make help`.
# Two commands do all: `make demo` builds what it needs and runs the main job, `make test` runs every test.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# pytest's own arguments, e.g. `make test-python ARGS='-k cancel -x'`
ARGS ?=

# What the Rust host programs embed, unless the caller names another interpreter.
export OMNI_BRIDGE_PYTHON ?= $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# pyo3 must not link libpython, whether maturin or cargo builds; the same environment also keeps cargo from
# building pyo3 twice in turns.
export PYO3_BUILD_EXTENSION_MODULE := 1
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python

RUST_SOURCES := $(shell find rust examples -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.h' -o -name '*.json' \) -not -path '*/target/*' 2>/dev/null) Cargo.toml Cargo.lock
STAMP_DEPS := $(VENV)/.stamp-deps
STAMP_BUILD := $(VENV)/.stamp-build

say = @printf '\n\033[1m== %s\033[0m\n' '$(1)'

.PHONY: help build mcp-servers conformance demo test test-rust test-python lint check fix lock replay bench bench-micro soak fuzz fuzz-quick wheel clean

help: ## list the targets (this text)
	@printf 'omni_bridge: make TARGET\n\n'
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@printf '\nNeeds python3 >= 3.10 (PYTHON=... names another), a Rust toolchain (cargo) and a C compiler.\n'

# ---------------------------------------------------------------------------------------------- build

$(STAMP_DEPS): requirements/dev.txt tools/check_toolchain.sh
	@bash tools/check_toolchain.sh "$(PYTHON)"
	$(call say,Python packages into $(VENV): locked and hash-checked)
	@test -x $(BIN)/python || env -u VIRTUAL_ENV "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

# maturin first: it builds everything the two libraries and the command share, with its own flags for pyo3;
# the second command then adds only the shells that have no pyo3 in them.
$(STAMP_BUILD): $(STAMP_DEPS) pyproject.toml $(RUST_SOURCES)
	$(call say,omni_bridge into $(VENV): release build of the extension)
	@$(BIN)/maturin develop --release --locked --quiet
	$(call say,omni - libomni_bridge - the Rust host of the README into target/release)
	@cargo build --release --locked --quiet -p omni-cli -p omni-capi -p rust_host -p rust_agent
	@touch $@

build: $(STAMP_BUILD) ## package installed in .venv; omni and libomni_bridge in target/release
	@echo 'built: $(BIN)/omni (console script), target/release/omni (Rust), target/release/libomni_bridge.so'

# --------------------------------------------------------------------------------------------- using it

demo: build mcp-servers ## a chat with a tool call, and an agent with an MCP server (no key needed)
	@$(BIN)/python tools/demo.py

# --------------------------------------------------------------------------------------------- checking

test: build test-rust test-python ## every test: Rust, then Python (with the C and HTTP ones)

mcp-servers: $(STAMP_DEPS) ## the real MCP servers that the demo and the tests start, into .tools/mcp
	@PYTHON=$(BIN)/python bash tools/mcp_servers.sh

test-rust: build mcp-servers ## the Rust tests alone
	$(call say,Rust tests)
	@cargo test --release --locked --workspace --exclude omni-pyext

conformance: build mcp-servers ## the MCP client against the protocol's public conformance suite
	@cargo build --release --locked --quiet -p omni-agent --example mcp_conformance
	@bash tools/mcp_conformance.sh "$${CARGO_TARGET_DIR:-$(CURDIR)/target}/release/examples/mcp_conformance"

test-python: build mcp-servers ## the Python tests alone (ARGS= goes to pytest)
	$(call say,Python tests)
	@$(BIN)/python -m pytest $(ARGS)

# How long each target of `make fuzz` runs; two run at a time.
SECONDS = 600

fuzz: ## arbitrary bytes for each decoder, the SSE reader, the encoders (SECONDS=600 each)
	@PYTHON="$(PYTHON)" bash tools/fuzz.sh $(SECONDS)

fuzz-quick: ## the same for ten seconds each, as CI does, with clippy over the targets
	@PYTHON="$(PYTHON)" bash tools/fuzz.sh lint
	@PYTHON="$(PYTHON)" bash tools/fuzz.sh quick

lint: build ## formatters, linters, types, licences, spelling, forbidden content
	@PYTHON=$(BIN)/python bash tools/lint.sh

check: build mcp-servers ## generated files are up to date (each says how to mend it)
	@$(BIN)/python tools/generated.py --check

fix: build mcp-servers ## regenerate what is generated, and format
	@$(BIN)/python tools/generated.py --write
	@cargo fmt --all
	@$(BIN)/ruff check --quiet --fix-only python tests tools benches examples
	@$(BIN)/ruff format --quiet python tests tools benches examples

lock: ## resolve requirements/*.txt anew, with hashes (asks PyPI; needs uv)
	@bash tools/lock.sh

# ------------------------------------------------------------------------------------------- measuring

replay: build ## send the recorded exchanges of ../shared/wire through both engines; one table, and the costs
	@$(BIN)/python -m tests.replay
	$(call say,the recorded requests: read into the contract and encoded again)
	@$(BIN)/python -m tests.replay.offline all --what requests

bench: build mcp-servers ## the doors, the native engine and the agent, each beside its baselines; benches/results
	$(call say,the benchmark programs)
	@cargo build --release --locked --quiet -p omni-bench
	@cargo build --release --locked --quiet -p omni-agent --examples
	@bash benches/peers/build.sh
	@$(BIN)/python benches/doors/run.py $(ARGS)
	@$(BIN)/python benches/doors/native.py $(ARGS)
	@$(BIN)/python benches/doors/agent.py $(ARGS)
	@$(BIN)/python tools/tables.py --write

bench-micro: build ## pytest-benchmark and criterion: one function at a time
	@$(BIN)/python -m pytest benches/python --benchmark-enable --benchmark-only $(ARGS)
	@cargo bench --locked -p omni-core
	@cargo bench --locked -p omni-providers

soak: build ## 100,000 streams, 1,000 exits through each engine, 1,000 kills; writes benches/results/soak.json
	@OMNI_SOAK=1 cargo test --release --locked -p omni-agent --test store kill
	@$(BIN)/python -m tests.soak --full --out benches/results/soak.json
	@$(BIN)/python tools/tables.py --write

# -------------------------------------------------------------------------------------------- shipping

wheel: $(STAMP_DEPS) ## one abi3 wheel for CPython 3.10 and newer into dist/, tried in an environment of its own
	@rm -f dist/*.whl
	@$(BIN)/maturin build --release --locked --strip --quiet --out dist
	@PYTHON=$(BIN)/python bash tools/check_wheel.sh dist

clean: ## remove what was built (.venv, target, dist)
	rm -rf $(VENV) target dist
