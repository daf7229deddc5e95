"""Retention of a host that is renamed meanwhile."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from sparkle_app.audit.renaming import Renaming
from sparkle_app.model.buckets import AggregateRow, bucket_start
from sparkle_app.model.retention import DAY, HOUR, Retention
from sparkle_app.model.time import span
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import advance
from tests.support.aggregate_worker import NAME, PLUGIN, Aggregates, DataFrame
from tests.support.retention_world import NOON, World, ten_days


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    with ten_days(tmp_path) as world:
        yield world


@pytest.mark.parametrize("new", ["host-01", "other"])
def test_a_host_that_is_renamed_meanwhile_is_counted_once(tmp_path: Path, new: str) -> None:
    world = World(tmp_path)
    world.store(NOON - span(DAY), "host-00", "host-01")
    renaming: list[Future[None]] = []

    def rename() -> None:
        with world.engine.begin() as connection:
            Renaming({NAME: PLUGIN}, "host-00", new).apply(connection, 60)

    class Renamed(Plugin):
        DataFrame = DataFrame
        Aggregates = Aggregates

        def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
            rows = list(super().load_aggregates(*arguments, **named))
            if not renaming:
                renaming.append(threads.submit(rename))
                # Ends now if it can.
                wait(renaming, timeout=0.3)
            return rows

    forever = Retention(None, None, None, None)
    with ThreadPoolExecutor() as threads:
        list(world.retainer(forever, Renamed()).run(NOON + span(HOUR)))
        renaming[0].result()
    assert world.counts(HOUR) == world.counts(DAY) == {-1: 2}
    with read_transaction(world.engine) as connection:
        for resolution in (HOUR, DAY):
            found = PLUGIN.load_aggregates(connection, ["host-00"], None, resolution, 0, NOON)
            assert list(found) == []


def test_a_host_that_is_renamed_while_many_days_are_merged_has_all_hours(world: World) -> None:
    """They are merged at once after a long pause: the new name may be unknown to who merges them."""
    marks = world.marks()
    assert marks[HOUR].merged_until == 0
    for resolution in (HOUR, DAY):
        for name in ("merging_until", "merged_until"):
            until = NOON - span(20 * DAY) if name == "merged_until" else NOON
            advance(world.engine, NAME, resolution, **{name: bucket_start(until, resolution)})
    with world.engine.begin() as connection:
        Renaming({NAME: PLUGIN}, "host-00", "new").apply(connection, 60)
    with read_transaction(world.engine) as connection:
        hours = list(PLUGIN.load_aggregates(connection, ["new"], None, HOUR, 0, NOON))
        days = list(PLUGIN.load_aggregates(connection, ["new"], None, DAY, 0, NOON))
    assert sum(row.statistics.count for row in hours) == 19
    assert sum(row.statistics.count for row in days) == 18
