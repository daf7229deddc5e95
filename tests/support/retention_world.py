"""A plugin whose rows are merged and deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparkle_app.model.retention import DAY, HOUR, READINGS, Retention, Watermark
from sparkle_app.model.time import span
from sparkle_app.plugin.merging import store_buckets
from sparkle_app.plugin_api import Plugin
from sparkle_app.retention.retainer import Retainer
from sparkle_app.retention.steps import Step
from sparkle_app.storage.engine import read_transaction
from sparkle_app.storage.retention import watermarks
from tests.support.aggregate_worker import NAME, PLUGIN, plain_reading, sqlite_engine

NOON = 1_764_072_000_000_000
TODAY = NOON - span(DAY // 2)
KEPT = Retention(3 * DAY, DAY, 4 * DAY, 6 * DAY)
KEPT_LONG = Retention(10_000 * DAY, 10_000 * DAY, 10_000 * DAY, 10_000 * DAY)
HOSTS = [f"host-{number:02}" for number in range(12)]


class World:
    """The rows of one plugin in SQLite, and their retention."""

    def __init__(self, folder: Path, plugin: Plugin = PLUGIN, bucket_size: int = 60) -> None:
        self.engine = sqlite_engine(folder)
        self.plugin = plugin
        self.bucket_size = bucket_size
        self.number = 0

    def retainer(self, kept: Retention = KEPT, plugin: Plugin | None = None) -> Retainer:
        return Retainer(NAME, plugin or self.plugin, self.engine, self.bucket_size, kept)

    def store(self, at: int, *hostnames: str) -> None:
        """A reading of each host arrives, and its bucket is recomputed."""
        hosts = hostnames or ("host-00",)
        readings = [
            plain_reading(number, hostname, "k", at, float(number))
            for number, hostname in enumerate(hosts, self.number)
        ]
        self.number += len(hosts)
        start = at - at % span(self.bucket_size)
        end = start + span(self.bucket_size)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            if not marks.accepts(at):
                return
            self.plugin.store_readings(connection, readings)
        with self.engine.begin() as connection:
            marks = watermarks(connection, NAME, self.bucket_size, lock=True)
            rows = self.plugin.compute_aggregates(connection, hosts, self.bucket_size, start, end)
            store_buckets(self.plugin, connection, marks, list(rows))

    def counts(self, resolution: int) -> dict[int, int]:
        """The number of readings of all hosts, by the days and hours before noon."""
        found: dict[int, int] = {}
        with read_transaction(self.engine) as connection:
            if resolution == READINGS:
                for each in self.plugin.load_readings(connection, HOSTS, 0, NOON + span(DAY)):
                    day = (each.observed_at - TODAY) // span(DAY)
                    found[day] = found.get(day, 0) + 1
            else:
                for _, start, count in self.plugin.count_aggregates(
                    connection, resolution, 0, NOON + span(DAY)
                ):
                    day = (start - TODAY) // span(DAY)
                    found[day] = found.get(day, 0) + count
        return found

    def marks(self) -> dict[int, Watermark]:
        with read_transaction(self.engine) as connection:
            return dict(watermarks(connection, NAME, self.bucket_size).known)


@contextmanager
def ten_days(folder: Path) -> Iterator[World]:
    """Ten days of readings, two of a host on each day."""
    world = World(folder)
    for day in range(10):
        for at in (0, 1):
            world.store(NOON - day * span(DAY) - at * span(HOUR), *HOSTS)
    yield world
    world.engine.dispose()


def run(world: World, **options: Any) -> list[Step]:
    """Retention an hour after the last reading."""
    return list(world.retainer(**options).run(NOON + span(HOUR)))
