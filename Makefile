# Everything a user or CI types. Each target sets up what it needs; nothing else has to be installed but Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SCHEDULES ?= 100000
SECONDS ?= 60
SEED ?= 1
STACK ?= embedded

# Python keeps what it has compiled, also where the environment says that it must not: hundreds of processes and four workers need it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test tools quick check prove mutations chaos screenshots site format clean

demo: $(READY)
	@$(BIN)/salmon demo $(ARGS)

# Apache Kafka and Apicurio are fetched meanwhile; tests that need them wait for it, and say so where it fails.
test: $(READY) tools
	@$(BIN)/python -m salmon.devstack.jvm > /dev/null 2>&1 &
	@$(BIN)/pytest --collect-only -q > /dev/null 2>&1 &  # compiles all modules for the four workers, while types are checked
	@$(MAKE) --no-print-directory check
	$(BIN)/pytest -n 4 --dist loadgroup $(ARGS)

# Programs that some tests ask: Helm, Prometheus, Chromium, clients in JavaScript. Where one cannot be had, its tests are skipped, with one line that says so.
tools: $(READY)
	-@test -x $(BIN)/helm || $(BIN)/python deploy/helm/get_helm.py > /dev/null
	@for each in tests/tools/*.sh; do $$each; done

# Before each commit: types, lint, unit and property tests, with a few hundred schedules.
quick: check
	SALMON_SCHEDULES=300 $(BIN)/pytest -n 2 --dist loadgroup tests/unit tests/property $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/unit/test_imports.py

# Merge's promises in so many random schedules, on all cores: benchmarks/results/prove.json says what came of it.
prove: $(READY)
	PYTHONPATH=tests $(BIN)/python tests/property/prove.py --schedules $(SCHEDULES) $(ARGS)

# Each rule broken in turn: benchmarks/results/mutations.md says what sees it.
mutations: $(READY)
	PYTHONPATH=tests $(BIN)/python tests/property/mutations.py $(ARGS)

# The five processes under load, one fault every few seconds, and a judge of its own: prints one JSON object.
# ARGS="--faults kill,stop --only merge --record": only these; benchmarks/results/chaos.json gathers what is recorded. CONTRIBUTING.md
# has all options. The tool itself ends with 1 if it found something and with 2 for bad input; make ends with 2 in both cases.
chaos: $(READY)
	@PYTHONPATH=tests $(BIN)/python tests/chaos/chaos.py --seconds="$(SECONDS)" --seed="$(SEED)" --stack="$(STACK)" $(ARGS)

# The documentation as a site, in build/site. Every link that leads nowhere is an error.
site: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[site]' >&2
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet -f deploy/site/mkdocs.yml

# The pictures of the console in deploy/screenshots, made beside a sync at work.
screenshots: $(READY) tools
	SALMON_SCREENSHOTS=deploy/screenshots $(BIN)/pytest tests/integration/test_console.py tests/integration/test_reporting.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .jvm build dist

# The Avro codec is compiled as Salmon is installed.
$(READY): pyproject.toml constraints.txt connectors/salmon/kafka/codecs/compiled.py
	@echo "Setting up $(VENV): fetching about 120 MB of Python packages. This happens once and takes some minutes ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[embedded,dev]' >&2
	@touch $@
