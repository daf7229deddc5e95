"""The command `capacity`: its arithmetic, and that the page shows the figures that were measured."""

import json
import sys

import msgspec
import pytest

from benchmarks.capacity import FILE, PAGE, SIZES, with_tables
from sparkle_app.model.capacity import (
    DatabaseFigures,
    Estimate,
    Figures,
    Fleet,
    Machine,
    estimate,
    figures,
    number,
    size,
    table,
)
from sparkle_app.model.retention import Retention
from tests.support.processes import run_program
from tests.support.worker import PROJECT

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


def test_numbers_are_short() -> None:
    assert [number(each) for each in (0.0123, 5.333, 533.4, 53_333)] == ["0.012", "5.3", "533", "53,333"]
    assert [size(each) for each in (900, 2e6, 1.54e9, 12e12, 3e15)] == [
        "1 kB",
        "2 MB",
        "1.5 GB",
        "12 TB",
        "3 PB",
    ]


def test_the_page_has_tables_of_the_measured_figures() -> None:
    measured = msgspec.json.decode(FILE.read_bytes(), type=Figures)
    assert measured == figures()
    assert list(measured.databases) == ["SQLite", "PostgreSQL", "MariaDB"]
    page = PAGE.read_text("utf-8")
    assert with_tables(page, measured) == page, "run python -m benchmarks.capacity --page"
    assert page.count("\n| database, per day |") == len(SIZES)
    for each in measured.databases.values():
        assert 0 < each.broker < each.decrypting
        assert 20 < each.aggregate_bytes < 1000
        assert 50 < each.reading_bytes < 1000


def test_the_command_prints_a_table_and_json() -> None:
    command = [sys.executable, "-m", "faust", "-A", "sparkle_app", "capacity", "--hosts", "10000"]
    done = run_program(command, {"PATH": "", "SPARKLE_BROKER__PARTITIONS": "4"}, PROJECT)
    assert (done.returncode, done.stderr) == (0, "")
    heading, *rows = table(figures(), Fleet(10_000, 16, 300), Machine(partitions=4))
    lines = done.stdout.splitlines()
    assert lines[0] == "10000 hosts with 16 metrics every 300 s"
    assert lines[1].split() == heading[1:]
    assert [line.split("  ")[0] for line in lines[2:-1]] == [row[0] for row in rows]
    asked = json.loads(
        run_program([*command, "--interval", "60", "--days", "30", "--json"], {"PATH": ""}, PROJECT).stdout
    )
    assert asked["fleet"]["interval"] == 60
    found = asked["estimates"]["PostgreSQL"]
    assert found["readings_per_second"] == pytest.approx(10_000 * 16 / 60)
    assert found["database_bytes"] == pytest.approx(30 * found["database_bytes_per_day"])
