"""The arithmetic of the command `capacity`, and the figures that were measured."""

import msgspec
import pytest

from sparkle_app.capacity.estimate import Estimate, Fleet, Machine, estimate
from sparkle_app.capacity.figures import DatabaseFigures, Figures, figures
from sparkle_app.capacity.table import number, size, table
from sparkle_app.model.retention import Retention

MEASURED = Figures(
    measured="2026-11-29",
    processor="none",
    rsa_seconds=200e-6,
    databases={
        "one writer": DatabaseFigures(
            decrypting=0.2,
            worker=0.05,
            broker=0.01,
            database=0.0,
            writing=0.1,
            writers=1,
            reading_bytes=100,
            aggregate_bytes=50,
        ),
        "server": DatabaseFigures(
            decrypting=0.2,
            worker=0.05,
            broker=0.01,
            database=0.04,
            writing=0.1,
            writers=None,
            reading_bytes=200,
            aggregate_bytes=100,
        ),
    },
    worker_bytes=200e6,
    bucket_bytes=40,
    record_bytes=500,
    changelog_bytes=30,
)
FLEET = Fleet(hosts=6000, metrics=10, interval=60, days=10)
A_DAY = 1000 * 86_400 * 300 + 60_000 * (24 + 1) * 100
"""Bytes: a reading and a bucket a minute, hours and days."""


def of(database: str, fleet: Fleet = FLEET, machine: Machine = Machine()) -> Estimate:  # noqa: B008 - frozen
    return estimate(MEASURED, database, fleet, machine)


def test_the_arithmetic() -> None:
    found = of("server")
    assert found.readings_per_second == 1000
    assert (found.worker_cores, found.broker_cores, found.database_cores) == (0.25, 0.01, 0.04)
    assert (found.cores, found.workers) == (1, 1)
    # An hour of 60 buckets for each metric.
    assert found.memory == 200e6 + 60_000 * 60 * 40
    assert found.database_bytes_per_day == A_DAY
    # Nothing has expired.
    assert found.database_bytes == 10 * A_DAY
    assert found.kafka_bytes == 7 * 86_400 * 1000 * 500 + 1000 * 3600 * 30
    assert found.shares["disk"] == (found.database_bytes + found.kafka_bytes) / 1e12
    assert "writers" not in found.shares
    # A tenth of a second for 1,000 readings, of half of each second.
    assert of("one writer").shares["writers"] == pytest.approx(0.2)


def test_what_is_busy_adds_up_and_twice_as_much_is_installed() -> None:
    found = of("server", msgspec.structs.replace(FLEET, hosts=600_000))
    assert (found.worker_cores, found.broker_cores, found.database_cores) == (25, 1, 4)
    assert (found.cores, found.workers) == (60, 13)
    assert found.shares["cores"] == 60 / 8


def test_two_writers_write_twice_as_much() -> None:
    two = msgspec.structs.replace(MEASURED.databases["one writer"], writers=2)
    measured = msgspec.structs.replace(MEASURED, databases={"two writers": two})
    assert estimate(measured, "two writers", FLEET, Machine()).shares["writers"] == pytest.approx(0.1)


def test_buckets_longer_than_the_interval_have_several_readings() -> None:
    slow = of("server", msgspec.structs.replace(FLEET, bucket_seconds=600))
    assert slow.database_bytes_per_day == 1000 * 86_400 * 200 + 60_000 * (144 + 24 + 1) * 100
    assert slow.memory == 200e6 + 60_000 * 6 * 40


def test_expired_rows_take_no_space() -> None:
    a_year = of("server", msgspec.structs.replace(FLEET, days=365))
    readings, buckets, hours, days = 86_400_000 * 200, 86_400_000 * 100, 60_000 * 24 * 100, 60_000 * 100
    assert a_year.database_bytes == 90 * readings + 30 * buckets + 365 * (hours + days)
    # Hours expire after three years, days never.
    assert a_year.database_bytes_per_year == 365 * (hours + days)
    later = of("server", msgspec.structs.replace(FLEET, days=5 * 365))
    assert later.database_bytes == 90 * readings + 30 * buckets + 3 * 365 * hours + 5 * 365 * days
    assert later.database_bytes_per_year == 365 * days
    forever = Retention(None, None, None, None)
    found = of("server", msgspec.structs.replace(FLEET, days=365, retention=forever))
    assert found.database_bytes == found.database_bytes_per_year == 365 * A_DAY


def test_rarer_readings_than_hours_have_an_aggregate_each() -> None:
    found = of("server", msgspec.structs.replace(FLEET, interval=6 * 3600))
    assert found.database_bytes_per_day == 60_000 * (4 * 200 + (4 + 4 + 1) * 100)


def test_the_bottleneck_follows_from_the_machine() -> None:
    assert of("server").bottleneck == "disk"
    large = Machine(cores=1000, memory=1e15, disk=1e18, partitions=8)
    many = msgspec.structs.replace(FLEET, hosts=6_000_000)
    assert of("server", many, large).bottleneck == "partitions"
    assert of("server", many, large).workers == 125
    assert of("one writer", many, large).bottleneck == "writers"
    assert of("server", many, msgspec.structs.replace(large, cores=8)).bottleneck == "cores"
    assert of("server", many, msgspec.structs.replace(large, memory=1e9)).bottleneck == "memory"


def test_the_table_has_a_row_for_each_estimate_and_a_column_for_each_database() -> None:
    assert table(MEASURED, FLEET, Machine()) == [
        ["", "one writer", "server"],
        ["readings per second", "1,000", "1,000"],
        ["busy cores: workers, Kafka, database", "0.25, 0.01, 0", "0.25, 0.01, 0.04"],
        ["cores to install", "1", "1"],
        ["workers", "1", "1"],
        ["memory of the workers", "344 MB", "344 MB"],
        ["database, per day", "13 GB", "26 GB"],
        ["database, after 10 days", "130 GB", "261 GB"],
        ["growth in the year after", "805 GB", "1.6 TB"],
        ["Kafka, 7 days", "303 GB", "303 GB"],
        ["bottleneck", "disk (43%)", "disk (56%)"],
    ]


@pytest.mark.parametrize(
    ("disk", "share"), [(1e12, "disk (56%)"), (1e11, "disk (563%)"), (1e10, "disk (56 times)")]
)
def test_a_large_share_is_a_multiple(disk: float, share: str) -> None:
    assert table(MEASURED, FLEET, Machine(disk=disk))[-1][-1] == share


def test_ten_times_as_much_as_there_is_is_a_multiple() -> None:
    needed = of("server")
    disk = (needed.database_bytes + needed.kafka_bytes) / 10
    assert table(MEASURED, FLEET, Machine(disk=disk))[-1][-1] == "disk (10 times)"
    assert table(MEASURED, FLEET, Machine(disk=disk / 100))[-1][-1] == "disk (1,000 times)"


def test_numbers_are_short() -> None:
    found = [number(each) for each in (0.0123, 5.333, 9.96, 10, 99.6, 533.4, 53_333)]
    assert found == ["0.012", "5.3", "10", "10", "100", "533", "53,333"]
    assert [size(each) for each in (900, 2e6, 1.54e9, 12e12, 3e15)] == [
        "1 kB",
        "2 MB",
        "1.5 GB",
        "12 TB",
        "3 PB",
    ]
    assert [size(each) for each in (999_400, 1e6, 1e9, 1e12, 1e15)] == [
        "999 kB",
        "1 MB",
        "1 GB",
        "1 TB",
        "1 PB",
    ]


def test_the_measured_figures_are_plausible() -> None:
    measured = figures()
    assert list(measured.databases) == ["SQLite", "PostgreSQL", "MariaDB"]
    for each in measured.databases.values():
        assert 0 < each.broker < each.decrypting
        assert 20 < each.aggregate_bytes < 1000
        assert 50 < each.reading_bytes < 1000
