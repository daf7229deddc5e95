"""What the database aggregates is what counting one by one gives."""

import random
from datetime import UTC, datetime

import pytest
from sqlalchemy.engine import make_url

from sparkle_app.plugin_api import AggregatesTable, Base, Plugin, Reading, ReadingsTable
from sparkle_app.storage.database import make_engine

START = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * 1_000_000
HOUR = 3_600_000_000


class Readings(ReadingsTable):
    __tablename__ = "compared_readings"


class Aggregates(AggregatesTable):
    __tablename__ = "compared_aggregates"


class Fast(Plugin):
    DataFrame = Readings
    Aggregates = Aggregates


class Plain(Fast):
    """Something replaced, so that it counts one by one."""

    def measure(self, reading: Reading) -> float:
        return super().measure(reading)


@pytest.mark.parametrize("resolution", [1, 60, 3600])
def test_the_database_aggregates_as_counting_does(database_url: str, resolution: int) -> None:
    chance = random.Random(resolution)
    engine = make_engine(make_url(database_url))
    Base.metadata.create_all(engine, tables=[Readings.__table__])  # type: ignore[list-item]
    readings = [
        Reading(
            id=number.to_bytes(16),
            config_id=1,
            hostname=f"host-{number % 3}",
            plugin="Fast",
            key=f"k{number % 2}",
            value=chance.choice((-1.5, 0.0, 20.25, 1e9)),
            # Some at one instant, and some at the very edge of a bucket.
            observed_at=START
            + chance.choice((0, 59_999_999, 60_000_000, 3_599_999_999, chance.randrange(2 * HOUR))),
            received_at=START,
            clock_trusted=True,
            topic="t",
            partition=0,
            offset=number,
        )
        for number in range(2000)
    ]
    with engine.begin() as connection:
        Fast().store_readings(connection, readings)
    scope = (["host-0", "host-2"], resolution, START, START + HOUR)
    with engine.connect() as connection:
        fast = sorted(Fast().compute_aggregates(connection, *scope), key=repr_of)
        plain = sorted(Plain().compute_aggregates(connection, *scope), key=repr_of)
        last = Fast().event_time_after(connection, "host-1", START, START + 2 * HOUR, 10)
        assert Fast().event_time_after(connection, "host-1", START, START + HOUR, 5000) == START + HOUR
    engine.dispose()
    assert [rounded(row) for row in fast] == [rounded(row) for row in plain]
    assert {row.hostname for row in plain} == {"host-0", "host-2"}
    times = sorted(each.observed_at for each in readings if each.hostname == "host-1")
    assert last == times[10]


def repr_of(row: object) -> str:
    return f"{row.hostname} {row.metric} {row.bucket_start}"  # type: ignore[attr-defined]


def rounded(row: object) -> object:
    # The order in which floating-point numbers are added is not promised.
    return str(row).replace(str(row.statistics.sum), f"{row.statistics.sum:.3f}")  # type: ignore[attr-defined]
