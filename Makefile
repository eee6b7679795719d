# Everything installs into .venv; nothing but Python and make is needed.
PYTHON ?= python3
VENV := .venv
LOGLEARN := $(VENV)/bin/loglearn

# Where the data lies, and what part of the grid to run. Empty: as the YAML file says.
DATA ?=
FOLDS ?=
N_SHOT ?=
RUNS ?=
MODELS ?=
COMPRESSIONS ?=
WORKERS ?=
# Where tensorboard looks.
RUNS_DIR ?= runs
# Any other settings, as SET="training.epochs=20 evaluation.hop=4"
SET ?=

empty :=
comma := ,
space := $(empty) $(empty)
# "1 2" or "1,2" -> [1,2]
list = [$(subst $(space),$(comma),$(strip $(subst $(comma),$(space),$(1))))]
NARROWED = $(if $(strip $(FOLDS)),folds=$(call list,$(FOLDS))) \
           $(if $(strip $(N_SHOT)),n_shot=$(call list,$(N_SHOT))) \
           $(if $(strip $(RUNS)),runs=$(RUNS)) \
           $(if $(strip $(MODELS)),models=$(call list,$(MODELS))) \
           $(if $(strip $(COMPRESSIONS)),compressions=$(call list,$(COMPRESSIONS))) \
           $(if $(strip $(WORKERS)),workers=$(WORKERS)) \
           $(SET)
OVERRIDES = $(if $(strip $(DATA)),"data.root=$(DATA)") $(NARROWED)

# tensorflow-io has wheels for Python up to 3.12 on these systems only; without it soundfile decodes all.
TFIO = $(shell $(PYTHON) -c "import sys, platform as p; \
print('tfio,' if sys.version_info < (3, 13) and (p.system(), p.machine()) in \
[('Linux', 'x86_64'), ('Darwin', 'x86_64')] else '')")
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable
# On all cores, where pip uses one. Files for other versions of Python, which some libraries hold, fail: no matter.
COMPILE = $(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true

.DEFAULT_GOAL := help
.PHONY: help install demo us8k tut tensorboard quick test test-long coverage bench fuzz test-matrix lint docs clean

help:  ## this text
	@echo "Learning the logarithmic compression of mel spectrograms: loglearn against log-EPS."
	@echo
	@echo "Targets:"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 20
	@echo
	@echo "Variables of us8k and tut (the whole grid is thousands of runs; these narrow it):"
	@echo "  DATA=PATH           the data set's folder (data/README.md says where to get it)"
	@echo "  FOLDS=\"1 2\"         test folds                N_SHOT=\"1 10\"     clips per class"
	@echo "  RUNS=2              repetitions of a cell     WORKERS=2         processes side by side"
	@echo "  MODELS=\"vgg timbre\" COMPRESSIONS=\"loglearn logeps\""
	@echo "  SET=\"training.epochs=20 name=short\"           any other setting of the YAML file"
	@echo "  PYTHON=python3.12   the Python that .venv is made with"
	@echo
	@echo "Example: make us8k DATA=/data/UrbanSound8K FOLDS=1 N_SHOT=10 RUNS=2"

install: $(VENV)/.installed  ## make .venv with the package and what it needs

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "Python 3.10 or newer is needed; $(PYTHON) is older. Name another: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)."; rm -rf $(VENV); exit 2; }

$(VENV)/.installed: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (TensorFlow is large: this takes a minute or more) ..."
	@$(PIP_INSTALL) ".[$(patsubst %$(comma),%,$(TFIO))]"
	@$(COMPILE)
	@touch $@

# With what the tests need beside: pytest, and ray for the tests on a cluster. In one go: resolving takes its time, too.
$(VENV)/.installed-test: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), with what the tests need (this takes a minute or more) ..."
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster]"
	@$(COMPILE)
	@touch $(VENV)/.installed $@

demo: install  ## the whole experiment in small, on SYNTHETIC sounds: 4 networks x 2 compressions
	$(LOGLEARN) run demo $(NARROWED)

us8k: install  ## the paper's experiment on UrbanSound8K (DATA=); finished runs are skipped
	$(LOGLEARN) run us8k $(OVERRIDES)

tut: install  ## the paper's experiment on TUT Acoustic Scenes 2017 (DATA=)
	$(LOGLEARN) run tut $(OVERRIDES)

tensorboard: install  ## trajectories of alpha, beta and knee of what was run (RUNS_DIR=), in the browser
	$(VENV)/bin/tensorboard --logdir $(RUNS_DIR)

# The contracts that most changes could break: what layers, networks and settings promise, who imports whom, packaging.
QUICK = tests/layers tests/models tests/study tests/util tests/test_architecture.py tests/test_packaging.py \
        tests/test_public_api.py

quick: $(VENV)/.installed-test  ## the contract tests, in under a minute
	$(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=2 --dist=load -m "not slow and not long" $(QUICK)

PYTEST = $(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test  ## the tests, but for those marked `long`
	$(PYTEST) -m "not long"

test-long: $(VENV)/.installed-test  ## those marked `long`: kills in every quarter, forty runs on Ray, whole networks
	$(PYTEST) -m long

coverage: $(VENV)/.installed-test  ## the tests, and what of the package they go through
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster,dev]"
	$(PYTEST) --cov

bench: $(VENV)/.installed-test  ## what each stage costs against a plain implementation; experiments/benchmarks/latest.md
	$(VENV)/bin/python experiments/benchmarks/stages.py

fuzz: $(VENV)/.installed-test  ## 20,000 damaged texts and 20,000 audio files through what reads them; minutes
	$(VENV)/bin/python experiments/benchmarks/fuzz_text.py
	$(VENV)/bin/python experiments/benchmarks/fuzz_audio.py

test-matrix:  ## the wheel without a checkout; saved models on TensorFlow 2.17 and the newest, JAX and PyTorch; some 11 GB
	$(PYTHON) tests/matrix/wheel.py
	$(PYTHON) tests/matrix/run.py

lint: $(VENV)/.installed-test  ## ruff, its formatter and mypy
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster,dev]"
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

$(VENV)/.installed-docs: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), with what the documentation needs ..."
	@$(PIP_INSTALL) ".[$(TFIO)docs]"
	@touch $(VENV)/.installed $@

docs: $(VENV)/.installed-docs  ## the documentation, build/docs/index.html; needs no network once installed
	$(VENV)/bin/python -m sphinx -W --keep-going -q -E -b html docs build/docs

clean:  ## remove .venv, .matrix and caches; data, stores and runs stay
	rm -rf $(VENV) .matrix build docs/_generated docs/auto_* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
