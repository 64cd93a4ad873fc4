# The front door: `make` lists what there is. Every target works from any folder with `make -C`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LOCKING := build/locking
STORE := ./store
# Of two processes, one is busy with the cluster for long; more than two have little to share.
PARALLEL := -n 2
PIP := -m pip --quiet --disable-pip-version-check --no-input
# From the command line alone: a terminal's own LINES does not count.
BENCH_LINES := $(if $(filter command line,$(origin LINES)),$(LINES))

CLUSTER = $(firstword $(wildcard $(BIN)/python) $(PYTHON)) docker/hadoop-spark/cluster

.PHONY: help setup java maven redis litellm envoy mosquitto run demo demo-cluster demo-loop test test-peers soak lint bench sample docs lock clean cluster-up cluster-down run-cluster test-cluster

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: java $(INSTALLED) ## Make .venv with the pinned packages and this project; done once, needs Python 3.11 and Java 17 or 21

java: ## See that Java 17 or 21 is there; as root on Debian, install it
	@bin/check-java

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo '$(PYTHON) is not a Python 3.11 with venv. Debian: apt-get install python3.11 python3.11-venv; elsewhere: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'setting up $(VENV); the first time takes some minutes' >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) install --require-hashes -r requirements.txt
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Land the sample and run the whole loop in ./store
	$(BIN)/quotaloop --store $(STORE) land files data/sample/requests.jsonl.gz --topic sample
	$(BIN)/quotaloop --store $(STORE) run

demo: setup ## A running gateway, a noisy tenant, the loop, its limits in force: refused before and after
	TZ=UTC $(BIN)/python -m examples.gateway.demo

demo-cluster: cluster-up redis ## The same with Kafka, HDFS, YARN and Redis
	@eval "$$($(CLUSTER) env)" && TZ=UTC $(BIN)/python -m examples.gateway.demo --cluster

demo-loop: setup redis ## A noisy day, limits from it, the next day under them in Redis and Envoy's service, and back
	@bin/check-envoy || echo 'without it: Redis alone' >&2
	TZ=UTC $(BIN)/python -m examples.loop

test: setup maven ## Run the whole test suite; ARGS='-k name' for a part
	TZ=UTC $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-peers: setup redis envoy mosquitto ## Run the tests that need servers of other makers; ARGS='-k name' for a part
	TZ=UTC $(BIN)/python -m pytest -m peers $(ARGS)

redis: ## See that Redis is there; as root on Debian, install it
	@bin/check-redis

mosquitto: ## See that mosquitto is there; as root on Debian, install it
	@bin/check-mosquitto

litellm: ## Install the LiteLLM proxy that its tests start, in build/litellm; 0.8 GB
	@PYTHON='$(PYTHON)' bin/check-litellm

envoy: ## See that Envoy's rate limit service is there; make it with Go
	@bin/check-envoy

maven: ## See that Maven is there; as root on Debian, install it
	@bin/check-maven

cluster-up: setup maven ## Start Kafka, HDFS and YARN on this machine and wait until they are ready
	$(CLUSTER) up

cluster-down: ## End them; what they hold stays in build/cluster
	$(CLUSTER) down

run-cluster: cluster-up ## Write the sample into Kafka and run the whole loop on HDFS and YARN
	@eval "$$($(CLUSTER) env)" && $(BIN)/python data/sample/produce.py "$$QUOTALOOP_KAFKA_BROKERS" sample
	@eval "$$($(CLUSTER) env)" && set -x && $(BIN)/quotaloop land kafka --topic sample && $(BIN)/quotaloop run

test-cluster: setup maven mosquitto ## Run all tests that need real servers, the long ones too; ARGS='-k name' for a part
	TZ=UTC $(BIN)/python -m pytest -m cluster $(ARGS)

soak: setup ## Run the tests that take many minutes
	TZ=UTC $(BIN)/python -m pytest -m 'soak and not cluster' $(ARGS)

lint: setup ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup ## Measure throughput; LINES=1000000 for another size
	$(BIN)/python -m bench $(if $(BENCH_LINES),--lines $(BENCH_LINES))

sample: setup ## Make data/sample again; the same bytes come out
	$(BIN)/python data/sample/generate.py

docs: setup ## Write the generated parts of docs/ again
	$(BIN)/python docs/generate.py

lock: ## Pin and hash the packages of pyproject.toml anew; UPGRADE=1 for newer ones
	@test -x $(LOCKING)/bin/pip-compile || { $(PYTHON) -m venv $(LOCKING) && $(LOCKING)/bin/python $(PIP) install pip-tools==7.6.2; }
	@$(LOCKING)/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --extra spark --extra mapreduce --extra audit --extra redis --extra backtest --extra mqtt --extra mcp --extra gateway --extra dev $(if $(UPGRADE),--upgrade) --output-file requirements.txt pyproject.toml
	@sed -i -e '/^#/d' -e '/^$$/d' -e '1i # Written by `make lock` from pyproject.toml, for Python 3.11 on Linux; not to be edited.' requirements.txt

clean: ## Remove what tools leave behind; ./store and .venv stay
	@! test -e build/cluster || $(CLUSTER) --dir build/cluster down
	rm -rf build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis spark-warehouse metastore_db derby.log
	find . -path ./$(VENV) -prune -o -path ./store -prune -o -name __pycache__ -type d -exec rm -rf {} +
