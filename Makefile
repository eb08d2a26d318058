# `make run` and `make test` are all a new user needs; `make help` lists the rest.
PYTHON ?= python3
ARGS ?=

SUITE := .venv/bin/python -m pytest -n auto --dist worksteal
INPUTS := pyproject.toml requirements/uv.txt scripts/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help run test setup lint check coverage stock prove bench litellm-diff docs fmt lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: .venv/.run  ## the service on its own PostgreSQL, after a tour of what it does (ARGS=--once: the tour only)
	@.venv/bin/keyledger run $(ARGS)

test: .venv/.test  ## the test suite but for its long tests, on a PostgreSQL of its own (ARGS=... goes to pytest)
	@$(SUITE) -m "not long" $(ARGS)

setup: .venv/.test  ## everything for development in .venv

lint: .venv/.test  ## format, lint, types and import rules
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

check: lint $(if $(COVERAGE),coverage,test)  ## what has to pass before a change lands: lint and tests (COVERAGE=1: measured)

coverage: .venv/.test  ## the whole test suite, long tests too, with its coverage, which must not fall below the floor in pyproject.toml
	.venv/bin/coverage erase
	.venv/bin/coverage run $(subst .venv/bin/python,,$(SUITE)) $(ARGS)
	.venv/bin/coverage combine --quiet
	.venv/bin/coverage report

stock:  ## both commands from a fresh clone on the system's own Python, in a bare environment and in an odd one
	@.ci/stock

prove: .venv/.test  ## shows that promises hold while processes die and networks break (ARGS=--quick: 6 minutes; --long; names; --help)
	@.venv/bin/python -m tests.prove $(ARGS)

litellm-diff: .venv/.test  ## what another release of LiteLLM makes of the recorded requests (VERSION=1.110.2)
	@$(PYTHON) scripts/bootstrap.py litellm $(VERSION)
	@PYTHONPATH=.tools/litellm-$(VERSION) .venv/bin/python -m tests.keyledger.llm.golden

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
