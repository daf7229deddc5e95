"""Every test with a broker runs with the embedded one, with Apache Kafka, or with both."""

from collections.abc import Collection
from pathlib import Path

import pytest

from tests.support.selection import (
    ANY_BROKER,
    BROWSER,
    DATABASES,
    KAFKA,
    LONGEST,
    ONLY_KAFKA,
    TANSU,
    brokers,
    place,
    suite,
)

INTEGRATION = Path(__file__).parents[1] / "integration"
WITH_BROKER = ("broker", "make_broker")


@pytest.mark.parametrize(
    ("fixtures", "markers", "database", "databases", "expected"),
    [
        (WITH_BROKER, (), None, ("",), {KAFKA, TANSU}),
        (WITH_BROKER, (ANY_BROKER,), None, ("",), {TANSU}),
        (WITH_BROKER, (ONLY_KAFKA,), None, ("",), {KAFKA}),
        (("make_broker",), (), None, ("",), {KAFKA, TANSU}),
        # A test of Kafka that starts one of its own.
        (("tmp_path",), (ONLY_KAFKA,), None, ("",), {KAFKA}),
        (("postgres",), (), None, ("",), {TANSU}),
        (("postgres",), (ANY_BROKER,), None, ("",), {TANSU}),
        # Several databases: each runs with a broker, and one of them with both.
        (WITH_BROKER, (), "postgresql", ("sqlite", "postgresql", "mariadb"), {KAFKA, TANSU}),
        (WITH_BROKER, (), "sqlite", ("sqlite", "postgresql", "mariadb"), {TANSU}),
        (WITH_BROKER, (), "mariadb", ("sqlite", "postgresql", "mariadb"), {TANSU}),
        (WITH_BROKER, (), "sqlite", ("sqlite",), {KAFKA, TANSU}),
        (WITH_BROKER, (ONLY_KAFKA,), "sqlite", ("sqlite", "postgresql"), {KAFKA}),
    ],
)
def test_a_test_runs_with_the_brokers_that_matter_to_it(
    fixtures: Collection[str],
    markers: Collection[str],
    database: str | None,
    databases: Collection[str],
    expected: set[str],
) -> None:
    assert brokers(fixtures, markers, database, databases) == expected


def test_a_test_cannot_need_kafka_and_any_broker() -> None:
    with pytest.raises(AssertionError, match="found both"):
        brokers(WITH_BROKER, (ANY_BROKER, ONLY_KAFKA), None, ("",))


@pytest.mark.parametrize(
    ("fixtures", "parameters", "expected"),
    [
        ((), (), None),
        (WITH_BROKER, ("sqlite", 5), None),
        (WITH_BROKER, ("postgresql", "own statements"), None),
        (WITH_BROKER, ("postgresql", "portable"), DATABASES),
        (("postgres",), (), None),
        (("database_url",), ("psycopg", "own statements"), DATABASES),
        (("database_url",), ("mariadb",), DATABASES),
        (("proxy",), ("mariadb-worker",), DATABASES),
        (("mariadb",), (), DATABASES),
        (("postgres", "pgbouncer"), (), DATABASES),
        (("browser", "visit", *WITH_BROKER), ("sqlite",), BROWSER),
    ],
)
def test_what_needs_another_server_or_a_browser_is_a_suite_of_its_own(
    fixtures: Collection[str], parameters: Collection[object], expected: str | None
) -> None:
    assert suite(fixtures, parameters) == expected


@pytest.mark.parametrize(
    "name",
    ["broker_outage", "clock_steps", "commits", "dead_letters", "deployed_collector", "outage", "pipeline", "poison",
     "restarts", "web"],
)  # fmt: skip
def test_what_depends_on_the_broker_runs_on_kafka(name: str) -> None:
    assert f"mark.{ANY_BROKER}" not in (INTEGRATION / f"test_{name}.py").read_text("utf-8")


def test_the_longest_files_begin_first() -> None:
    longest = [INTEGRATION / f"test_{name}.py" for name in LONGEST]
    assert all(file.is_file() for file in longest)
    first, last = Path(__file__).parent / "test_wal.py", INTEGRATION / "test_clocks.py"
    assert sorted([last, *reversed(longest), first], key=place) == [first, *longest, last]
