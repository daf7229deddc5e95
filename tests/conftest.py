"""Options of pytest."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which broker the integration tests run on."""
    parser.addoption(
        "--broker",
        choices=("tansu", "kafka"),
        default="tansu",
        help="the embedded broker (tansu), or Apache Kafka, which `make test-kafka` fetches",
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Say which broker it is."""
    return f"broker: {config.getoption('broker')}"
