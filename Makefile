# stacycle: `make demo` shows it at work on simulated tilt series, `make test` checks it. Both make .venv/ first.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv-docs/.ready
PIPELINER_READY := .venv-pipeliner/.ready
CODE := src scripts benchmarks tests
# Files of tests that take longest begin first: each is for one worker.
LONGEST := $(addprefix tests/workflow/test_,tiny_project.py tutorial_replay.py cycle_project.py any_scheduler.py)

.PHONY: help
help: ## show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: env
env: $(READY) ## create the environment .venv/ from the pinned lock file

$(READY): envs/requirements.lock pyproject.toml src/stacycle/__init__.py
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
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore tests/workflow/test_demo.py \
	  $(LONGEST) tests/slurm tests/workflow tests/golden tests/dag tests/unit
	$(BIN)/pytest tests/workflow/test_demo.py # alone: it is timed

.PHONY: test-fast
test-fast: $(READY) ## the quick tests alone, for working
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

.PHONY: test-slurm
test-slurm: $(READY) ## the tests on a real SLURM (see tests/slurm/sandbox.sh)
	$(BIN)/pytest tests/slurm

.PHONY: coverage
coverage: $(READY) ## the quick tests, and which lines of src/ they never run
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report=term-missing:skip-covered

.PHONY: docs
docs: $(DOCS_READY) ## build the documentation: site/index.html
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

$(DOCS_READY): envs/docs.lock
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check --require-hashes -r envs/docs.lock
	@touch $@

.PHONY: pipeliner
pipeliner: $(PIPELINER_READY) ## install another reader of RELION's project files, for the tests

$(PIPELINER_READY): envs/pipeliner.lock
	$(PYTHON) -m venv .venv-pipeliner
	.venv-pipeliner/bin/pip install --quiet --disable-pip-version-check --require-hashes -r envs/pipeliner.lock
	@touch $@

.PHONY: lint
lint: $(READY) ## style, types and Snakemake's own advice
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules workflow/Snakefile
	$(BIN)/python tests/lint_workflow.py

.PHONY: keys
keys: $(READY) ## write the table of the config's keys in config/README.md
	$(BIN)/python -m stacycle.recipe.config_schema config/README.md

.PHONY: lock
lock: ## pin the newest versions of envs/*.in anew (needs uv)
	for name in requirements docs pipeliner; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --upgrade --quiet envs/$$name.in --output-file envs/$$name.lock || exit 1; \
	done

.PHONY: clean
clean: ## remove the environments, the demo and the built documentation
	rm -rf .venv .venv-docs .venv-pipeliner demo site
