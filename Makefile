# `make run` and `make test` are all a new user needs; `make help` lists the rest.
PYTHON ?= python3
ARGS ?=

SUITE := .venv/bin/python -m pytest -n auto --dist worksteal
INPUTS := pyproject.toml requirements/uv.txt scripts/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help run test setup lint check coverage stock prove bench docs fmt lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: .venv/.run  ## the service on its own PostgreSQL, after a tour of what it does (ARGS=--once: the tour only)
	@.venv/bin/keyledger run $(ARGS)

test: .venv/.test  ## the whole test suite on a PostgreSQL of its own (ARGS=... goes to pytest)
	@$(SUITE) $(ARGS)

setup: .venv/.test  ## everything for development in .venv

lint: .venv/.test  ## format, lint, types and import rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint $(if $(COVERAGE),coverage,test)  ## what has to pass before a change lands: lint and tests (COVERAGE=1: measured)

coverage: .venv/.test  ## the whole test suite with its coverage, which must not fall below the floor in pyproject.toml
	.venv/bin/coverage erase
	.venv/bin/coverage run $(subst .venv/bin/python,,$(SUITE)) $(ARGS)
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report

stock:  ## both commands from a fresh clone on the system's own Python, in a bare environment and in an odd one
	@.ci/stock

prove: .venv/.test  ## the slow tests: 2,000 examples per property, 50 service kills, 100 rotation kills, 10,000 pooler calls, bundles and forgeries
	$(SUITE) --hypothesis-profile thorough -m hypothesis $(ARGS)
	KEYLEDGER_TEST_KILLS=50 $(SUITE) tests/faults tests/e2e/test_crash.py tests/e2e/test_rotation.py
	KEYLEDGER_TEST_CONTRACT_EXAMPLES=200 $(SUITE) tests/e2e/test_openapi_contract.py
	KEYLEDGER_TEST_FLOOD=1000000 $(SUITE) tests/keyledger/log/test_anonymous_flood.py
	KEYLEDGER_TEST_STRANGE_BUNDLES=10000 $(SUITE) tests/keyledger/evidence/test_foreign_verifiers.py
	KEYLEDGER_TEST_FORGERIES=10000 KEYLEDGER_TEST_HONEST_LOGS=1000 $(SUITE) tests/forgeries
	KEYLEDGER_TEST_POOLER_CALLS=10000 .venv/bin/python -m pytest -m pooler tests/e2e

bench: .venv/.test  ## the benchmarks, as ratios (ARGS=--quick: only see that they run; ARGS="resolve put": some)
	@.venv/bin/python -m benchmarks $(ARGS)

docs: .venv/.test  ## write the pages that are generated from the code: docs/events.md
	.venv/bin/python -c 'from domain.audit.event_catalogue import page; print(page(), end="")' > docs/events.md

fmt: .venv/.test  ## format the code and fix what the linter can fix
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:  ## resolve both lock files again, from releases at least a week old
	@$(PYTHON) scripts/bootstrap.py lock

clean:  ## remove generated files; the data in .data stays
	rm -rf .venv .venv.former .tools dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find domain projections api keyledger scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The development environment holds all that running needs, so a developer never switches back and forth:
# bootstrap renews the larger of the two once it is there.
.venv/.run: $(INPUTS) requirements.lock
	@$(PYTHON) scripts/bootstrap.py run

.venv/.test: $(INPUTS) requirements-dev.lock
	@$(PYTHON) scripts/bootstrap.py test
