# Needs Python >= 3.11, git and make; everything else goes into .venv, at the versions that
# requirements.lock names.

PYTHON ?= python3
EXTRAS ?= dev

comma := ,
BIN := .venv/bin
CORE := .venv/.core
DEV := .venv/.$(subst $(comma),+,$(EXTRAS))
LESSONS := .venv/.lessons
SLOW := $(if $(filter true,$(CI)),slow or not slow,not slow)
PEERS := $(if $(findstring peers,$(EXTRAS)),peers or not peers,not peers)
CLUSTER := $(if $(filter true,$(SLURM)),slurm or not slurm,not slurm)
CHROMIUM := $(if $(filter true,$(BROWSER)),browser or not browser,not browser)
# One more than the cores of the smallest machine: some of the slow tests wait for others.
WORKERS := $(if $(filter true,$(CI)),3,2)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# $(call set-up,[extras]): throughtime, editable, with the dependencies that the lock names.
define set-up
@start=$$(date +%s) && \
$(INSTALL) --constraint requirements.lock --editable '.$(1)' && \
touch $@ && \
echo "Set up $@ in $$(($$(date +%s) - start)) s."
endef

.PHONY: help sweep lessons docs test lint lock clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

sweep: $(CORE) ## run the standard sweep; write its table, figures and page to results/standard
	$(BIN)/python experiments/sweep.py -m +experiment=standard other_records=renew
	$(BIN)/python experiments/report.py results/standard

lessons: $(LESSONS) ## run the lessons; render their pages and figures to docs/lessons
	rm -rf build/lessons docs/lessons
	mkdir -p build/lessons
	for lesson in $(basename $(notdir $(wildcard experiments/lessons/*.py))); do \
	    $(BIN)/jupytext --quiet --to ipynb --output build/lessons/$$lesson.ipynb \
	        experiments/lessons/$$lesson.py || exit; done
	JAX_PLATFORMS=cpu $(BIN)/jupyter-nbconvert --log-level WARN --to notebook --execute --inplace \
	    --ExecutePreprocessor.startup_timeout=300 build/lessons/*.ipynb
	$(BIN)/jupyter-nbconvert --log-level WARN --to markdown \
	    --CoalesceStreamsPreprocessor.enabled=True --output-dir docs/lessons build/lessons/*.ipynb

docs: $(DEV) ## build the site of README, docs/ and docstrings into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean

test: lint docs ## lint, build the site, run the tests; with CI=true the slow ones too, with SLURM=true or BROWSER=true theirs
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "($(SLOW)) and ($(PEERS)) and ($(CLUSTER)) and ($(CHROMIUM))"

lint: $(DEV) ## check style, formatting, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	$(BIN)/lint-imports

lock: | $(BIN)/python ## resolve requirements.lock anew
	$(INSTALL) uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --quiet \
	    --extra report --extra data --extra slurm --extra docs --extra lessons --extra dev --no-annotate --no-emit-index-url \
	    --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock

clean: ## remove the environment, the caches and what was built; keep the results
	rm -rf .venv .hypothesis .import_linter_cache .pytest_cache .ruff_cache build dist src/*.egg-info
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

$(CORE): pyproject.toml requirements.lock | $(BIN)/python
	$(call set-up,[report])

$(DEV): pyproject.toml requirements.lock | $(BIN)/python
	$(call set-up,[$(EXTRAS)])

$(LESSONS): pyproject.toml requirements.lock | $(BIN)/python
	$(call set-up,[lessons])

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "throughtime needs Python >= 3.11, which '$(PYTHON)' is not: make PYTHON=..." >&2; \
	    exit 1; }
	$(PYTHON) -m venv .venv
