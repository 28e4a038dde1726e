# `make run` and `make test` need Python 3.11, 3.12 or 3.13 and GNU make. They set up everything else in this folder.
# As root, or with sudo without a password, `make test` also installs the Debian packages that the tests need.

PORT ?= 8000
# For pytest: make test PYTEST_ARGS="tests/drift -x"
PYTEST_ARGS ?=
# All tests: the files in parallel, each process with its own services, in the order of tests/conftest.py.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# For uv: make lock LOCK_ARGS=--upgrade
LOCK_ARGS ?=

PYTHON := .venv/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check
COMPILE := $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 \
	--custom-compile-command "make lock"

# The tests and checks bring their own settings.
unexport DJANGO_SETTINGS_MODULE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test programs check lock pytest secrets

help:
	@echo "make run         start mlmon on this machine, at http://localhost:$(PORT) (another port: make run PORT=8001)"
	@echo "make test        run what CI runs: install missing programs where possible, then the checks and the tests"
	@echo "make programs    install the Debian packages that the tests need (as root, or with sudo without a password)"
	@echo "make check       the checks alone: format, lint, types, layers, dashboards, migrations, settings"
	@echo "make pytest      the tests alone (some of them: make pytest PYTEST_ARGS=tests/drift)"
	@echo "make secrets     make the secrets that \`docker compose up\` needs, in deploy/secrets"
	@echo "make lock        write requirements*.txt from pyproject.toml"

# The run ends with make, even when that is killed.
run: .venv/installed
	@exec $(PYTHON) -I -S mlmon_site/processes.py --signal 15 --parent "$$PPID" -- \
		$(PYTHON) manage.py run --port "$(PORT)"

test: programs check pytest

programs:
	@sh .ci/programs install

pytest: .venv/installed-dev
	@$(PYTHON) -m pytest $(if $(PYTEST_ARGS),$(PYTEST_ARGS),$(SIDE_BY_SIDE))

check: .venv/installed-dev
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy .
	.venv/bin/lint-imports
	$(PYTHON) -m monitoring.dashboards --check
	@PYTHON=$(PYTHON) sh .ci/check-django

secrets:
	@sh deploy/secrets/make_secrets.sh

lock: .venv/installed-dev
	$(COMPILE) $(LOCK_ARGS) pyproject.toml --extra joint --group app -o requirements.txt
	$(COMPILE) $(LOCK_ARGS) pyproject.toml --extra joint --group app --group dev --group train \
		-c requirements.txt -o requirements-dev.txt

.venv/installed: requirements.txt | .venv/created
	@echo "Installing what mlmon needs (a minute or so, once) …"
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

.venv/installed-dev: requirements.txt requirements-dev.txt | .venv/created
	@echo "Installing what mlmon and its tests need (a minute or two, once) …"
	@$(PIP_INSTALL) -r requirements.txt -r requirements-dev.txt
	@touch .venv/installed $@

.venv/created:
	@python="$$(sh .ci/programs path python3)" && \
	echo "Creating a virtual environment in .venv with $$("$$python" --version) …" && \
	"$$python" -m venv --clear .venv && touch $@
