# `make help` lists the targets. Works with GNU make 3.81 (macOS) and later; the recipes need bash.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
ARGS ?=
comma := ,
EXPUNGE_DATA ?= $(abspath $(wildcard ../shared/data))
ifneq ($(EXPUNGE_DATA),)
export EXPUNGE_DATA
endif

PY := $(VENV)/bin/python
LOCK_FILE ?= constraints.txt
LOCK := $(LOCK_FILE) pyproject.toml
JOBS ?= 2
# One thread a process: the tests' arrays are tiny, and more threads than cores starve each other.
# A file stays in one process, so that what its tests share is made once.
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(PY) -m pytest -n $(JOBS) --dist

# $(call install,WHAT): pip's errors and exit code pass; its notes on local folders that are not there do not.
install = set -o pipefail; $(PY) -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(LOCK_FILE) -e $(1) 2>&1 \
	| { grep -v -e '^WARNING: Location .* is ignored' -e '^WARNING: Skipping .* due to invalid' >&2 || true; }

.PHONY: help demo demo-diffusion demo-stable-diffusion test test-slow test-floor coverage lint format docs bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-21s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "PYTHON=$(PYTHON)  the Python that makes $(VENV); 3.11 or later"
	@echo "PIP_ARGS=        passed to pip: an index option here chooses where torch comes from"
	@echo "JOBS=2           processes of the tests, a core each; 0 keeps them in one, for a debugger"
	@echo "ARGS=            passed to the command that a target runs"
	@echo "EXPUNGE_DATA=    folder of the data sets; tests that need one that is not there are skipped"

demo: $(VENV)/.runtime ## Forget a class and a random tenth of handwritten digits (two minutes)
	@$(VENV)/bin/expunge demo --overwrite $(ARGS)

demo-diffusion: $(VENV)/.diffusion ## A model that draws clothes forgets one kind (ARGS=--fast: digits, no data needed)
	@$(VENV)/bin/expunge demo --task diffusion --models-dir examples/models --out expunge-demo-diffusion --overwrite $(ARGS)

demo-stable-diffusion: $(VENV)/.diffusion ## A tiny pipeline learns captions and forgets some (half an hour)
	@$(PY) examples/tiny_stable_diffusion.py $(ARGS)
	@$(VENV)/bin/expunge run examples/tiny-stable-diffusion.yaml --overwrite

test: $(VENV)/.development ## Run the tests
	@$(PYTEST) loadfile -m "not slow" $(ARGS)

test-slow: $(VENV)/.development ## Run the long tests
	@$(PYTEST) worksteal -m slow $(ARGS) || { code=$$?; [ $$code -eq 5 ] || exit $$code; echo "There are no slow tests."; }

coverage: $(VENV)/.development ## Run the tests and count the lines of src that they reach, 92 % or more
	@$(PYTEST) loadfile -m "not slow" --cov $(ARGS)

lint: $(VENV)/.development ## Check style, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.development ## Format the sources
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

docs: $(VENV)/.docs ## Build the documentation site into build/site, with every warning an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet $(ARGS) && echo "build/site/index.html"

test-floor: ## Run the tests with the lowest versions that pyproject.toml allows (in .venv-floor)
	@$(MAKE) --no-print-directory test VENV=.venv-floor LOCK_FILE=constraints-floor.txt ARGS="-W default --ignore tests/test_project.py $(ARGS)"

bench: $(VENV)/.runtime ## Measure what one update of each surgery costs
	@$(PY) benchmarks/step_cost.py $(ARGS)

clean: ## Remove the environment, caches and the demo's run folder
	rm -rf $(VENV) .venv-floor build dist expunge-demo expunge-demo-diffusion expunge-demo-stable-diffusion .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@command -v "$(PYTHON)" > /dev/null || { echo "Expected Python 3.11 or later, but found no '$(PYTHON)': install it, or name another with PYTHON=…" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Expected Python 3.11 or later, but '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1): name another with PYTHON=…" >&2; exit 1; }
	@$(PY) -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv "$(VENV)"
	@touch $@

$(VENV)/.diffusion: $(LOCK) | $(VENV)/.made
	@echo "Installing what diffusion models need into $(VENV)"
	@$(call install,'.[diffusion]')
	@touch $@

$(VENV)/.docs: $(LOCK) | $(VENV)/.made
	@echo "Installing what the documentation needs into $(VENV)"
	@$(call install,'.[docs]')
	@touch $@

$(VENV)/.runtime: $(LOCK) | $(VENV)/.made
	@echo "Installing what Expunge needs into $(VENV)"
	@$(call install,.)
	@touch $@

$(VENV)/.development: $(LOCK) | $(VENV)/.made
	@echo "Installing what the development of Expunge needs into $(VENV)"
	@$(call install,'.[data$(comma)diffusion$(comma)dev]')
	@touch $@ $(VENV)/.runtime $(VENV)/.diffusion
