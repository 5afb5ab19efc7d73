# Every target makes its own environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint type bench clean

demo: .venv/ready
	$(BIN)/tongbao demo $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/ready
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks.forward $(ARGS)
	$(BIN)/python -m benchmarks.switch $(ARGS)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	touch $@

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis
