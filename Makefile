# make run    a working server for localhost: environment in .venv, data in ./data
# make demo   the promise, shown in ten seconds
# make test   the whole suite, shared by a process for each core (ARGS='tests/wire -k jid' for a part, in one process)
# make lint   ruff and mypy --strict
# make conf   writes conf/msgd.toml from the options that the code declares

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
# The tests wait for other processes most of the time; more than four of them and limits of time get tight.
WHOLE = --numprocesses auto --maxprocesses 4 --dist worksteal
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run demo test lint conf clean

run: $(VENV)/.installed
	@$(BIN)/msgd serve --domain localhost --data data --set federation.enabled=false $(ARGS)

demo: $(VENV)/.installed
	@$(BIN)/msgd demo

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest $(or $(ARGS),$(WHOLE))

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

conf: $(VENV)/.installed
	$(BIN)/python -m msgd.sample > conf/msgd.toml.new
	mv conf/msgd.toml.new conf/msgd.toml

clean:
	rm -rf $(VENV) build dist msgd.egg-info

# The stamps say what is installed; a change of the dependencies installs again.
$(VENV)/.installed: setup.cfg pyproject.toml
	@[ -x $(BIN)/python ] || PYTHON='$(PYTHON)' tools/make-venv $(VENV)
	@echo 'Installing msgd and what it needs into $(VENV) ...'
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	@echo 'Installing ruff and mypy into $(VENV) ...'
	@$(PIP) --editable '.[test,lint]'
	@touch $@
