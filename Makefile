# `make run` fine-tunes and writes the report; `make test` runs the test suite. Both first build .venv.
#   make run CONFIG=config/gpt2-small.yaml CORES=4

PYTHON ?= python3
CORES ?= all
CONFIG ?=
TESTS ?= tests

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
SOURCES := src workflow/scripts tests

.PHONY: help run test lint format

help:
	@sed -n '1,2s/^# //p' Makefile

run: .venv/run.stamp
	@$(if $(CONFIG),$(BIN)/python -m gptsmith.config.syntax '$(CONFIG)')
	$(BIN)/snakemake --cores $(CORES) --quiet rules host $(if $(NO_COLOR),--nocolor) $(if $(CONFIG),--configfile '$(CONFIG)')

test: .venv/dev.stamp
	$(BIN)/pytest $(TESTS)

lint: .venv/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/python -m gptsmith.config.reference --check
	! $(BIN)/snakemake --lint text 2>&1 | grep '^    \* ' | grep -v 'Specify a conda environment or container'

format: .venv/dev.stamp
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/snakefmt Snakefile workflow
	$(BIN)/python -m gptsmith.config.reference

# A stamp is written last, so an installation that broke off is taken up again.
.venv/run.stamp: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed: make run PYTHON=python3.12")'
	@echo 'Setting up .venv: about 2 GB, some minutes ...'
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	@echo 'Adding what tests and lint need ...'
	@$(INSTALL) -r requirements-dev.txt
	@touch $@
