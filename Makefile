# make demo   an environment, the package, six designed backbones and a report to open
# make test   an environment with the development tools, and every test
# make docs   the guides and the reference of the code as pages to open in a browser
#
# VENV names the environment to use or to make; an environment that has a torch build, CPU or
# CUDA, keeps it. PYTHON names the interpreter to make it with.

VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= designs
WORKERS ?= 2
PYTEST_ARGS ?=

ifndef PYTHON
PYTHON := $(shell for p in python3 python python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 \
	&& $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$p && break; done)
endif

# A torch that the interpreter itself has is used, not downloaded again.
HAS_TORCH := from importlib.metadata import version; \
	v = tuple(int(p) for p in version("torch").split(".")[:2]); \
	raise SystemExit(not (2, 6) <= v < (2, 14))

.PHONY: demo test lint types docs clean
.DEFAULT_GOAL := demo

demo: $(BIN)/.sciddiff-demo
	$(BIN)/sciddiff backbone --length 60-100 -n 6 --seed 1 -o $(OUT)
	@echo "Open $(abspath $(OUT))/report.html in a browser."

test: $(BIN)/.sciddiff-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: $(BIN)/.sciddiff-dev
	$(BIN)/ruff check .

types: $(BIN)/.sciddiff-dev
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pyright --pythonpath $(BIN)/python

docs: $(BIN)/.sciddiff-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/docs
	@echo "Open $(abspath build/docs)/index.html in a browser."

$(BIN)/.sciddiff-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[protein]'
	@touch $@

$(BIN)/.sciddiff-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[protein,docking,weather,dev]'
	@touch $@ $(BIN)/.sciddiff-demo

$(BIN)/.sciddiff-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[protein,docking,weather,docs]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@flag=; $(PYTHON) -c '$(HAS_TORCH)' 2>/dev/null && flag=--system-site-packages; \
	echo "making $(VENV) with $(PYTHON) $$flag"; $(PYTHON) -m venv $$flag $(VENV)

clean:
	rm -rf build dist .pytest_cache .ruff_cache
