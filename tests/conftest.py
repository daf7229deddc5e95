"""Options of pytest."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.preloaded import PreloadedServer
from tests.support.processes import PRELOADED

settings.register_profile("thorough", max_examples=2_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options --broker, --database-url, --wheel and --poison."""
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
    parser.addoption("--poison", type=int, default=4_000, help="records of the poison test (4,000)")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers of the tests, and have workers and commands start from a preloaded process."""
    PRELOADED[:] = [PreloadedServer()]
    config.addinivalue_line("markers", "every_database: runs on each database, or on that of --database-url")
    config.addinivalue_line("markers", "kafka: needs Apache Kafka; part of `make test-kafka` only")
    config.addinivalue_line("markers", "wheel: needs the built wheel; part of `make test-wheel` only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests whose requirements are missing; the summary shows their number."""
    absent = []
    if config.getoption("broker") == "tansu":
        absent.append("kafka")
    if not config.getoption("wheel"):
        absent.append("wheel")
    left_out = [item for item in items if any(map(item.get_closest_marker, absent))]
    if config.getoption("broker") == "kafka":
        # Tests without a broker are part of `make test`.
        left_out += [item for item in items if not _uses_broker(item) and item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _uses_broker(item: pytest.Item) -> bool:
    fixtures = getattr(item, "fixturenames", ())
    return "broker" in fixtures or item.get_closest_marker("kafka") is not None


def pytest_report_header(config: pytest.Config) -> str:
    """Show the broker that the tests use."""
    return f"broker: {config.getoption('broker')}"
