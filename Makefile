# make setup       install everything into .venv (once, and again when pyproject.toml changes)
# make lab         open JupyterLab on the quickstart notebook
# make demo        execute the quickstart notebook and write it as an HTML page
# make test        run the unit tests, build the site, run all notebooks
# make test-quick  run the unit tests that take no longer than a few seconds
# make lint        check the style
# make exercises   make the students' versions of the exercises in build/release/exercises
# make slides      make the slides of the first lesson, an HTML page
# make site        make the documentation as web pages
# make tables      fill the tables of results in README and docs
# make bench       list the benchmarks; WHAT=vrf runs one, WHAT=all runs all
# make timings     run all notebooks ten times (RUNS=10) and record how long they take
# make weekly      run the exhaustive tests; retrain one random network of a table (TABLE=1) and
#                  compare its score with those of the committed runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
QUICKSTART := notebooks/00_quickstart.ipynb
SLIDES := notebooks/01_gcn_block.ipynb

# One test process per core, with one thread each: two networks that share cores slow each other
# down. A test file or notebook stays in one process. `make test WORKERS=1` needs less memory.
WORKERS ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n : 8)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile
NOTEBOOKS := $(PYTEST) --nbval-lax --nbval-sanitize-with notebooks/nbval.cfg --nbval-cell-timeout=300 \
  --override-ini filterwarnings= notebooks

# JupyterLab refuses to run as root unless told that this is meant (containers).
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: setup lab demo test test-quick exercises slides site lint tables bench timings weekly

setup: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "gcnlab needs Python 3.11 or newer; choose one with: make PYTHON=/path/to/python $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[dev]'
	@touch $@

lab: $(STAMP)
	$(BIN)/jupyter lab $(ROOT) --LabApp.default_url=/lab/tree/$(QUICKSTART)

demo: $(STAMP)
	$(BIN)/python notebooks/demo.py $(QUICKSTART) build/00_quickstart.html

test: $(STAMP)
	$(PYTEST) tests
	$(NOTEBOOKS)

test-quick: $(STAMP)
	$(PYTEST) -m "not slow and not weekly" tests

exercises: $(STAMP)
	cd notebooks/exercises && $(CURDIR)/$(BIN)/nbgrader generate_assignment exercises --force --no-db
	@echo "See build/release/exercises"

# Each cell goes to the slide that its metadata say (in JupyterLab: property inspector, slide type). The size holds lines of
# 100 characters; no slide is higher.
slides: $(STAMP)
	$(BIN)/jupyter nbconvert --to slides --no-prompt --SlidesExporter.reveal_width=1200 --SlidesExporter.reveal_height=860 \
	  --SlidesExporter.reveal_scroll=True --output-dir build $(SLIDES)

site: $(STAMP)
	$(BIN)/python docs/build.py build/site

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(WHAT)

RUNS ?= 10
timings: $(STAMP)
	rm -rf build/timings
	for run in $$(seq -w $(RUNS)); do $(NOTEBOOKS) --junitxml build/timings/$$run.xml || true; done
	$(BIN)/python notebooks/timings.py build/timings data/results/notebooks.json

tables: $(STAMP)
	$(BIN)/python docs/tables.py

TABLE ?= 1
weekly: $(STAMP)
	$(PYTEST) -m weekly tests
	$(BIN)/gcnlab table $(TABLE) --check
