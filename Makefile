# Everything installs into .venv; nothing but Python and make is needed.
PYTHON ?= python3
VENV := .venv
LOGLEARN := $(VENV)/bin/loglearn

# Location of the data, and part of the grid to run. Empty: as in the YAML file.
DATA ?=
FOLDS ?=
N_SHOT ?=
RUNS ?=
MODELS ?=
COMPRESSIONS ?=
WORKERS ?=
# Folder for tensorboard.
RUNS_DIR ?= runs
# Any other settings, e.g. SET="training.epochs=20 evaluation.patch_hop=4"
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

# tensorflow-io has wheels only for Python up to 3.12 on these systems; without it soundfile decodes everything.
TFIO = $(shell $(PYTHON) -c "import sys, platform as p; \
print('tfio,' if sys.version_info < (3, 13) and (p.system(), p.machine()) in \
[('Linux', 'x86_64'), ('Darwin', 'x86_64')] else '')")
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --editable
# On all cores (pip uses one). Files for other Python versions in some libraries fail, which does not matter.
COMPILE = $(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true

.DEFAULT_GOAL := help
.PHONY: help install demo us8k tut tensorboard quick test test-long coverage bench bench-kapre fuzz test-matrix lint docs clean

help:  ## show this text
	@echo "Learning the logarithmic compression of mel spectrograms: loglearn against log-EPS."
	@echo
	@echo "Targets:"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 20
	@echo
	@echo "Variables for us8k and tut, to run a part of the grid (the whole grid has thousands of runs):"
	@echo "  DATA=PATH           data set folder (see data/README.md)"
	@echo "  FOLDS=\"1 2\"         test folds                N_SHOT=\"1 10\"     clips per class"
	@echo "  RUNS=2              repetitions per cell      WORKERS=2         parallel processes"
	@echo "  MODELS=\"vgg timbre\" COMPRESSIONS=\"loglearn logeps\""
	@echo "  SET=\"training.epochs=20 name=short\"           any other setting of the YAML file"
	@echo "  PYTHON=python3.12   Python version for .venv"
	@echo
	@echo "Example: make us8k DATA=/data/UrbanSound8K FOLDS=1 N_SHOT=10 RUNS=2"

install: $(VENV)/.installed  ## create .venv with the package and its dependencies

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10))" || \
	  { echo "Python 3.10 or newer is needed; $(PYTHON) is older. Choose another: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)."; rm -rf $(VENV); exit 2; }

$(VENV)/.installed: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV) (TensorFlow is large: this takes a minute or more) ..."
	@$(PIP_INSTALL) ".[$(patsubst %$(comma),%,$(TFIO))]"
	@$(COMPILE)
	@touch $@

# With the test dependencies: pytest, and ray for cluster tests. In one step, since resolving also takes time.
$(VENV)/.installed-test: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), with test dependencies (this takes a minute or more) ..."
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster]"
	@$(COMPILE)
	@touch $(VENV)/.installed $@

demo: install  ## a small version of the experiment, on SYNTHETIC sounds: 4 networks x 2 compressions
	$(LOGLEARN) run demo $(NARROWED)

us8k: install  ## the paper's experiment on UrbanSound8K (DATA=); finished runs are skipped
	$(LOGLEARN) run us8k $(OVERRIDES)

tut: install  ## the paper's experiment on TUT Acoustic Scenes 2017 (DATA=)
	$(LOGLEARN) run tut $(OVERRIDES)

tensorboard: install  ## show trajectories of alpha, beta and knee (RUNS_DIR=) in the browser
	$(VENV)/bin/tensorboard --logdir $(RUNS_DIR)

# The contracts that changes are most likely to break: layers, networks, settings, imports and packaging.
QUICK = tests/layers tests/models tests/study tests/util tests/test_architecture.py tests/test_packaging.py \
        tests/test_public_api.py

quick: $(VENV)/.installed-test  ## contract tests, in under a minute
	$(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=2 --dist=load -m "not slow and not long" $(QUICK)

PYTEST = $(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test  ## all tests except those marked `long`
	$(PYTEST) -m "not long"

test-long: $(VENV)/.installed-test  ## tests marked `long`: more interruptions, forty runs on Ray, full-width networks
	$(PYTEST) -m long

coverage: $(VENV)/.installed-test  ## the tests, with a report of the code they cover
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster,dev]"
	$(PYTEST) --cov

bench: $(VENV)/.installed-test  ## cost of each stage against a plain implementation; experiments/benchmarks/latest.md
	$(VENV)/bin/python experiments/benchmarks/stages.py

bench-kapre:  ## MelSpectrogram against kapre's, in an environment of its own, .matrix/kapre; 2 GB
	$(PYTHON) -m venv .matrix/kapre
	@# Its last version, which Keras 3.13 is known to run.
	.matrix/kapre/bin/pip install -q . librosa kapre==0.4.1 "tensorflow==2.20.*" "keras==3.13.*"
	.matrix/kapre/bin/python experiments/benchmarks/stages.py --only layers --output .matrix/kapre/layers

fuzz: $(VENV)/.installed-test  ## read 20,000 damaged text files and 20,000 damaged audio files; minutes
	$(VENV)/bin/python experiments/benchmarks/fuzz_text.py
	$(VENV)/bin/python experiments/benchmarks/fuzz_audio.py

test-matrix:  ## test the wheel without a checkout, and saved models on TensorFlow 2.17 and latest, JAX and PyTorch; 11 GB
	$(PYTHON) tests/matrix/wheel.py
	$(PYTHON) tests/matrix/run.py

lint: $(VENV)/.installed-test  ## ruff, its formatter and mypy
	@$(PIP_INSTALL) ".[$(TFIO)test,cluster,dev]"
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

$(VENV)/.installed-docs: setup.cfg setup.py pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV), with documentation dependencies ..."
	@$(PIP_INSTALL) ".[$(TFIO)docs]"
	@touch $(VENV)/.installed $@

docs: $(VENV)/.installed-docs  ## build the documentation, build/docs/index.html; needs no network once installed
	$(VENV)/bin/python -m sphinx -W --keep-going -q -E -b html docs build/docs

clean:  ## remove .venv, .matrix and caches; keeps data, stores and runs
	rm -rf $(VENV) .matrix build docs/_generated docs/auto_* *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
