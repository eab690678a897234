# `make help` lists what there is. Everything is installed into .venv, nothing elsewhere.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ROOMS := schemas engine executors gateway client training

# setuptools warns that an editable install sees the working directory, which is what it is for.
PIP_INSTALL = PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet

export JINA_OPTOUT_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What the demo and the server look at; empty means the pages that ship with the project.
PAGES ?=
QUERY ?=
MODEL ?=
PORT ?= 54321
HTTP_PORT ?= 8080

# Processes that run tests side by side, whole files each.
TESTERS ?= 2

# Training and evaluating colpali-tiny: which stage (empty: all), where, what is judged.
STAGE ?=
DEVICE ?= cpu
TRAINED ?= training/.work/tiny
CHECKPOINT ?= checkpoints/colpali-tiny

.DEFAULT_GOAL := help
.PHONY: help install demo serve test lint types format train-tiny eval-tiny bench-encode bench-memory bench-maxsim clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/pip.stamp:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# The MaxSim kernel is built along, where there is a C compiler.
KERNEL := $(wildcard engine/maxsim/kernel/*)

$(VENV)/run.stamp: $(VENV)/pip.stamp pyproject.toml $(KERNEL)
	@echo "Installing into $(VENV) (about 5 GB, a few minutes the first time) ..."
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp pyproject.toml
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@

install: $(VENV)/run.stamp  ## Create .venv with everything the service needs

demo: $(VENV)/run.stamp  ## Start the Flow, embed and rank real pages: PAGES=<pdf, image or folder> QUERY="..."
	@$(BIN)/colpali-serve demo $(if $(PAGES),--pages "$(PAGES)") $(if $(QUERY),--query "$(QUERY)")

serve: $(VENV)/run.stamp  ## Serve flows/rank.yml in the foreground: MODEL=<folder or hub id> PORT=<port> HTTP_PORT=<port>
	@$(BIN)/colpali-serve serve flows/rank.yml --port $(PORT) --http-port $(HTTP_PORT) $(if $(MODEL),--model "$(MODEL)")

test: $(VENV)/dev.stamp  ## Run every test
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

# mypy does not follow the editable install's namespace: it gets one made of links.
$(VENV)/types: $(VENV)/dev.stamp
	@mkdir -p $@/colpali_serve
	@for room in $(ROOMS); do ln -sfn ../../../$$room $@/colpali_serve/$$room; done

lint: $(VENV)/dev.stamp $(VENV)/types  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/types $(BIN)/mypy --namespace-packages --explicit-package-bases \
		$(foreach room,$(ROOMS),-p colpali_serve.$(room))

format: $(VENV)/dev.stamp  ## Rewrite files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/train.stamp: $(VENV)/run.stamp pyproject.toml
	$(PIP_INSTALL) --editable '.[train]'
	@touch $@

train-tiny: $(VENV)/train.stamp  ## Train colpali-tiny from nothing (hours; goes on after Ctrl-C): STAGE= DEVICE=cpu|cuda
	$(BIN)/python -m colpali_serve.training text
	$(BIN)/python -m colpali_serve.training tokenizer
	$(BIN)/python -m colpali_serve.training synonyms
	$(BIN)/python -m colpali_serve.training pages
	$(BIN)/python -m colpali_serve.training prints
	$(BIN)/python -m colpali_serve.training train --out $(TRAINED) --device $(DEVICE) $(if $(STAGE),--stage $(STAGE))
ifeq ($(STAGE),)
	$(BIN)/python -m colpali_serve.training average $(TRAINED)/after/again $(TRAINED)/after/beside --out $(TRAINED)-mean
	$(BIN)/python -m colpali_serve.training tune $(TRAINED)-mean --out $(TRAINED)-tuned
	$(BIN)/python -m colpali_serve.training weigh $(TRAINED)-tuned --out $(TRAINED)-ready
endif

eval-tiny: $(VENV)/run.stamp  ## Judge a checkpoint on pages it never saw, into training/RESULTS.md: CHECKPOINT=<folder>
	$(BIN)/python -m colpali_serve.training evaluation real --checkpoint $(CHECKPOINT)
	$(BIN)/python -m colpali_serve.training evaluation synthetic --checkpoint $(CHECKPOINT)

bench-encode: $(VENV)/run.stamp  ## Measure the encoder against the bare colpali-engine loop, in process and through the Flow
	$(BIN)/python -m benchmarks.encode

bench-memory: $(VENV)/run.stamp  ## Watch the encoder's memory over 10,000 pages
	$(BIN)/python -m benchmarks.memory

$(VENV)/bench.stamp: $(VENV)/run.stamp pyproject.toml
	$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

bench-maxsim: $(VENV)/bench.stamp  ## Measure MaxSim against its peers, and through the Flow (half an hour, one core), and on a card where there is one
	$(BIN)/python -m benchmarks.maxsim
	$(BIN)/python -m benchmarks.maxsim_flow
	$(BIN)/python -m benchmarks.maxsim_card

clean:  ## Remove what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache engine/maxsim/_kernel*.so
