"""The handler's Prometheus metrics, all declared here; served at /metrics together with those of Faust."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sparkle_app.model.errors import Reason
from sparkle_app.model.retention import ExpiredReason
from sparkle_app.runtime.disks import DiskUsage
from sparkle_app.runtime.stages import Stage, StageRun, Stages

# In seconds: from a fast batch to one that waits for the database.
_STAGE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The handler's metrics, in their own registry, and the stages in progress.

    Arguments:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.stages = Stages(clock)
        self._clock = clock
        self._stored_at = clock()
        self.records = counter("sparkle_records", "Records consumed from plugin topics", ["topic"])
        self.readings = counter("sparkle_readings", "Readings stored in SQL", ["plugin"])
        self._untrusted_clocks = [
            counter(f"sparkle_{name}", text, ["plugin"])
            for name, text in {
                "readings_untrusted_clock": "Readings with an untrusted host clock: not within 7.5 minutes of the time "
                "at any UTC offset in use",
                "clocks_not_believed": "Deprecated: sparkle_readings_untrusted_clock_total",
            }.items()
        ]
        self.dead_letters = counter(
            "sparkle_dead_letters", "Dead letters produced to the dead-letter topic", ["reason"]
        )
        self.dead_letters_suppressed = counter(
            "sparkle_dead_letters_suppressed",
            "Invalid readings without a dead letter, because dead_letters.per_cause was exceeded",
            ["reason"],
        )
        self.held_back = counter(
            "sparkle_records_held_back", "Records held back because no private key decrypts them", ["topic"]
        )
        self.expired = counter(
            "sparkle_records_expired",
            "Records that Kafka's log retention deleted before they were consumed",
            ["topic"],
        )
        self.expired_readings = counter(
            "sparkle_readings_expired",
            "Readings that were not stored, or not counted, because they are older than the retention period",
            ["plugin", "reason"],
        )
        self.expired_aggregates = counter(
            "sparkle_aggregates_expired",
            "Aggregates that were not stored because their readings have since expired",
            ["plugin"],
        )
        self._retained = counter(
            "sparkle_retention_rows", "Rows that retention has merged or deleted", ["plugin", "action"]
        )
        self.retention_failures = counter("sparkle_retention_failures", "Failed retention runs", ["plugin"])
        self._retention_age = gauge(
            "sparkle_retention_age_seconds",
            "Seconds since retention last completed, or since the worker took it over",
            ["plugin"],
        )
        self.recomputed = counter(
            "sparkle_buckets_recomputed", "Buckets recomputed from stored readings", ["plugin"]
        )
        self.retries = counter("sparkle_retries", "Retries after a transient error", ["stage"])
        self.stage_seconds = Histogram(
            "sparkle_stage_seconds",
            "Time that a batch takes in a stage, in seconds",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        in_progress = gauge(
            "sparkle_stage_in_progress_seconds",
            "How long the oldest batch in a stage has been in it, in seconds; 0 if there is none",
            ["stage"],
        )
        self._consuming = gauge(
            "sparkle_consuming",
            "1 if the worker has its partitions, their tables are recovered, and the broker answers; otherwise 0",
        )
        self.hosts = gauge(
            "sparkle_hosts",
            "Hosts by state: ok, or silent (for at most a week); every worker counts all hosts, once a minute",
            ["plugin", "state"],
        )
        since_stored = gauge(
            "sparkle_seconds_since_stored",
            "Seconds since a reading was last stored in SQL, or since the worker started",
        )
        since_stored.set_function(lambda: self.since_stored)
        self.row_delay = gauge(
            "sparkle_row_delay_seconds",
            "Seconds from the timestamp of the record that was stored last until its readings were in SQL",
            ["plugin"],
        )
        self.answer_delay = gauge(
            "sparkle_answer_delay_seconds",
            "Delay in seconds from producing the last samples to including them in query results",
            ["plugin"],
        )
        self.wal_bytes = gauge(
            "sparkle_sqlite_wal_bytes", "Size of SQLite's write-ahead log, in bytes; 0 with other databases"
        )
        self._disks = {
            field: gauge(name, f"{text} of the file system that contains a folder", ["path"])
            for field, name, text in (
                ("free", "sparkle_disk_free_bytes", "Free space"),
                ("size", "sparkle_disk_size_bytes", "Size"),
                ("free_inodes", "sparkle_disk_free_inodes", "Free inodes"),
                ("inodes", "sparkle_disk_inodes", "Inodes"),
            )
        }
        for reason in Reason:
            self.dead_letters.labels(reason)
            self.dead_letters_suppressed.labels(reason)
        for stage in Stage:
            self.retries.labels(stage)
            self.stage_seconds.labels(stage)
            in_progress.labels(stage).set_function(partial(self.stages.seconds, stage))

    def expose(
        self,
        plugin_topics: Iterable[str],
        samples_topics: Iterable[str],
        plugins: Iterable[str],
        consuming: Callable[[], bool],
    ) -> None:
        """Expose what depends on the installed plugins from the start: a counter that begins at 1 shows no increase.

        Arguments:
            plugins: their NAMEs.
            consuming: whether the worker has its partitions and their tables, and the broker answers.
        """
        self._consuming.set_function(consuming)
        topics = list(plugin_topics)
        for topic in topics:
            self.records.labels(topic)
            self.held_back.labels(topic)
        for topic in [*topics, *samples_topics]:
            self.expired.labels(topic)
        for plugin in plugins:
            self.readings.labels(plugin)
            self.untrusted_clocks(plugin, 0)
            self.recomputed.labels(plugin)
            self.expired_aggregates.labels(plugin)
            self.retention_failures.labels(plugin)
            for action in ("merge", "delete"):
                self._retained.labels(plugin, action)
            for reason in ExpiredReason:
                self.expired_readings.labels(plugin, reason)
            for state in ("ok", "silent"):
                self.hosts.labels(plugin, state)

    @staticmethod
    def values(metric: Counter | Gauge) -> dict[str, float]:
        """The value of a counter or a gauge by its only label."""
        return {
            next(iter(sample.labels.values())): sample.value
            for family in metric.collect()
            for sample in family.samples
            # Of a counter, there is also the time at which it was created.
            if not sample.name.endswith("_created")
        }

    def stage_totals(self) -> dict[str, tuple[float, float]]:
        """The number of batches in each stage, and the seconds that they took."""
        found: dict[str, dict[str, float]] = {}
        for family in self.stage_seconds.collect():
            for sample in family.samples:
                found.setdefault(sample.labels["stage"], {})[sample.name] = sample.value
        name = "sparkle_stage_seconds"
        return {stage: (each[f"{name}_count"], each[f"{name}_sum"]) for stage, each in found.items()}

    def disk(self, usage: DiskUsage) -> None:
        """Expose the usage of a file system."""
        for field, gauge in self._disks.items():
            gauge.labels(str(usage.path)).set(getattr(usage, field))

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[StageRun]:
        """A stage is in progress until the end of the block; its time is observed."""
        with self.stage_seconds.labels(stage).time(), self.stages.run(stage) as run:
            yield run

    def untrusted_clocks(self, plugin: str, readings: int) -> None:
        """Count stored readings of hosts with untrusted clocks."""
        for counter in self._untrusted_clocks:
            counter.labels(plugin).inc(readings)

    def stored(self, plugin: str, number: int, delay: float) -> None:
        """Count readings that have been stored.

        Arguments:
            delay: seconds since the timestamp of the last record.
        """
        self.readings.labels(plugin).inc(number)
        self.row_delay.labels(plugin).set(delay)
        self._stored_at = self._clock()

    def answered(self, plugin: str, delay: float) -> None:
        """Note that query results include samples.

        Arguments:
            delay: seconds since the last of them was produced.
        """
        self.answer_delay.labels(plugin).set(delay)

    def retained(self, plugin: str, action: str, rows: int) -> None:
        """Count rows that retention has merged or deleted."""
        if rows:
            self._retained.labels(plugin, action).inc(rows)

    def retention_complete(self, plugin: str, clock: Callable[[], float]) -> None:
        """Retention has completed, in this worker or in another one.

        Arguments:
            clock: seconds, monotonic.
        """
        now = clock()
        self._retention_age.labels(plugin).set_function(lambda: clock() - now)

    @property
    def since_stored(self) -> float:
        """Seconds since a reading was last stored in SQL, or since the worker started."""
        return self._clock() - self._stored_at
