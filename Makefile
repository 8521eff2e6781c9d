# The commands of the README, such as `make eval` and `make test`, do all their own set-up.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
MODEL ?= xharness/demo
SUITE ?= $(if $(filter xharness/demo,$(MODEL)),demo,xtreme-r)

.PHONY: install install-validate install-validate-rows eval demo refresh board-check site test test-shuffled test-slow coverage fuzz chaos bench bench-peers bench-check online-check study house lint types wheel-check clean

install: $(VENV)/.installed

# The lock pins every package; the project itself is installed in place.
$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xharness needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# What `xharness validate` imports, from the lock: seconds where the whole takes minutes.
VALIDATE := annotated-doc annotated-types click markdown-it-py mdurl pydantic pydantic_core \
	Pygments PyYAML rich shellingham typer typing-inspection typing_extensions
install-validate-rows: VALIDATE += filelock numpy pyarrow
install-validate-rows: install-validate
install-validate: requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	for name in $(VALIDATE); do grep -i "^$$name==" requirements.lock || exit 1; done >$(VENV)/validate.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/validate.lock

eval: install
	$(BIN)/xharness eval $(MODEL) --suite $(SUITE) $(ARGS)

# The whole story in small: a base, its variants and the board that contrasts them, in demo/.
demo: install
	PATH="$(abspath $(BIN)):$$PATH" bash demo.sh $(ARGS)

# Evaluates what is submitted and not measured, and rebuilds leaderboard/.
refresh: install
	$(BIN)/xharness refresh $(ARGS)

# Is leaderboard/ what its rows give? Nothing to check as long as there is none.
board-check: install
	! test -e leaderboard/scores.parquet || $(BIN)/xharness leaderboard --check
	! test -e leaderboard/scores.parquet || $(BIN)/xharness verify

# The site in build/site: the board and the documentation. Nothing is downloaded for it.
site: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

# In random order; the seed is in the first lines, and SEED=… gives that order again.
test-shuffled: install
	$(BIN)/python -m pytest -n 2 $(ARGS) --shuffle $(SEED)

# Lines of harness/ that the tests run, in processes that they start too: at least 92 %. The package
# `coverage` is in no lock: `pip install coverage` in the environment before. ROOM=tests/kinds
# measures one room's tests, without the bound.
coverage: install
	$(BIN)/python -m coverage run -m pytest $(ROOM) $(ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report $(if $(ROOM),,--fail-under=92)

test-slow: install
	$(BIN)/python -m pytest -m slow $(ARGS)

# 10,000 files changed at random, from a seed; the first hundredth is in the tests.
fuzz: install
	$(BIN)/python -m tests.fuzz $(ARGS)

# Commands killed at 15 seeded moments each, disks that are full, two writers; one of each is in the
# tests.
chaos: install
	$(BIN)/python -m tests.chaos $(ARGS)

# Speed and memory beside their targets, where no peer is needed, on synthetic data: some twenty
# minutes on a machine at rest, 1 GB of disk. The page that shows them is made anew.
bench: install
	$(BIN)/python benchmarks/bench_board.py
	$(BIN)/python benchmarks/bench_startup.py
	$(BIN)/python benchmarks/report.py

# Beside the peers: PEERS is an environment with benchmarks/requirements.txt and xharness, MODEL a
# sentence-transformers folder, XHARNESS_DATA the official files. Takes 4 GB of disk.
bench-peers: install
	$(PEERS)/bin/python benchmarks/bench_mteb.py $(MODEL) --data $(XHARNESS_DATA)
	$(PEERS)/bin/python benchmarks/bench_search.py
	$(BIN)/python benchmarks/bench_startup.py --peers $(PEERS)/bin
	$(BIN)/python benchmarks/report.py

# Has anything become slower than benchmarks/results/check.json? Two minutes on a machine at rest.
bench-check: install
	$(BIN)/python benchmarks/check.py $(ARGS)

# The study's runs in its plan's order, or those of one ARM and SEED; see leaderboard/STUDY.md.
study: install
	$(BIN)/python study/run.py $(BASE) --data $(DATA) --work .study \
		$(if $(ARM),--arm $(ARM)) $(if $(SEED),--seed $(SEED)) $(if $(TASK),--task $(TASK))

# Is on the Hub what cards and submissions say? Downloads the data sets, or those of ARGS="xnli …".
online-check: install
	$(BIN)/python -m tests.online $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# Rooms of the package, the imports between them, and circles.
house: install
	$(BIN)/python -m tests.house

# Builds the wheel and runs it from an environment of its own, away from the checkout.
wheel-check: install
	bash .ci/wheel

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
