# Every verb a person needs. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check fix scan up train evaluate bench bench-forger openapi clean

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## set up and judge two clips (or VIDEO=clip.mp4) with the real service, no servers needed
	@$(BIN)/python -m demo $(if $(VIDEO),"$(VIDEO)")

test: $(VENV)/.dev ## set up and run the whole suite, with a real PostgreSQL and Redis
	@# By file, since many a file has a server of its own; most tests wait for processes.
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.dev ## lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

scan: $(VENV)/.demo ## judge FILE=clip.mp4 with no database; pictures under out/
	@$(BIN)/deepverdict scan "$(FILE)" --out out

up: $(VENV)/.demo ## the whole service on this machine: SQLite, a folder, one worker
	@$(BIN)/deepverdict up

train: $(VENV)/.dev ## train the network that RECIPE=recipe.toml is for, into a folder under out/
	@$(BIN)/deepverdict train "$$(sed -n 's/^task *= *"\(.*\)".*/\1/p' "$(RECIPE)")" --recipe "$(RECIPE)"

evaluate: $(VENV)/.dev ## measure the networks on the test clips of MANIFEST=data.csv
	@$(BIN)/deepverdict evaluate --manifest "$(MANIFEST)"

bench: $(VENV)/.dev ## seconds by stage beside decoding alone (VIDEO=clip.mp4 for a file of yours)
	@$(BIN)/python -m bench.pipeline $(if $(VIDEO),"$(VIDEO)")

bench-forger: $(VENV)/.dev ## a step of the forger beside a textbook one, in the same run
	@$(BIN)/python -m bench.forger

openapi: $(VENV)/.dev ## write the OpenAPI snapshot anew
	@$(BIN)/python -m tests.app.api.openapi

clean: ## remove everything that was set up or made here
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache out demo-out

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "deepverdict needs Python 3.11 or newer; try: make PYTHON=python3.11"; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing the gateway and the CPU worker (a minute or two) ..."
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing what the tests need, torch among it (some minutes) ..."
	@$(PIP) -e '.[dev]'
	@# insightface asks for a second onnxruntime and OpenCV; it works with the ones that are here.
	@$(PIP) --no-deps insightface
	@touch $@
