# make setup   everything that is needed, into .venv (once; again when pyproject.toml changes)
# make lab     JupyterLab on the quickstart notebook
# make demo    the quickstart notebook without a browser, as an HTML page
# make test    unit tests and the site, then all notebooks
# make exercises   the students' versions, without solutions, into build/release/exercises
# make slides  the slides of the first lesson, as an HTML page
# make site    the documentation as web pages
# make lint    style
# make bench   the benchmarks of speed and memory: lists them; WHAT=vrf runs one, WHAT=all every one
# make timings   all notebooks as tests, ten times in a row (RUNS=10): how long each takes, and that none fails now and then
# make weekly  one network of a table (TABLE=1), chosen at random, trained anew: its score has to lie where the committed ones say

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
QUICKSTART := notebooks/00_quickstart.ipynb
SLIDES := notebooks/01_gcn_block.ipynb

# Test processes: one per core, of one thread each, as two networks that share cores both crawl. A file of tests,
# or a notebook, stays in one process. `make test WORKERS=1` for less memory.
WORKERS ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n : 8)))
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile
NOTEBOOKS := $(PYTEST) --nbval-lax --nbval-sanitize-with notebooks/nbval.cfg --nbval-cell-timeout=300 \
  --override-ini filterwarnings= notebooks

# JupyterLab refuses to run as root unless told that this is meant (containers).
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: setup lab demo test exercises slides site lint bench timings weekly

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

TABLE ?= 1
weekly: $(STAMP)
	$(BIN)/gcnlab table $(TABLE) --check
