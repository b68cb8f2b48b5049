# `make run` fine-tunes and writes the report; `make test` runs the test suite. Both first build .venv.
#   make run CONFIG=config/gpt2-small.yaml CORES=4
#   make test TESTS=tests/unit WORKERS=0
# `make bench` measures side by side with llms-from-scratch and transformers, in .venv-benchmarks.
#   make bench QUICK=1; make bench FULL=1 TASKS="spam generation"; make bench DEVICE=cuda

PYTHON ?= python3
CORES ?= all
CONFIG ?=
TESTS ?= tests
WORKERS ?= 2
QUICK ?=
FULL ?=
DEVICE ?= cpu
TASKS ?=

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet
SOURCES := src workflow/scripts tests benchmarks

.PHONY: help run test bench lint format

help:
	@sed -n '1,5s/^# //p' Makefile

run: .venv/run.stamp
	@$(if $(CONFIG),$(BIN)/python -m gptsmith.config.syntax '$(CONFIG)')
	$(BIN)/snakemake --cores $(CORES) --quiet rules host $(if $(NO_COLOR),--nocolor) $(if $(CONFIG),--configfile '$(CONFIG)')

test: .venv/dev.stamp
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 30 $(TESTS)

bench: .venv-benchmarks/stamp
	.venv-benchmarks/bin/python -m benchmarks.run $(if $(QUICK),--quick) $(if $(FULL),--full) --device $(DEVICE) $(TASKS)

# The second config has the rules of an ablation, which the first has not.
lint: .venv/dev.stamp
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/python -m gptsmith.config.reference --check
	for config in config.yaml config/ablation.yaml; do ! $(BIN)/snakemake --lint text --configfile $$config 2>&1 \
		| grep '^    \* ' | grep -v 'Specify a conda environment or container' || exit 1; done

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

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt requirements-clusters.txt requirements-serve.txt
	@echo 'Adding what tests and lint need ...'
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

# An environment of its own that sees what .venv has: torch is not installed twice, and .venv has no peers in it.
SITE_PACKAGES := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
.venv-benchmarks/stamp: .venv/run.stamp benchmarks/requirements.txt
	@echo 'Setting up .venv-benchmarks ...'
	@$(BIN)/python -m venv .venv-benchmarks
	@echo "import site; site.addsitedir('''$$($(BIN)/python $(SITE_PACKAGES))''')" > "$$(.venv-benchmarks/bin/python $(SITE_PACKAGES))/venv.pth"
	@.venv-benchmarks/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r benchmarks/requirements.txt
	@touch $@
