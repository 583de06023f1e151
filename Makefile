# Everything sets itself up: `make demo` and `make test` need Python 3.11+, make and a package index.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean bench mutants

demo: .venv/ready
	$(BIN)/shoudan demo

test: .venv/ready lint
	$(BIN)/python -m pytest -n 2

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

bench: .venv/ready
	$(BIN)/shoudan bench codec

mutants: .venv/ready
	$(BIN)/shoudan scenario mutants --page docs/reliability.md

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("shoudan needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv build *.egg-info
