"""What verify and rebuild read, change and leave unchanged; no worker runs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, make_url, text

from sparkle_app.model.time import micros, span
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.retention import advance
from tests.support.database import EVERY_DATABASE, Rows, of_series, query
from tests.support.rows import store
from tests.support.worker import Workspace, read_one_line, run_command

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOWHERE = "127.0.0.1:1"
"""The broker's address: these commands do not connect to it."""


def change(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount, f"no row changed: {statement}"
    engine.dispose()


def aggregates(url: str) -> Rows:
    return query(url, "SELECT * FROM temperature_aggregates ORDER BY hostname, metric, bucket_start")


def command(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = run_command(environment, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@EVERY_DATABASE
def test_a_bucket_that_is_partly_in_the_time_range_is_included_as_a_whole(
    database_url: str, workspace: Workspace
) -> None:
    def at(buckets: float) -> datetime:
        return NOON + timedelta(hours=buckets)

    environment = workspace.environment(NOWHERE, database_url, aggregates__bucket_seconds=3600)
    store(database_url, [("host-1", "k", 20.0 + n, at(n / 4)) for n in range(12)])
    command(environment, "rebuild")
    correct = aggregates(database_url)
    assert [row["count"] for row in correct] == [4, 4, 4]
    scope: tuple[str, ...] = ("--since", at(1.5).isoformat(), "--until", at(1.6).isoformat())
    assert "Temperature: 4 readings, 1 aggregate, 0 differences" in command(environment, "verify", *scope)
    command(environment, "rebuild", *scope)
    assert aggregates(database_url) == correct
    change(database_url, 'UPDATE temperature_aggregates_data SET "count" = 9')
    assert "4 readings, 1 aggregate recomputed" in command(environment, "rebuild", *scope)
    assert [row["count"] for row in aggregates(database_url)] == [9, 4, 9]
    # The end of the time range is exclusive: the next bucket is not included.
    scope = ("--until", at(1).isoformat())
    assert "Temperature: 4 readings, 1 aggregate recomputed" in command(environment, "rebuild", *scope)
    assert [row["count"] for row in aggregates(database_url)] == [4, 4, 9]


def test_aggregates_without_stored_readings_are_left_unchanged(
    database_url: str, workspace: Workspace
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    # All in one bucket.
    store(
        database_url, [("host-1", metric, 20.0 + n, NOON) for n in range(3) for metric in ("a", "b", "part")]
    )
    command(environment, "rebuild")
    change(database_url, "DELETE FROM temperature_readings_data WHERE " + of_series("metric = 'b'"))
    change(
        database_url,
        "DELETE FROM temperature_readings_data WHERE " + of_series("metric = 'part'") + " AND value = 20",
    )
    change(
        database_url, "UPDATE temperature_aggregates_data SET minimum = -1 WHERE " + of_series("metric = 'a'")
    )
    report = command(environment, "rebuild", "--plugin", "Temperature")
    assert "5 readings, 2 aggregates recomputed; 1 without stored readings left unchanged" in report
    (again,) = json.loads(command(environment, "rebuild", "--plugin", "Temperature", "--json"))
    assert again == {"plugin": "Temperature", "readings": 5, "made_anew": 0, "without_raw_rows": 1}
    rows = {row["metric"]: (row["count"], row["minimum"]) for row in aggregates(database_url)}
    # The aggregate of "part" is recomputed from the remaining readings.
    assert rows == {"a": (3, 20), "b": (3, 20), "part": (2, 21)}


@EVERY_DATABASE
def test_verify_says_what_rebuild_would_do(database_url: str, workspace: Workspace) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [("host-1", metric, 20.0 + n, NOON) for n in range(60) for metric in ("a", "b", "c")])
    command(environment, "rebuild")
    repair = "run `faust -A sparkle_app rebuild` to repair 1 difference"
    deleted = (
        "1 aggregate without stored readings: they were deleted; `rebuild` leaves such aggregates unchanged"
    )
    partly = (
        "1 aggregate with more readings than are stored, 60 instead of 1: some were deleted, or the aggregate is wrong;"
        " `rebuild` would recompute from those that are left, and the others would no longer count"
    )

    def hints() -> list[str]:
        lines = command(environment, "verify", "--plugin", "Temperature", code=1).splitlines()
        return lines[[line.startswith("Temperature: ") for line in lines].index(True) + 1 :]

    change(database_url, "DELETE FROM temperature_readings_data WHERE " + of_series("metric = 'a'"))
    assert hints() == [deleted]
    change(
        database_url,
        "DELETE FROM temperature_readings_data WHERE " + of_series("metric = 'b'") + " AND value > 20",
    )
    assert hints() == [deleted, partly]
    change(
        database_url, "UPDATE temperature_aggregates_data SET minimum = -1 WHERE " + of_series("metric = 'c'")
    )
    assert hints() == [repair, deleted, partly]
    report = command(environment, "rebuild", "--plugin", "Temperature")
    assert report == (
        "Temperature: 61 readings, 2 aggregates recomputed; 1 without stored readings left unchanged;"
        " 1 had counted more readings than are stored\n"
    )
    assert {row["metric"]: row["count"] for row in aggregates(database_url)} == {"a": 60, "b": 1, "c": 60}
    assert hints() == [deleted]


def test_a_closed_pipe_is_not_reported_as_a_database_error(database_url: str, workspace: Workspace) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    # More output than a pipe buffers.
    store(database_url, [(f"host-{n}", "k", 20.0, NOON) for n in range(2000)])
    command(environment, "rebuild")
    change(database_url, "UPDATE temperature_aggregates_data SET last = 21")
    done = read_one_line(environment, "verify", "--plugin", "Temperature", "--limit", "20000")
    assert done.stdout.startswith("Temperature 'host-0' 'k' 2026-11-23T12:00:00Z: stored count 1")
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_verify_prints_at_most_limit_differences_per_plugin(database_url: str, workspace: Workspace) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [(f"host-{n}", "k", 20.0, NOON) for n in range(3)])
    command(environment, "rebuild")
    change(database_url, "UPDATE temperature_aggregates_data SET last = 21")

    def printed(*options: str) -> tuple[int, str]:
        done = run_command(environment, "verify", "--plugin", "Temperature", *options)
        assert done.returncode == 1
        assert "Temperature: 3 readings, 3 aggregates, 3 differences\n" in done.stdout
        return done.stdout.count("stored count 1"), done.stderr

    assert printed() == (3, "")
    assert printed("--limit", "2") == (2, "")
    deprecated = "--most is deprecated: use --limit\n"
    assert printed("--most", "1") == (1, deprecated)
    assert printed("--most", "1", "--limit", "0") == (0, deprecated)


@pytest.mark.parametrize("name", ["verify", "rebuild"])
def test_an_unknown_host_is_a_usage_error(database_url: str, workspace: Workspace, name: str) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [("host-1", "k", 20.0, NOON)])
    done = run_command(environment, name, "--host", "hots-1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "--host: expected a host with readings of PU_Workload or Temperature, found hots-1;"
        " use the hostname that its records carry\n"
    )
    # A known host without readings in the time range is not an error.
    report = command(environment, name, "--host", "host-1", "--until", "2026-11-01")
    assert "Temperature: 0 readings" in report


@EVERY_DATABASE
def test_aggregates_that_are_kept_longer_than_what_they_were_computed_from(
    database_url: str, workspace: Workspace
) -> None:
    environment = workspace.environment(NOWHERE, database_url)
    store(database_url, [("host-1", metric, 20.0, NOON) for metric in ("a", "b")])
    command(environment, "rebuild")
    engine = make_engine(make_url(database_url))
    advance(engine, "Temperature", 3600, merging_until=micros(NOON), merged_until=micros(NOON))
    advance(engine, "Temperature", 0, kept_since=micros(NOON) + span(86_400))
    engine.dispose()
    change(database_url, "DELETE FROM temperature_readings_data")
    report = command(environment, "verify", "--plugin", "Temperature")
    assert report == (
        "Temperature: 0 readings, 0 aggregates, 0 differences\n"
        "Temperature: 2 aggregates (2 of buckets) can no longer be verified: their source rows have expired\n"
    )
    (fields,) = json.loads(command(environment, "verify", "--plugin", "Temperature", "--json"))
    assert fields["not_verifiable"] == 2
    assert "0 aggregates recomputed\n" in command(environment, "rebuild", "--plugin", "Temperature")
    assert [row["count"] for row in aggregates(database_url)] == [1, 1]
