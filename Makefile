# Hone's commands. A bare machine needs Python 3.11, make, git and a package index that pip knows.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
export PYTHONUNBUFFERED := 1
# Hone is a dozen processes, and its tests start hundreds: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run setup test fuzz faults check demo messages screenshots bench clean

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup  ## Start Hone with a demo project; prints the address and one-time passwords
	@$(BIN)/python manage.py serve --demo

setup: $(STAMPS)/packages $(STAMPS)/browser $(STAMPS)/catalogues  ## Make the environment in .venv

# Stamps make a second `make` quick: each step runs again only when what it reads has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/packages: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what Hone needs into $(VENV) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[train,cpu-kernels,qlora,bench,dev]"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/browser: static/package.json static/package-lock.json config/assets/browser_libraries.py $(STAMPS)/packages
	@$(BIN)/python -m config.assets.browser_libraries
	@touch $@

$(STAMPS)/catalogues: $(wildcard locale/*/LC_MESSAGES/*.po) config/catalogues.py $(STAMPS)/packages
	@$(BIN)/python -m config.catalogues
	@touch $@

# No more workers than a small machine has cores: trainings spin, and those of tests that wait for steps fall behind.
test: setup  ## Run every test: on SQLite, and what may differ there on PostgreSQL again
	@$(BIN)/python -m tests.machine
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(PYTEST)
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --database postgresql $(PYTEST)

fuzz: setup  ## Throw hostile texts, files and requests at Hone for a while (MINUTES=5)
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5)

faults: setup  ## Break Hone under load again and again, and count what is lost (N=200, DATABASE=postgresql)
	$(BIN)/python -m tests.faults --faults $(or $(N),200) --database $(or $(DATABASE),sqlite)

check: setup  ## Style of code and templates, types, import contracts, migrations, deployment checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	HONE_HTTPS=1 HONE_HSTS=preload $(BIN)/python manage.py check --deploy --fail-level WARNING

demo: setup  ## Close the loop without a browser: simulated labelers, two rounds, a table (QUICK=1, PROMPTS=file, N=most prompts)
	@$(BIN)/python manage.py demo $(if $(QUICK),--quick) $(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(N),--limit $(N))

screenshots: setup  ## Write pictures of every page, light, dark, phone and Chinese, into var/screenshots
	@$(BIN)/python -m tests.machine
	$(BIN)/python -m pytest tests/journeys/test_pages.py --screenshots var/screenshots

messages: setup  ## Bring locale/ up to what the source says; new messages come in untranslated
	@$(BIN)/python -m config.catalogues update

bench: setup  ## Measure
	@$(BIN)/python -m benchmarks

clean:  ## Remove the environment and caches; the data in var/ stays
	rm -rf $(VENV) node_modules static/node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache *.egg-info
