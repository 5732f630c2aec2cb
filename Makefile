# One command file: people, pre-commit and CI call the same targets.
# Only Python >= 3.11, git and make are assumed; everything else is fetched, checked and cached.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
STAMP := $(VENV)/.rootmend-synced

# The system's certificates count, so that it also works behind a proxy that inspects TLS.
export UV_SYSTEM_CERTS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test smoke unit lint typecheck security format up down bench loadtest chaos docs audit clean

help: ## What there is to make
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml uv.lock .ci/get_uv.py
	@uv="$$($(PYTHON) .ci/get_uv.py)" && "$$uv" sync --frozen --quiet --python "$(PYTHON)" && touch $@

demo: $(STAMP) ## Set everything up and watch seven incidents being handled (KEEP=1 leaves the stack up)
	@$(BIN)/rb demo $(if $(KEEP),--keep)

test: $(STAMP) lint typecheck security ## Set everything up, then lint, type-check, check the layers and run all tests
ifdef ARGS
	@$(PYTEST) $(ARGS)
else
	@$(PYTEST) -q -m "not stack" -n auto --dist worksteal
	@$(BIN)/python -m tests.twice
endif

smoke: $(STAMP) ## One incident from Kafka to a verified fix (under a minute on a warm stack)
	@$(BIN)/rb demo --only oom --keep

unit: $(STAMP) ## Only the tests that need no server
	@$(PYTEST) -q -m "not stack" -n auto --dist worksteal $(ARGS)

lint: $(STAMP) ## Style, formatting, import layers, runbook catalog
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/rb validate runbooks/catalog

typecheck: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

security: $(STAMP) ## Weak code, known vulnerabilities, secrets in files; what did not change is not checked again
	@$(BIN)/python -m tests.security

format: $(STAMP) ## Put the code in shape
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

up: $(STAMP) ## Start the local stack
	@$(BIN)/rb up

down: $(STAMP) ## Stop the local stack
	@$(BIN)/rb down

bench: $(STAMP) ## Measure latency and throughput beside the floor, on the local stack
	@$(BIN)/python -m tests.bench $(ARGS)

loadtest: $(STAMP) ## Ramp a real k6 to 50 callers against a local pipeline, five minutes (ARGS="--durations 5s,10s,5s" is shorter)
	@$(BIN)/python -m compose.loadtest $(ARGS)

chaos: $(STAMP) ## Kill the pipeline with -9 at every failpoint and 1,000 times at random, and check from outside (ARGS="--quick 1 --kills 50")
	@$(BIN)/python -m tests.chaos $(ARGS)

docs: $(STAMP) ## Write the generated documentation pages again
	@$(BIN)/python -m tests.generate_docs

audit: $(STAMP) ## Known vulnerabilities of the locked packages
	@$(BIN)/pip-audit --skip-editable

clean: ## Remove the environment and caches of this checkout (not the user's cache)
	rm -rf $(VENV) .mypy_cache .ruff_cache .security_cache .pytest_cache .hypothesis .import_linter_cache
