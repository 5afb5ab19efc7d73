# Every target makes its own environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin

# Else every process compiles the whole tree again: a suite of thousands of commands and nodes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo fuzz test test-deep test-spark lint type sim sim-mutants crash crash-close bench clean

demo: .venv/ready
	$(BIN)/tongbao demo $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz.run --seconds $(or $(TIME_S),60) $(ARGS)

test-deep: .venv/ready
	TONGBAO_TEST_DEPTH=10 $(BIN)/python -m pytest -n auto --dist loadgroup -m '(hypothesis or deep) and not spark' $(ARGS)

test-spark: .venv/ready-spark
	$(BIN)/python -m pytest -m spark -n 0 tests/settlement/test_spark.py $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/ready
	$(BIN)/mypy

sim: .venv/ready
	$(BIN)/python -m tests.simulation.run --quiet --seeds $(or $(SEEDS),1-100) $(ARGS)

crash: .venv/ready
	$(BIN)/python -m tests.crash.run $(ARGS)

crash-close: .venv/ready
	$(BIN)/python -m tests.crash.close --instants $(or $(INSTANTS),200) $(ARGS)

sim-mutants: .venv/ready
	$(BIN)/python -m tests.simulation.mutants $(ARGS)

bench: .venv/ready
	$(BIN)/python -m benchmarks.forward $(ARGS)
	$(BIN)/python -m benchmarks.switch $(ARGS)

.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Tongbao needs Python 3.11 or later as $(PYTHON), or named: make PYTHON=python3.12 …"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can not make environments (no ensurepip)." \
			"Debian and Ubuntu: apt-get install python3-venv"; exit 1; } >&2
	@echo "Installing into .venv, once …"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	touch $@

.venv/ready-spark: .venv/ready
	@java -version >/dev/null 2>&1 || { \
		echo "Spark needs Java 17. Debian and Ubuntu: apt-get install openjdk-17-jre-headless"; exit 1; } >&2
	@echo "Installing PySpark into .venv, once (0.9 GB) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[spark]'
	touch $@

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis
