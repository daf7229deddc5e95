"""What a fleet needs: processor cores, memory and disk, from figures that the benchmarks have measured."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from sparkle_app.capacity.figures import DatabaseFigures, Figures
from sparkle_app.model.retention import DAY, HOUR, Retention

_YEAR = 365 * DAY
# After an outage, records have to be processed faster than they arrive, and load is not even.
_UTILIZATION = 0.5
# More does not make one worker faster (docs/operations.md, "Scaling").
_CORES_OF_A_WORKER = 4
RETAINED_DAYS = 7
"""Kafka's default."""


class Fleet(msgspec.Struct, frozen=True):
    """The hosts, and how long their rows are kept."""

    hosts: int
    metrics: int
    """Of each host."""
    interval: int
    """Seconds between two readings of a metric."""
    days: int = 365
    """After how many days the size of the database is estimated."""
    retention: Retention = Retention(90 * DAY, 30 * DAY, 3 * _YEAR, None)
    """The default of the settings."""
    bucket_seconds: int = 60
    window_seconds: int = 3600
    """``aggregates.window_retention_seconds``."""


class Machine(msgspec.Struct, frozen=True):
    """What there is."""

    cores: int = 8
    memory: float = 32e9
    """Bytes."""
    disk: float = 1e12
    """Bytes."""
    partitions: int = 8
    """``broker.partitions``."""


class Estimate(msgspec.Struct, frozen=True):
    """What a fleet needs with a database."""

    readings_per_second: float
    worker_cores: float
    """Busy on average, as the following ones."""
    broker_cores: float
    database_cores: float
    cores: int
    """To install: twice as many as are busy."""
    workers: int
    memory: float
    """Of all workers, bytes."""
    database_bytes_per_day: float
    """What is stored on a day, whenever it expires."""
    kafka_bytes: float
    """What Kafka retains."""
    database_bytes: float
    """Of what is kept after ``Fleet.days``."""
    database_bytes_per_year: float
    """By how much the database grows in the year after that."""
    shares: Mapping[str, float]
    """How much is needed of what there is: above 1, it is not enough."""

    @property
    def bottleneck(self) -> str:
        """What is used up first when the fleet grows."""
        return max(self.shares, key=lambda name: self.shares[name])


def estimate(measured: Figures, database: str, fleet: Fleet, machine: Machine) -> Estimate:
    """What a fleet needs with one of the databases of the figures."""
    each = measured.databases[database]
    rate = fleet.hosts * fleet.metrics / fleet.interval
    thousands = rate / 1000
    worker, broker, server = (
        thousands * seconds for seconds in (each.decrypting + each.worker, each.broker, each.database)
    )
    share_of_workers = worker / _UTILIZATION / _CORES_OF_A_WORKER
    workers = max(1, math.ceil(share_of_workers))
    series = fleet.hosts * fleet.metrics
    slower = max(fleet.interval, fleet.bucket_seconds)
    memory = workers * measured.worker_bytes + series * fleet.window_seconds / slower * measured.bucket_bytes
    growth = _growth(each, fleet)
    a_day = sum(bytes_ for _, bytes_ in growth)
    cores = (worker + broker + server) / _UTILIZATION
    kept, a_year_later = (_kept(growth, days) for days in (fleet.days, fleet.days + 365))
    kafka = RETAINED_DAYS * rate * DAY * measured.record_bytes + rate * fleet.window_seconds * (
        measured.changelog_bytes
    )
    shares = {
        "cores": cores / machine.cores,
        "memory": memory / machine.memory,
        "disk": (kept + kafka) / machine.disk,
        "partitions": share_of_workers / machine.partitions,
    }
    if each.writers:
        shares["writers"] = thousands * each.writing / each.writers / _UTILIZATION
    return Estimate(
        rate,
        worker,
        broker,
        server,
        math.ceil(cores),
        workers,
        memory,
        a_day,
        kafka,
        kept,
        a_year_later - kept,
        shares,
    )


def _growth(each: DatabaseFigures, fleet: Fleet) -> Sequence[tuple[int | None, float]]:
    """For readings and each resolution, how many seconds they are kept (None: for ever), and bytes a day."""
    series = fleet.hosts * fleet.metrics
    kept = fleet.retention
    # An aggregate has at least one reading.
    return [
        (kept.readings, series * DAY / fleet.interval * each.reading_bytes),
        *(
            (seconds, series * DAY / max(fleet.interval, resolution) * each.aggregate_bytes)
            for seconds, resolution in (
                (kept.buckets, fleet.bucket_seconds),
                (kept.hours, HOUR),
                (kept.days, DAY),
            )
        ),
    ]


def _kept(growth: Sequence[tuple[int | None, float]], days: int) -> float:
    return sum(bytes_ * (days if seconds is None else min(days, seconds / DAY)) for seconds, bytes_ in growth)
