# One verb for each task; a bare `make` prints them. Nothing is installed outside this folder.
#
#   PYTHON=python3.13      the Python of .venv (made once: `make clean` before choosing another)
#   SECONDS=600            how long `fuzz` works on each target
#   SEEDS=1000             how much `chaos` tries; SEED=7 repeats one
#   MESSAGES=10000000      how long `soak` goes on
#   ARGS="-k word"         passed on to pytest, to the benchmarks or to the compiler of `lock`

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
SECONDS := 40
SEEDS := 500
MESSAGES := 1000000
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate

# Whoever starts many short programs should not have each of them compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test suite check coverage engine-test bench bench-guard fuzz chaos soak mutants lock clean

help:
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(VENV)/ready  ## make .venv with all that the other verbs need

$(VENV)/ready: requirements/dev.txt pyproject.toml src/yateway/wire/native.c | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PYTHON must be 3.11 or later")'
	$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip sync --quiet --python $(VENV) --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation --editable .
	@touch $@

.uv/bin/uv: requirements/uv.txt
	$(PYTHON) -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	@touch $@

demo: setup  ## see it work: a module and the embedded engine
	@$(VENV)/bin/yateway demo

test: setup  ## run the suite on every Python of this machine from 3.11 on, that of .venv last
	@.ci/pythons $(VENV)/bin/python | while read -r version python; do \
		$(MAKE) --no-print-directory suite VENV=.venv-$$version PYTHON="$$python" YATEWAY_PURE=1 </dev/null; done
	$(if $(ARGS),,$(VENV)/bin/python tests/own_coverage.py)
	@$(MAKE) --no-print-directory suite

suite: setup  ## run the suite on the Python of .venv alone
	$(VENV)/bin/python -m pytest -n auto --dist worksteal $(ARGS)

check: setup  ## format, lint and types
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

coverage: setup  ## run the suite and show what it leaves out
	$(VENV)/bin/coverage run -m pytest $(ARGS)
	$(VENV)/bin/coverage report --show-missing --skip-covered

engine-test: setup  ## run the tests that need a real engine, below the folder YATEWAY_YATE
	@test -x "$${YATEWAY_YATE:-}/bin/yate" || { echo "YATEWAY_YATE names no installed engine"; exit 1; }
	$(VENV)/bin/python -m pytest -m yate $(ARGS)

bench: setup  ## measure
	$(VENV)/bin/python -m benchmarks $(ARGS)

fuzz: setup  ## look for bytes that break an invariant, SECONDS=40 for each target
	@$(VENV)/bin/python -m fuzz --seconds $(SECONDS) $(ARGS)

chaos: setup  ## let faults befall module and engine, SEEDS=500 times
	@$(VENV)/bin/python -m chaos $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

soak: setup  ## look what grows under load, for MESSAGES=1000000
	@$(VENV)/bin/python -m chaos.soak --messages $(MESSAGES)

mutants: | $(UV)  ## change wire/ in a thousand places and see whether its tests notice
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-mutants
	$(UV) pip sync --quiet --python .venv-mutants --require-hashes requirements/mutants.txt
	@export YATEWAY_PURE=1 PATH=$$PWD/.venv-mutants/bin:$$PATH && mutmut run $(ARGS) && mutmut export-cicd-stats && \
		python tests/mutants.py mutants/mutmut-cicd-stats.json

bench-guard: setup  ## fail when a message costs more than it did, as a ratio
	$(VENV)/bin/python -m benchmarks.guard

lock: | $(UV)  ## pin the requirements anew; ARGS=--upgrade for the newest
	$(COMPILE) $(ARGS) requirements/uv.in --output-file requirements/uv.txt
	$(COMPILE) $(ARGS) --all-extras pyproject.toml requirements/dev.in --output-file requirements/dev.txt
	$(COMPILE) $(ARGS) --all-extras pyproject.toml requirements/dev.in requirements/mutants.in \
		--constraints requirements/dev.txt --output-file requirements/mutants.txt

clean:  ## remove all that these verbs made
	rm -rf .venv* .uv .coverage* .hypothesis mutants .mypy_cache .pytest_cache .ruff_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
