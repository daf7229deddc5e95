"""A copy of everything, to a database that has rows already."""

from pathlib import Path

from sqlalchemy import Engine

from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.storage.engine import read_transaction
from sparkle_app.transfer.moving import Copy
from tests.support.aggregate_worker import NAME, PLUGIN, plain_reading, sqlite_engine

NOON = 1_764_072_000_000_000


def store(engine: Engine, hostname: str, readings: int, counted: int) -> None:
    """Readings of a host, and an aggregate that has counted so many."""
    first = ord(hostname) * 100
    with engine.begin() as connection:
        PLUGIN.store_readings(
            connection,
            [plain_reading(first + number, hostname, "k", NOON + number, 1.0) for number in range(readings)],
        )
        statistics = Statistics(counted, float(counted), 1.0, 1.0, 1.0, NOON)
        PLUGIN.store_aggregates(connection, [AggregateRow(hostname, "k", 60, NOON, statistics)])


def counts(engine: Engine) -> dict[str, int]:
    with read_transaction(engine) as connection:
        rows = PLUGIN.load_aggregates(connection, ["a", "b", "c"], None, 60, NOON, NOON + 1)
        return {row.hostname: row.statistics.count for row in rows}


def test_aggregates_of_hosts_with_more_readings_in_the_target_only_grow(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    source, target = sqlite_engine(tmp_path / "source"), sqlite_engine(tmp_path / "target")
    store(source, "a", 2, 2)
    # Workers use the target already.
    store(target, "a", 5, 5)
    # Rebuilt in the source since it was copied.
    store(source, "b", 3, 3)
    store(target, "b", 3, 4)
    # The target has more, but has not counted it.
    store(source, "c", 3, 3)
    store(target, "c", 4, 1)
    copy = Copy({NAME: PLUGIN}, source, target, 60)
    copy.copy_watermarks()
    for part in copy.parts():
        for page in part.pages:
            part.store(page)
    assert counts(target) == {"a": 5, "b": 3, "c": 3}
