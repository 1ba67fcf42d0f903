# Two commands need nothing but Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --quiet
LOCK := $(COMPILE) pyproject.toml -c requirements/held-back.txt

.PHONY: demo stack cluster airflow test check crash bench docs lock format clean help

help:  ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

demo: $(VENV)/.run  ## poll an API, land, stream, write: exact, balanced rows in PostgreSQL
	$(BIN)/python examples/users/demo.py

stack: $(VENV)/.stack  ## the same on real Kafka, a schema registry, Cassandra and PostgreSQL
	$(BIN)/python examples/users/stack.py

cluster: $(VENV)/.cluster  ## the same with Spark: a standalone master and a worker (needs Java 17 or 21)
	$(BIN)/python examples/users/cluster.py

airflow: $(VENV)/.run $(AIRFLOW)/.done  ## Airflow with the example's DAGs on 127.0.0.1:8080
	$(BIN)/python deploy/airflow/serve.py --airflow $(AIRFLOW)/bin/airflow

test: check $(AIRFLOW)/.done  ## every gate and every test (half an hour on 2 cores)
	$(BIN)/python -m pytest -m "not slow"

check: $(VENV)/.dev  ## the gates: lint, format, types, import directions, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs/test_budgets.py tests/docs/test_links.py tests/docs/test_reference.py

crash: $(VENV)/.dev  ## the long crash runs
	$(BIN)/python -m pytest -m slow --timeout 3600

bench: $(VENV)/.dev  ## speed, memory and latency beside their floors and peers
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open build/site/index.html, or with search: $(BIN)/python -m http.server -d build/site --bind 127.0.0.1"

format: $(VENV)/.dev  ## let the formatter have its way
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev  ## renew the locked versions
	$(PIP) install uv
	$(LOCK) --group build -o requirements/run.txt
	$(LOCK) --extra kafka --extra cassandra --extra services --group build -c requirements/run.txt -o requirements/stack.txt
	$(LOCK) --extra kafka --extra cassandra --extra s3 --extra hdfs --extra encryption --group build -c requirements/stack.txt -o requirements/image.txt
	$(LOCK) --all-extras --group build -c requirements/stack.txt -o requirements/cluster.txt
	$(LOCK) --all-extras --group dev -c requirements/cluster.txt -o requirements/dev.txt
	$(COMPILE) deploy/airflow/requirements.in -o deploy/airflow/requirements.txt

clean:  ## remove what was built and installed here (data under .penstock stays)
	rm -rf $(VENV) $(AIRFLOW) build dist .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Penstock needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.stack: requirements/stack.txt $(VENV)/.run
	$(PIP) install --require-hashes -r requirements/stack.txt
	touch $@

$(VENV)/.cluster: requirements/cluster.txt $(VENV)/.stack
	$(PIP) install --require-hashes -r requirements/cluster.txt
	touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(PIP) install --require-hashes -r requirements/dev.txt
	touch $@

$(AIRFLOW)/.done: deploy/airflow/requirements.txt
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r $<
	touch $@
