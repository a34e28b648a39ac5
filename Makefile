# stacycle: `make demo` shows it at work on simulated tilt series, `make test` checks it. Both make .venv/ first.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CODE := src scripts tests
# Files of tests that take longest begin first: each is for one worker.
LONGEST := $(addprefix tests/workflow/test_,tiny_project.py tutorial_replay.py cycle_project.py any_scheduler.py)

.PHONY: help
help: ## show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: env
env: $(READY) ## create the environment .venv/ from the pinned lock file

$(READY): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "stacycle needs Python 3.11 or newer, but $(PYTHON) is older: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "This Python cannot make environments: install its venv package (Debian, Ubuntu: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r envs/requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(READY) ## simulate tilt series, average them, say where to look
	@$(BIN)/python scripts/demo.py

.PHONY: test
test: $(READY) lint ## all checks and tests, the demo included
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/workflow/test_demo.py \
	  $(LONGEST) tests/slurm tests/workflow tests/golden tests/dag tests/unit
	$(BIN)/pytest tests/workflow/test_demo.py # alone: it is timed

.PHONY: test-fast
test-fast: $(READY) ## the quick tests alone, for working
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

.PHONY: lint
lint: $(READY) ## style, types and Snakemake's own advice
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/python tests/lint_workflow.py

.PHONY: lock
lock: ## pin the newest versions of envs/requirements.in anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --quiet envs/requirements.in --output-file envs/requirements.lock

.PHONY: clean
clean: ## remove the environment and the demo
	rm -rf .venv demo
