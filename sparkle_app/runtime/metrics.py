"""Every metric that the handler counts, declared before use; served at /metrics next to Faust's own."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from sparkle_app.model.errors import Reason

# From a quick batch to a database that makes everybody wait.
_STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Stage(StrEnum):
    """A step of the pipeline: the same word in the log and as the label ``stage`` of every metric."""

    OPEN = "open"
    """Parse, decrypt and validate a batch of records."""
    STORE = "store"
    """Store raw readings in SQL."""
    DEAD_LETTERS = "dead_letters"
    """Write to the dead-letter topic."""
    FORWARD = "forward"
    """Write to the samples topics."""
    RESTORE = "restore"
    """Bring a recovered table up to what SQL holds."""
    AGGREGATE = "aggregate"
    """Count samples in buckets."""
    TABLE = "table"
    """Write buckets to the changelog."""
    SINK = "sink"
    """Store aggregates in SQL."""


class Metrics:
    """The handler's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "sparkle_records", "Records taken from plugin topics", ["topic"], registry=self.registry
        )
        self.readings = Counter(
            "sparkle_readings", "Readings stored in SQL", ["plugin"], registry=self.registry
        )
        self.clocks_not_believed = Counter(
            "sparkle_clocks_not_believed",
            "Readings whose host's local time is that of no place on earth, within 7.5 minutes",
            ["plugin"],
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "sparkle_dead_letters",
            "Records sent to the dead-letter topic",
            ["reason"],
            registry=self.registry,
        )
        self.recomputed = Counter(
            "sparkle_buckets_recomputed",
            "Buckets aggregated again from raw rows",
            ["plugin"],
            registry=self.registry,
        )
        self.retries = Counter(
            "sparkle_retries", "Attempts that failed and were repeated", ["stage"], registry=self.registry
        )
        self.stage_seconds = Histogram(
            "sparkle_stage_seconds",
            "Time that a batch spends in a stage",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        for reason in Reason:
            self.dead_letters.labels(reason)
        for stage in Stage:
            self.retries.labels(stage)
            self.stage_seconds.labels(stage)
