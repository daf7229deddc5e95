"""Options of pytest."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which broker the integration tests run on, and how much poison they take."""
    parser.addoption(
        "--broker",
        choices=("tansu", "kafka"),
        default="tansu",
        help="the embedded broker (tansu), or Apache Kafka, which `make test-kafka` fetches",
    )
    parser.addoption("--poison", type=int, default=4_000, help="records of the poison test (4,000)")


def pytest_configure(config: pytest.Config) -> None:
    """Marks that tests use."""
    config.addinivalue_line("markers", "kafka: needs Apache Kafka; part of `make test-kafka` only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, with a count in the summary, what the embedded broker cannot do."""
    if config.getoption("broker") == "tansu":
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("kafka")])
        items[:] = [item for item in items if not item.get_closest_marker("kafka")]


def pytest_report_header(config: pytest.Config) -> str:
    """Say which broker it is."""
    return f"broker: {config.getoption('broker')}"
