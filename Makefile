# `make demo` and `make test` need Python 3.11 and make, nothing else; every target sets up .venv first.
VENV ?= .venv
BIN := $(VENV)/bin
# One process more than cores, since some tests wait for others to end.
PROCESSES := $(shell cores=$$(nproc); echo $$((cores < 4 ? cores + 1 : 5)))

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow gate mutants fuzz lint format bench lock

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: ## create .venv with everything pinned, or find that it is right
	@infra/install.sh $(VENV)

demo: env ## small corpora of images and videos to a promoted model, a video and a report, under $VIDRD_HOME/demo
	@$(BIN)/python -m flows.demo

test: env ## the fast tests, real libraries and real media
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadgroup --no-loadscope-reorder

test-slow: env ## the tests that take minutes each
	@$(BIN)/python -m pytest -m "slow and not gpu"

gate: env ## those of the slow tests without which nothing lands: doors, kills, Ray beside none
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "gate and not gpu" --numprocesses 2 --dist loadgroup --no-loadscope-reorder

mutants: env ## 200 small faults put into the code, and which of them no fast test notices
	@$(BIN)/python -m tests.mutants

fuzz: env ## 20,000 damaged inputs shown to every reader
	@$(BIN)/python -m tests.fuzz

lint: env ## style, types, declared packages, and the files under infra/
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/deptry .
	@$(BIN)/hadolint infra/docker/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec infra/compose.yaml
	@$(BIN)/check-jsonschema --quiet --schemafile infra/k8s/raycluster.schema.json infra/k8s/raycluster.yaml
	@$(BIN)/kubernetes-validate --strict --quiet infra/k8s/services.yaml

format: env ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: env ## tables of measured speed and memory on this machine
	@$(BIN)/python -m tests.bench

lock: env ## refresh requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --upgrade --quiet -o requirements.lock
