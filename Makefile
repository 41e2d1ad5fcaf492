# make setup   everything that is needed, into .venv (once; again when pyproject.toml changes)
# make lab     JupyterLab on the quickstart notebook
# make demo    the quickstart notebook without a browser, as an HTML page
# make test    unit tests, then all notebooks
# make lint    style

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
QUICKSTART := notebooks/00_quickstart.ipynb

# JupyterLab refuses to run as root unless told that this is meant (containers).
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: setup lab demo test lint

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
	$(BIN)/python -m pytest tests
	$(BIN)/python -m pytest --nbval-lax \
	  --nbval-cell-timeout=300 --override-ini filterwarnings= notebooks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
