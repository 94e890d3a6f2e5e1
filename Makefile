# Two commands: `make demo` and `make test`. Everything they need is installed into .venv, pinned by constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# Where this is set, every process that a test starts compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo retrain-demo test test-quick check format docs bench-peers chaos soak clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## virtual environment with everything, pinned

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "tickcast needs Python 3.11, 3.12 or 3.13, this is %d.%d: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[librdkafka,registry,export,demo,dev]'
	@touch $@

demo: setup ## the whole job on this machine; TICKS=file.csv.gz FAMILY=stacked|additive|seq2seq DURATION_S= RATE=
	@$(BIN)/tickcast demo $(if $(TICKS),--ticks "$(TICKS)") $(if $(FAMILY),--family $(FAMILY)) \
		$(if $(DURATION_S),--duration-s $(DURATION_S)) $(if $(RATE),--rate $(RATE))

retrain-demo: setup ## a market that changes, retrained and promoted, five minutes; FAMILY= EPOCHS= SEED=
	@$(BIN)/tickcast retrain-demo $(if $(FAMILY),--family $(FAMILY)) $(if $(EPOCHS),--epochs $(EPOCHS)) \
		$(if $(SEED),--seed $(SEED))

test: setup ## all tests, on the real broker too; JOBS=3 side by side, each with a broker of its own
	$(BIN)/python -m pytest -n $(or $(JOBS),3) --dist loadfile --no-loadscope-reorder

test-quick: setup ## the tests that need no broker, in under a minute
	TEST_EXTENT=quick $(BIN)/python -m pytest -m 'not broker and not slow' -n $(or $(JOBS),2) --dist loadfile

check: setup ## style, types, known vulnerabilities of what is installed (where the package index names them)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/dependency_audit.py constraints.txt

format: setup ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## the README's tables and the example configuration, as the code has them
	$(BIN)/python -m tickcast.reference .

bench-peers: setup ## one job on tickcast and on stream frameworks, quarter of an hour; ROUNDS= TICKS= RUN_SECONDS= SYSTEMS=a,b
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m bench.peers

chaos: setup ## kill, stop and cut off daemons and broker under load, 25 minutes; CLIENT= DELIVERY= SCENARIO= KILLS= SEED= RATE=
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m chaos.matrix

soak: setup ## half an hour under load, a million bad records, all examples of the tests; DURATION_S= RATE= CLIENT= DELIVERY=
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m chaos.soak
	@PYTHONPATH="$(CURDIR)/tests" $(BIN)/python -m chaos.fuzz
	@TEST_EXTENT=thorough $(BIN)/python -m pytest --timeout 1800 $$(grep -l '^from thorough import' tests/test_*.py)

clean: ## remove what make made
	rm -rf .venv .bench demo-out retrain-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
