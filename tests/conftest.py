"""Options of pytest."""

import gc
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.preloaded import SESSION, PreloadedServer
from tests.support.processes import PRELOADED
from tests.support.selection import BROWSER, DATABASES, Groups, mark, place, select

# On a busy machine, everything takes longer than Hypothesis expects.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=2_000)
settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options --broker, --database-url, --wheel, --pictures and --poison."""
    parser.addoption(
        "--broker",
        choices=("tansu", "kafka"),
        default="tansu",
        help="the embedded broker (tansu), or Apache Kafka, which `make test-kafka` fetches",
    )
    parser.addoption(
        "--database-url",
        help="the only database of the tests that run on each: an empty one, by its SQLAlchemy URL",
    )
    parser.addoption("--wheel", type=Path, help="the wheel that tests/integration/test_wheel.py installs")
    parser.addoption("--pictures", type=Path, help="the folder for the pictures of the page")
    parser.addoption("--poison", type=int, default=4_000, help="records of the poison test (4,000)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the tests, and have workers and commands start from a preloaded process."""
    # Of what pytest collects, nothing is garbage; to look for it takes a quarter of the time.
    gc.disable()
    if config.getoption("broker") == "tansu":
        # It lets a worker that joins wait for half of its session timeout. With Kafka, workers have their own timeout.
        os.environ[SESSION] = "6"
    PRELOADED[:] = [PreloadedServer()]
    config.addinivalue_line("markers", "every_database: runs on each database, or on that of --database-url")
    if (
        sys.platform == "linux"
        and config.getoption("numprocesses", None)
        and not hasattr(config, "workerinput")
    ):
        # For all processes of xdist.
        PRELOADED[0].share()
    config.addinivalue_line("markers", "kafka: needs Apache Kafka; part of `make test-kafka` only")
    config.addinivalue_line(
        "markers", "any_broker: uses a broker only as a means; not part of `make test-kafka`"
    )
    config.addinivalue_line("markers", "wheel: needs the built wheel; part of `make test-wheel` only")
    config.addinivalue_line("markers", f"{DATABASES}: set by itself; part of `make test-databases`")
    config.addinivalue_line("markers", f"{BROWSER}: set by itself; part of `make test-browser`")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark and sort the tests, and deselect those that run with another broker or need a wheel."""
    mark(items)
    selected = select(items, config.getoption("broker"))
    if not config.getoption("wheel"):
        selected = [item for item in selected if not item.get_closest_marker("wheel")]
    if config.getoption("database_url"):
        # The others use the servers that the tests start.
        selected = [item for item in selected if item.get_closest_marker("every_database")]
    kept = set(selected)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = sorted(selected, key=lambda item: place(item.path))


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but not among the modules and tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Distribute the tests over processes by :class:`Groups`."""
    return Groups(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_report_header(config: pytest.Config) -> str:
    """Show the broker that the tests use."""
    return f"broker: {config.getoption('broker')}"
