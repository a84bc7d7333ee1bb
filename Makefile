# Everything that a person or CI calls. `make demo` and `make test` set up all they need.

# The first Python that works and is new enough; a pyenv shim may be there and not work.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; exit; }; done)
BIN := .venv/bin

.PHONY: help demo test check bench chaos parts parts-jaeger parts-vault constraints rivals clean

help:  ## Show this.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Hookline needs Python 3.11 or newer: install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Setting up .venv with $(PYTHON) (once) …"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/ready  ## Show on this machine what Hookline does, in under a minute (DEMO_ARGS="--keep").
	@$(BIN)/hookline demo $(DEMO_ARGS)

# One broker and one database for each: more than four wait for the disk.
TEST_JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 4 ? 4 : n)))

test: .venv/ready  ## Run all tests, with the real parts that can be had here (TEST_ARGS, TEST_JOBS).
	@$(BIN)/python -m tests.parts
	@$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(TEST_ARGS)

check: .venv/ready  ## Lint, format, types, and the direction of imports.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: .venv/ready  ## Measure, beside rivals on the same cores and broker (BENCH_ARGS).
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

chaos: .venv/ready  ## Kill what runs under load and check the promises (CHAOS_ARGS="consumers --help").
	@$(BIN)/python -m tests.chaos $(or $(CHAOS_ARGS),webhooks)

parts: .venv/ready  ## Fetch and check the real parts that tests use.
	@$(BIN)/python -m tests.parts

parts-jaeger: .venv/ready  ## Build a real Jaeger for the tests, once (Go; 3-10 minutes).
	@nice -n 19 $(BIN)/python -m tests.parts.jaeger

parts-vault: .venv/ready  ## Build a real Vault for the tests, once (Go; 8-14 minutes).
	@nice -n 19 $(BIN)/python -m tests.parts.vault

constraints: .venv/ready  ## Choose all versions anew.
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-annotate --quiet -o constraints.txt

rivals: .venv/ready  ## Choose the versions of the benchmark's rivals anew.
	@for name in rivals consumer_rivals; do \
		$(BIN)/uv pip compile benchmarks/$$name.in --universal --python-version 3.11 --upgrade \
		--generate-hashes --no-header --no-annotate --quiet \
		-o benchmarks/$$name.txt || exit 1; done

clean:  ## Remove what was built here.
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
