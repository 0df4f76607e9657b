# Everything runs in .venv, which is made on first use; nothing is needed but Python 3.11 to 3.13 and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BIN := .venv/bin
# The newest Python in range that can make virtual environments; `make PYTHON=/path/to/python3.12 test` overrides it.
USABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c '$(USABLE)' 2>/dev/null && { echo "$$p"; break; }; done)
PYTEST := $(BIN)/pytest
# The tests wait for brokers and processes half of their time, so two files run side by side, the fast kinds first.
# `make WORKERS=0 test` runs one after the other.
WORKERS ?= 2
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: .venv ## Make the virtual environment with the locked packages

.PHONY: .venv
.venv: .venv/.installed

.venv/.python:
	@test -n "$(PYTHON)" || { \
		echo "No usable Python: 3.11, 3.12 or 3.13 with the venv module is needed (Debian: apt install python3-venv)."; \
		echo "Name one with: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	@"$(PYTHON)" -c '$(USABLE)' || { echo "$(PYTHON) is not Python 3.11 to 3.13 with the venv module."; exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv with $(PYTHON)"; "$(PYTHON)" -m venv .venv; }
	@touch $@

.venv/.requirements: requirements-dev.lock .venv/.python
	@echo "Installing the locked packages (the first time takes a minute or two)"
	@$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.installed: .venv/.requirements pyproject.toml
	@$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: .venv ## Run the whole system on a simulated Odoo, with a live view
	@$(BIN)/finwatch demo $(ARGS)

.PHONY: test
test: .venv ## Run the tests, real broker and registry included where Java, Maven and Go are present
	$(PYTEST) -q $(SIDE_BY_SIDE) -m "not full" $(ARGS)

.PHONY: test-fast
test-fast: .venv ## Run the tests that need no server and less than five seconds each
	$(PYTEST) -q $(SIDE_BY_SIDE) -m "not (full or slow or broker or registry or prometheus)" $(ARGS)

.PHONY: test-all
test-all: .venv ## Run every test, the long fault runs too
	$(PYTEST) -q $(ARGS)

.PHONY: lint
lint: .venv ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: .venv ## Format the code and sort the imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: generate
generate: .venv ## Write the generated files again (dashboards, rules, metrics, data dictionary, settings, rules)
	$(BIN)/python -m dashboards build
	$(BIN)/python -m schemas.dictionary
	$(BIN)/python -m finwatch.runtime.settings_page
	$(BIN)/python -m finwatch.runtime.rules_page

.PHONY: bench
bench: .venv ## Measure throughput on a real broker (Java and Maven needed)
	$(BIN)/python -m benchmarks.streams $(ARGS)

.PHONY: secrets
secrets: ## Write random passwords for docker-compose.yml into ./secrets, keeping those that exist
	@sh deploy/make-secrets.sh secrets

.PHONY: lock
lock: .venv/lock/bin/uv ## Resolve the lock files again
	.venv/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		pyproject.toml -o requirements.lock $(ARGS)
	.venv/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		-c requirements.lock pyproject.toml --group dev -o requirements-dev.lock $(ARGS)

.venv/lock/bin/uv: .venv/.python
	@$(BIN)/python -m venv .venv/lock
	@.venv/lock/bin/python -m pip install -q "uv>=0.9,<1"

.PHONY: clean
clean: ## Remove what builds and tests leave behind (.venv and data stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache ./*.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove .venv and the demo's data as well
	rm -rf .venv .finwatch
