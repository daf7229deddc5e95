"""Retention of plugins that store their rows themselves."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from sparkle_app.model.buckets import AggregateRow
from sparkle_app.model.reading import StoredReading
from sparkle_app.model.retention import DAY, READINGS
from sparkle_app.plugin_api import Plugin
from tests.support.aggregate_worker import Aggregates, DataFrame
from tests.support.retention_world import HOSTS, World, run, ten_days


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    with ten_days(tmp_path) as world:
        yield world


class OwnRows(Plugin):
    """A plugin that keeps its rows itself, and does not delete them."""

    DataFrame = DataFrame
    Aggregates = Aggregates

    def load_readings(self, *arguments: Any, **named: Any) -> Iterable[StoredReading]:
        return super().load_readings(*arguments, **named)

    def load_aggregates(self, *arguments: Any, **named: Any) -> Iterable[AggregateRow]:
        return super().load_aggregates(*arguments, **named)


class Deleting(OwnRows):
    """One that deletes them, a few at a time."""

    def expire_readings(self, connection: Connection, before: int, limit: int) -> int:
        assert limit > 100
        found = [each.id for each in self.load_readings(connection, HOSTS, 0, before)][:100]
        data = DataFrame.metadata.tables["memory_readings_data"]
        connection.execute(data.delete().where(data.c.id.in_(found)))
        return len(found)

    def expire_aggregates(self, connection: Connection, resolution: int, before: int, limit: int) -> int:
        rows = self.load_aggregates(connection, HOSTS, None, resolution, 0, before)
        keys = [(row.hostname, row.bucket_start, row.metric) for row in rows][:limit]
        self.delete_aggregates(connection, resolution, keys)
        return len(keys)


def test_a_plugin_that_stores_its_rows_itself_deletes_them_itself(world: World) -> None:
    assert world.retainer(plugin=Deleting()).keeps_its_own() == []
    run(world, plugin=Deleting())
    both = 2 * len(HOSTS)
    assert world.counts(READINGS) == {-day: both for day in range(4)}
    assert world.counts(60) == {0: both, -1: both}
    assert world.counts(DAY) == {-day: both for day in range(1, 7)}


def test_a_plugin_that_does_not_delete_its_rows_keeps_them(world: World) -> None:
    assert world.retainer(plugin=OwnRows()).keeps_its_own() == ["readings", "aggregates"]
    run(world, plugin=OwnRows())
    assert len(world.counts(READINGS)) == len(world.counts(60)) == 10
    assert len(world.counts(DAY)) == 9
    assert all(mark.kept_since == 0 for mark in world.marks().values())
