# Everything a person or a machine does to this project. `make help` lists it.

PYTHON ?= python3
VENV ?= .venv
SIZE ?= 2048x2048
OUT ?= demo/world.tif
PYTEST_ARGS ?=
BENCHMARKS ?= $(sort $(wildcard benchmarks/*.py))

PREVIEW = $(basename $(OUT)).png
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES = pyproject.toml setup.py constraints.txt $(wildcard tilegen/native/*.cpp)

.DEFAULT_GOAL := help
.PHONY: help test lint demo bench clean debian-packages

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

test: debian-packages $(VENV)/.installed-dev lint ## set up whatever is missing, then lint, type check and run the tests
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## ruff and mypy
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

demo: $(VENV)/.installed ## render a piece of the world: make demo [SIZE=20000x20000] [OUT=demo/world.tif]
	@mkdir -p $(dir $(OUT))
	$(VENV)/bin/tilegen generate $(OUT) --size $(SIZE) --preview $(PREVIEW) --overwrite
	@echo
	@echo "Look at $(PREVIEW), or open $(OUT) in QGIS (drag it into the window)."
	@echo "What it is:      $(VENV)/bin/tilegen info $(OUT)"
	@echo "The full job:    make demo SIZE=20000x20000"

bench: $(VENV)/.installed-dev ## run every script in benchmarks/
	@test -n "$(BENCHMARKS)" || echo "benchmarks/ holds no scripts."
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(VENV)/bin/python $$script; done

clean: ## remove the environment, the caches and the demo
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

debian-packages:
	@scripts/install_debian_packages.sh

# Two stamps, renewed when the requirements change: the package alone, and with its tests and tools.

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tilegen needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(SOURCES) | $(VENV)/bin/python
	$(PIP_INSTALL) --editable '.[test,dev]'
	@touch $@ $(VENV)/.installed
