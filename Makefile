# Every target makes the virtual environment that it needs; nothing is installed outside .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
args ?=
part ?= simulation
seeds ?= 10000

.PHONY: serve demo test check bench campaign protos lock clean format
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*## */\t/'

$(RUN): requirements/runtime.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): $(RUN) requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

serve: $(RUN)  ## start the server on the embedded store (args="--log-level debug" for more)
	@exec $(BIN)/python -m optimizer serve $(args)

demo: $(RUN)  ## the closed loop on a simulated application, in under a minute
	@exec $(BIN)/python -m optimizer demo $(args)

test: $(DEV)  ## every test (args="-k name" for some)
	@$(BIN)/python -m pytest $(args)

check: $(DEV)  ## format, lint, types, import direction
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy

format: $(DEV)  ## bring the sources into the house format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(DEV)  ## every measurement; each prints a table and a RESULT line
	@for f in bench/[a-z]*.py; do name=$$(basename $$f .py); echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

campaign: $(DEV)  ## the long forms of the seeded tests (part=simulation, seeds=10000; part=all for every one)
	@$(BIN)/python -m tests.campaign --seeds $(seeds) $(if $(filter-out all,$(part)),--part $(part),)

protos: $(DEV)  ## generate the gRPC code from proto/ (args=--accept: additions become part of the golden descriptor)
	@$(BIN)/python -m scripts.protos $(args)
	@$(BIN)/python -m scripts.api_docs

lock:  ## pin every dependency with its hash (needs uv)
	uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements/runtime.txt
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c requirements/runtime.txt -o requirements/dev.txt

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build
