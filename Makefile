PYTHON ?= python3
DEMO_HOSTS ?= 20
RUNS ?= 5
SEED ?= 1
MINUTES ?= 75
READINGS ?= 100000
DATABASE ?= postgresql
REPEAT ?= 3
export DEMO_HOSTS
# Without bytecode, pytest rewrites every test module, and every worker compiles the handler, each time.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
RUN := $(VENV)/bin/python
# Of the virtual environment's own Python, if there is one. When the system is upgraded, it becomes another version, which
# does not find what has been installed.
LIB := $(VENV)/lib/python$(shell $$([ -x $(RUN) ] && echo $(RUN) || echo $(PYTHON)) -c \
	'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
PIP := $(LIB)/site-packages/pip/__main__.py
# Stamp files, newer than the requirements that have been installed.
DEMO_STAMP := $(LIB)/.installed-demo
DEV_STAMP := $(LIB)/.installed-dev
KAFKA := .cache/kafka-4.3.1
QUIX := .cache/quix
MUTATION := .cache/mutation
# uv keeps versions that are in the output file already, so the other files start as copies of requirements-dev.txt.
COMPILE = $(VENV)/bin/uv pip compile pyproject.toml $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --custom-compile-command 'make requirements' --quiet --no-progress
# Every line and branch must be executed, except in rsa_multibuffer: whether it is used depends on the processor.
CORE := sparkle_app/model sparkle_app/envelope sparkle_app/sealed sparkle_app/capacity
CORE_COVERAGE = $(VENV)/bin/coverage report --fail-under=100 --omit=sparkle_app/envelope/rsa_multibuffer.py \
	--include='sparkle_app/model/*,sparkle_app/envelope/*,sparkle_app/sealed/*,sparkle_app/capacity/*'
# Their unit tests; with a few others they execute all of it. Measuring coverage doubles the time of every test.
CORE_TESTS := $(addprefix tests/unit/test_,$(addsuffix .py,buckets capacity cipher clock completeness envelope envelope_bounds \
	host_activity keyring model outcomes permissions retention samples time topology windows))
# Integration tests mostly wait. So several files run at a time, each with its own servers, beside unit tests.
# More files at a time wait for the processors, and start more servers.
FILES := 7
PARALLEL = -n $(FILES) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-databases test-browser test-kafka test-wheel test-python coverage mutation chaos soak poison bench lint pictures wheel requirements clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO_STAMP)  ## run a broker, a worker and simulated collectors on this machine; DEMO_HOSTS=20
	@$(RUN) -m demo

test: $(DEV_STAMP)  ## run unit tests, and integration tests on the embedded broker, SQLite and PostgreSQL
	@$(RUN) -m pytest -n 2 --dist worksteal $(CORE:%=--cov=%) --cov-report= $(CORE_TESTS)
	@$(CORE_COVERAGE)
	@$(RUN) -m pytest $(PARALLEL) -m 'not databases and not browser' $(CORE_TESTS:%=--ignore=%)

test-databases: $(DEV_STAMP)  ## run integration tests on MariaDB, MySQL, PgBouncer and with other drivers and statements
	@$(RUN) -m pytest $(PARALLEL) -m databases tests/integration

# Pages take processor time: with more files, they are slower than a person would wait.
test-browser: FILES := 3
test-browser: $(DEV_STAMP)  ## test the dashboard in Chromium
	@$(RUN) -m pytest $(PARALLEL) -m browser tests/integration

# Brokers need more of the processors; with seven files, tests that promise a time fail.
test-kafka: FILES := 4
test-kafka: $(DEV_STAMP) $(KAFKA)/classes.jsa  ## run integration tests on Apache Kafka (requires Java 17 and Maven)
	@# It measures CPU time by reading, of which a worker that waits for a processor has more.
	@$(RUN) -m pytest --broker=kafka tests/integration/test_bench.py
	@$(RUN) -m pytest $(PARALLEL) --broker=kafka --ignore=tests/integration/test_bench.py tests/integration

test-wheel: wheel  ## test the wheel, installed in an empty environment
	@$(RUN) -m pytest --wheel=$$(echo dist/*.whl) tests/integration/test_wheel.py

test-python:  ## run unit tests and one integration test with another interpreter; PYTHON=/path/to/python3.13
	@version=$$($(PYTHON) -c 'import platform; print(platform.python_version())') && venv=.cache/python-$$version && \
		{ [ -x $$venv/bin/pip ] || $(PYTHON) -m venv $$venv; } && echo "installing requirements-dev.txt into $$venv" && \
		$$venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt && \
		$$venv/bin/python -m pytest $(PARALLEL) -m 'not databases' tests/unit \
			tests/integration/test_pipeline.py::test_a_thousand_records_become_900_rows_and_100_dead_letters

coverage: $(DEV_STAMP)  ## report the lines and branches that unit and contract tests execute
	@$(RUN) -m pytest $(PARALLEL) --cov --cov-report=term tests/unit tests/contract
	@$(CORE_COVERAGE)

mutation: $(DEV_STAMP)  ## run mutation tests of the core, and list the surviving mutants
	@rm -rf $(MUTATION)
	@mkdir -p $(MUTATION)
	@cp -R pyproject.toml sparkle_app tests $(MUTATION)
	@cd $(MUTATION) && PATH="$(CURDIR)/$(VENV)/bin:$$PATH" && mutmut run && mutmut results

chaos: $(DEV_STAMP) $(KAFKA)/classes.jsa  ## inject faults, on Apache Kafka and PostgreSQL; RUNS=20 SEED=1 DATABASE=mariadb
	@$(RUN) -m tests.chaos --runs $(RUNS) --seed $(SEED) --database $(DATABASE)

soak: $(DEV_STAMP) $(KAFKA)/classes.jsa  ## run for long with usual troubles, and draw memory, open files and lag; MINUTES=75
	@$(RUN) -m tests.chaos.soak --minutes $(MINUTES) --drawing docs/soak.svg

poison: $(DEV_STAMP) $(KAFKA)/classes.jsa  ## process 100,000 records, with every kind of invalid one
	@$(RUN) -m pytest --broker=kafka --poison=100000 tests/integration/test_poison.py

bench: $(DEV_STAMP) $(QUIX)/.installed $(KAFKA)/libs  ## measure throughput relative to the limit set by RSA; READINGS=100000 REPEAT=3
	@$(RUN) -m benchmarks --readings $(READINGS) --repeat $(REPEAT)
	@$(RUN) -m benchmarks.capacity

lint: $(DEV_STAMP)  ## check style, types and layers, and that no private key is committed
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo
	@git ls-files -z | xargs -0 $(VENV)/bin/detect-private-key

pictures: $(DEV_STAMP)  ## retake the screenshots of the dashboard, docs/images
	@$(RUN) -m pytest --pictures=docs/images tests/integration/test_browser_pictures*.py

wheel: $(DEV_STAMP)  ## build the wheel and the source distribution in dist/
	@rm -rf dist
	@$(RUN) -m build --no-isolation --outdir dist

requirements: $(DEV_STAMP)  ## regenerate requirements*.txt from pyproject.toml; UPGRADE=--upgrade also upgrades versions
	@$(COMPILE) --extra dev --output-file requirements-dev.txt
	@cp requirements-dev.txt requirements.txt
	@$(COMPILE) --output-file requirements.txt
	@for extra in demo multibuffer mysql oracle parquet psycopg; do \
		cp requirements-dev.txt requirements-$$extra.txt && \
		$(COMPILE) --extra $$extra --output-file requirements-$$extra.txt || exit 1; done

clean:  ## remove everything that make and the demo created, including downloads and data
	rm -rf $(VENV) .cache .demo .demo.lock dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: expected Python 3.11 or later, found $$($(PYTHON) --version 2>/dev/null || echo none);" \
			"specify another with make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot create virtual environments; install the package python3-venv" >&2; exit 1; }
	@echo "creating $(VENV)"
	@rm -f $(VENV)/bin/python*  # links to a Python that was removed
	@$(PYTHON) -m venv $(VENV)

$(PIP): | $(RUN)
	@[ -e $@ ] || $(RUN) -m venv $(VENV)

$(DEMO_STAMP): requirements-demo.txt | $(PIP)
	@echo "installing requirements-demo.txt (takes a few minutes the first time)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-demo.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt | $(PIP)
	@echo "installing requirements-dev.txt (takes a few minutes the first time)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(DEMO_STAMP)

$(QUIX)/.installed: benchmarks/requirements-quix.txt | $(PIP)
	@echo "installing Quix Streams into $(QUIX)"
	@$(RUN) -m venv $(QUIX)
	@$(QUIX)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(KAFKA)/libs: tests/support/kafka-pom.xml
	@command -v mvn >/dev/null || { echo "make: Maven not found; install the package maven" >&2; exit 1; }
	@java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || { \
		echo "make: Java 17 or later not found; install the package openjdk-17-jre-headless" >&2; exit 1; }
	@echo "downloading Apache Kafka to $(KAFKA)"
	@rm -rf $@ $@.part
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$@.part
	@mv $@.part $@
	@touch $@

$(KAFKA)/classes.jsa: $(KAFKA)/libs | $(DEV_STAMP)
	@$(RUN) -m tests.support.kafka_archive
