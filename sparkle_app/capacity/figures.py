"""What the benchmarks have measured."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec


class DatabaseFigures(msgspec.Struct, frozen=True):
    """What a reading takes with a database. Each is in a bucket of its own, as of hosts with a longer interval."""

    decrypting: float
    worker: float
    broker: float
    database: float
    """CPU seconds per 1,000 readings: of the decryption pool, of the rest of the worker, of Kafka, of the database's
    server."""
    writing: float
    """Seconds per 1,000 readings in which a worker waits for the database to store readings and aggregates."""
    writers: int | None
    """How many can write at the same time; None: any number."""
    reading_bytes: float
    """In the database, with indexes."""
    aggregate_bytes: float


class Figures(msgspec.Struct, frozen=True):
    """What ``python -m benchmarks.capacity`` has measured."""

    measured: str
    """Date."""
    processor: str
    rsa_seconds: float
    """CPU time of an RSA operation on it, to compare processors."""
    databases: Mapping[str, DatabaseFigures]
    worker_bytes: float
    """Memory of a worker with its decryption pool, without buckets."""
    bucket_bytes: float
    """Memory of a metric in a bucket."""
    record_bytes: float
    """Of a record in Kafka."""
    changelog_bytes: float
    """Of a reading in a changelog topic."""


@cache
def figures() -> Figures:
    """The figures that the benchmarks have written."""
    content = files("sparkle_app.capacity").joinpath("figures.json").read_bytes()
    return msgspec.json.decode(content, type=Figures)
