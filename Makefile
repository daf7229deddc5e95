PYTHON ?= python3
DEMO_HOSTS ?= 20
RUNS ?= 5
SEED ?= 1
READINGS ?= 100000
REPEAT ?= 3
export DEMO_HOSTS

VENV := .venv
RUN := $(VENV)/bin/python
# Stamps: what is installed is as new as the lists of requirements.
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
KAFKA := .cache/kafka-4.3.1
QUIX := .cache/quix
# What is in the output file already is kept where it fits: the others begin as copies of requirements-dev.txt.
COMPILE = $(VENV)/bin/uv pip compile pyproject.toml $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make requirements' --quiet --no-progress
# Integration tests mostly wait: two files at a time, each with servers of its own.
TOGETHER := -n 2 --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-kafka test-wheel chaos poison bench lint wheel requirements clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO_STAMP)  ## broker, worker and collectors on this machine; DEMO_HOSTS=20 hosts are simulated
	@$(RUN) -m demo

test: $(DEV_STAMP)  ## unit tests, and integration tests on the embedded broker
	@$(RUN) -m pytest $(TOGETHER)

test-kafka: $(DEV_STAMP) $(KAFKA)/libs  ## integration tests on Apache Kafka (needs Java 17 and Maven)
	@$(RUN) -m pytest $(TOGETHER) --broker=kafka tests/integration

test-wheel: wheel  ## the wheel, installed where there is nothing else
	@$(RUN) -m pytest --wheel=$$(echo dist/*.whl) tests/integration/test_wheel.py

chaos: $(DEV_STAMP) $(KAFKA)/libs  ## breaks everything on Apache Kafka and PostgreSQL; RUNS=20 SEED=1
	@$(RUN) -m tests.chaos --runs $(RUNS) --seed $(SEED)

poison: $(DEV_STAMP) $(KAFKA)/libs  ## 100,000 records of every kind that can go wrong
	@$(RUN) -m pytest --broker=kafka --poison=100000 tests/integration/test_poison.py

bench: $(DEV_STAMP) $(QUIX)/.installed $(KAFKA)/libs  ## how much of what RSA allows reaches SQL; READINGS=100000 REPEAT=3
	@$(RUN) -m benchmarks --readings $(READINGS) --repeat $(REPEAT)

lint: $(DEV_STAMP)  ## style, types and layers
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

wheel: $(DEV_STAMP)  ## the wheel and the source archive, in dist/
	@rm -rf dist
	@$(RUN) -m build --no-isolation --outdir dist

requirements: $(DEV_STAMP)  ## pins what pyproject.toml needs; versions stay unless it says otherwise, or UPGRADE=--upgrade
	@$(COMPILE) --extra dev --output-file requirements-dev.txt
	@cp requirements-dev.txt requirements.txt
	@$(COMPILE) --output-file requirements.txt
	@for extra in demo multibuffer; do \
		cp requirements-dev.txt requirements-$$extra.txt && \
		$(COMPILE) --extra $$extra --output-file requirements-$$extra.txt || exit 1; done

clean:  ## removes what make and the demo have made, downloads and data included
	rm -rf $(VENV) .cache .demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "make: Python 3.11 or newer is needed, found $$($(PYTHON) --version 2>/dev/null || echo none);" \
			"name another with make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "make: $(PYTHON) cannot make virtual environments; install the package python3-venv" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(DEMO_STAMP): requirements-demo.txt | $(RUN)
	@echo "installing requirements-demo.txt (a minute, the first time)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-demo.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt | $(RUN)
	@echo "installing requirements-dev.txt (a minute, the first time)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(DEMO_STAMP)

$(QUIX)/.installed: benchmarks/requirements-quix.txt | $(RUN)
	@echo "installing Quix Streams into $(QUIX)"
	@$(RUN) -m venv $(QUIX)
	@$(QUIX)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(KAFKA)/libs: tests/support/kafka-pom.xml
	@command -v mvn >/dev/null || { echo "make: Maven is missing; install the package maven" >&2; exit 1; }
	@java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || { \
		echo "make: Java 17 or newer is missing; install the package openjdk-17-jre-headless" >&2; exit 1; }
	@echo "fetching Apache Kafka into $(KAFKA)"
	@rm -rf $@ $@.part
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$@.part
	@mv $@.part $@
	@touch $@
