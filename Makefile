# Every target sets up what it needs: a virtual environment with uv inside, and the locked dependencies.
PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv
RUN := $(VENV)/bin
# most tests wait for servers part of their time
WORKERS ?= 3
# what one of them has rewritten and compiled, the others read
PYTEST := PYTHONDONTWRITEBYTECODE= $(RUN)/pytest

.PHONY: help install up demo examples test test-all chaos lint types contracts check docs bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8,<1"

$(VENV)/.installed: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --locked --all-extras --compile-bytecode
	@$(RUN)/python -m compileall -q src
	@touch $@

install: $(VENV)/.installed ## Install the locked dependencies

up: install ## Run the control plane in the foreground (ARGS="--port 8420")
	$(RUN)/valhalla up $(ARGS)

demo: install ## Make a sandbox, work in it, prove that it is isolated, and that nothing is left of it
	$(RUN)/valhalla demo

examples: install ## Run every example (their output is checked by the tests)
	@set -e; for file in examples/blocks/*.py examples/*.py; do echo "== $$file"; $(RUN)/python $$file; done

test: install ## Run the tests
	$(PYTEST) -q -n $(WORKERS) -m "not slow"

test-all: install ## Run every test, also the slow ones
	$(PYTEST) -q -n $(WORKERS)

chaos: install ## Kill and restart everything for ten minutes (CHAOS_SECONDS, CHAOS_SEED)
	$(PYTEST) -q -s -m slow tests/chaos

lint: install ## Check style
	$(RUN)/ruff check src tests bench examples
	$(RUN)/ruff format --check src tests bench examples

types: install ## Check types
	$(RUN)/pyright

contracts: install ## Check which room imports which
	$(RUN)/lint-imports --no-cache

check: lint types contracts ## Everything but the tests

docs: install ## Build the documentation into site/; a broken link stops it
	@NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build

bench: install ## Measure (results go to bench/results/)
	$(RUN)/python -m bench

clean: ## Remove what the targets made
	rm -rf $(VENV) site .pytest_cache .ruff_cache .hypothesis bench/results
