"""The handler's Prometheus metrics, all declared here; served at /metrics together with those of Faust."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from sparkle_app.model.errors import Reason

# In seconds: from a fast batch to one that waits for the database.
_STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Stage(StrEnum):
    """One step of a pipeline: the same word in the log and in the label ``stage`` of every metric."""

    OPEN = "open"
    """Parse, decrypt and validate a batch of records."""
    STORE = "store"
    """Insert readings into SQL."""
    DEAD_LETTERS = "dead_letters"
    """Produce dead letters and tombstones to the dead-letter topic."""
    FORWARD = "forward"
    """Produce samples to the samples topics."""
    RESTORE = "restore"
    """Recompute the buckets for which SQL has counted more readings than a recovered table."""
    AGGREGATE = "aggregate"
    """Count samples in buckets."""
    TABLE = "table"
    """Write buckets to the table and its changelog topic."""
    SINK = "sink"
    """Write aggregates to SQL."""


class Metrics:
    """The handler's metrics, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "sparkle_records", "Records consumed from plugin topics", ["topic"], registry=self.registry
        )
        self.readings = Counter(
            "sparkle_readings", "Readings stored in SQL", ["plugin"], registry=self.registry
        )
        self.clocks_not_believed = Counter(
            "sparkle_clocks_not_believed",
            "Readings with an untrusted host clock: not within 7.5 minutes of the time at any UTC offset in use",
            ["plugin"],
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "sparkle_dead_letters",
            "Dead letters produced to the dead-letter topic",
            ["reason"],
            registry=self.registry,
        )
        self.recomputed = Counter(
            "sparkle_buckets_recomputed",
            "Buckets recomputed from stored readings",
            ["plugin"],
            registry=self.registry,
        )
        self.retries = Counter(
            "sparkle_retries", "Retries after a transient error", ["stage"], registry=self.registry
        )
        self.stage_seconds = Histogram(
            "sparkle_stage_seconds",
            "Time that a batch takes in a stage, in seconds",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        for reason in Reason:
            self.dead_letters.labels(reason)
        for stage in Stage:
            self.retries.labels(stage)
            self.stage_seconds.labels(stage)
