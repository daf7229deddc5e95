"""Measures retention: all old readings are deleted while a worker stores new ones."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from confluent_kafka import Producer
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url

from sparkle_app.model.retention import DAY, HOUR, READINGS
from sparkle_app.model.time import LATEST, span
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.names import create_series, create_sources
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.worker import PROJECT, Worker, Workspace, run_command

HOSTS, METRICS = 22, 16
ROWS_A_DAY = 100_000
"""A reading every five minutes: 10 million in 100 days. Fewer rows are as dense, in fewer days."""
_BACKLOG = 4_000
"""Records that wait, so that the worker is never idle."""
_BASELINE_SECONDS = 20
_POLL_SECONDS = 0.1
_SEND_SECONDS = 0.02
_COMMAND_SECONDS = 4 * 3600
_ROWS = 'id, observed_at, received_at, "offset", value, series_id, source_id'
# Ids are random, as hashes are. Rows are in order of time, as workers store them.
_FROM = """
  JOIN sparkle_series s ON s.resolution = 0 AND s.hostname = 'old-' || (n % :hosts)
    AND s.metric = 'core/' || (n / :hosts % 16)
  JOIN sparkle_sources c ON c.topic = 'old' AND c.partition = n % 8
"""
_SQLITE = f"""
WITH RECURSIVE old (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM old WHERE n + 1 < :last)
SELECT randomblob(16), :start + n * :step, :start + n * :step, n, 20.0 + n % 97 / 4.0, s.id, c.id FROM old {_FROM}
"""
_POSTGRESQL = f"""
SELECT gen_random_uuid(), to_timestamp((:start + n * :step) / 1e6), to_timestamp((:start + n * :step) / 1e6), n,
  20.0 + n % 97 / 4.0, s.id, c.id
FROM generate_series(CAST(:first AS bigint), :last - 1) AS old (n) {_FROM}
"""
_PART = 1_000_000


@dataclass
class Load:
    """What a worker stores meanwhile."""

    worker: Worker
    produced: int = 0
    stored: int = 0
    """Readings, as the worker counts them."""
    longest: float = 0.0
    """The longest time without a stored batch, seconds."""

    def poll(self) -> None:
        """Read the metrics of the worker."""
        page = requests.get(f"{self.worker.url}/metrics", timeout=30).text
        self.stored = int(_metric(page, 'sparkle_readings_total{plugin="Temperature"}'))
        self.longest = max(self.longest, _metric(page, "sparkle_seconds_since_stored"))


def measure(
    folder: Path,
    kafka: KafkaBroker,
    workspace: Workspace,
    collector: Collector,
    url: str,
    rows: int,
    rate: int | None = None,
) -> dict[str, Any]:
    """Store old readings and their aggregates in SQL, then have ``retain`` delete them beside a worker.

    Arguments:
        rows: number of old readings.
        rate: new readings per second; None: as many as the worker can store.

    Raises:
        AssertionError: if a reading was lost or stored twice, an old one is left, or ``verify`` finds a difference.
    """
    # The worker itself would not begin before the end of the measurement.
    environment = workspace.environment(
        kafka.bootstrap,
        url,
        retention__readings="1d",
        retention__buckets="1d",
        retention__interval_seconds=86_400,
    )
    worker = Worker(environment, folder / "worker.log")
    engine = make_engine(make_url(url), for_command=True)
    try:
        worker.start()
        worker.wait_ready()
        began = time.perf_counter()
        hosts = fill(engine, rows)
        filled = time.perf_counter() - began
        before = size(engine)
        with _load(kafka, workspace, collector, worker, rate) as load:
            alone = _run_alone(load)
            stored, began = load.stored, time.perf_counter()
            done = run_command(environment, "retain", "--plugin", "Temperature", seconds=_COMMAND_SECONDS)
            took = time.perf_counter() - began
            assert done.returncode == 0, done.stdout + done.stderr
            meanwhile, longest = load.stored - stored, load.longest
        _wait_counted(engine, load.produced)
        _check(engine, hosts, rows, load.produced)
        verified = run_command(environment, "verify", "--plugin", "Temperature", seconds=_COMMAND_SECONDS)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        return {
            "rows": rows,
            "fill_seconds": filled,
            "retain_seconds": took,
            "stall": longest,
            **alone,
            "rate": meanwhile / took,
            "lost": 0,
            "doubled": 0,
            "mb_before": before / 1e6,
            "mb_after": size(engine) / 1e6,
        }
    finally:
        worker.kill()
        engine.dispose()


def fill(engine: Engine, rows: int) -> list[str]:
    """Store readings of the days before yesterday, and their aggregates in buckets; returns the hosts."""
    names = [f"old-{number}" for number in range(HOSTS)]
    days = max(1, round(rows / ROWS_A_DAY))
    start = span((int(time.time()) // DAY - 1 - days) * DAY)
    values = {"hosts": HOSTS, "start": start, "step": span(days * DAY) // rows}
    table = "temperature_readings_data"
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        create_series(
            connection, [(name, f"core/{each}") for name in names for each in range(METRICS)], READINGS
        )
        create_sources(connection, [(1, "old", partition, True) for partition in range(8)])
    for first in range(0, rows, _PART):
        with engine.begin() as connection:
            if is_sqlite:
                connection.execute(text("PRAGMA cache_size = -500000"))
            part = {"first": first, "last": min(rows, first + _PART), **values}
            connection.execute(
                text(f"INSERT INTO {table} ({_ROWS}) {_SQLITE if is_sqlite else _POSTGRESQL}"), part
            )
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    for name in names:
        with engine.begin() as connection:
            plugin.fill_aggregates(connection, [name], 60, start, start + span(days * DAY))
    if not is_sqlite:
        # As autovacuum would have done.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    return names


def size(engine: Engine) -> int:
    """Bytes of the database, without a write-ahead log."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return _number(
                connection, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
            )
        return _number(connection, "SELECT pg_database_size(current_database())")


@contextmanager
def _load(
    kafka: KafkaBroker, workspace: Workspace, collector: Collector, worker: Worker, rate: int | None
) -> Iterator[Load]:
    """Readings are sent at a rate, or records wait for the worker at any time. At the end, it has stored all."""
    load, stop = Load(worker), threading.Event()
    began = time.monotonic()
    failed: list[object] = []

    def produce() -> None:
        # One producer for all of them: a new one waits half a second for the broker, and the worker for records.
        producer = Producer(
            {"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, "enable.idempotence": True}
        )
        while not stop.wait(_SEND_SECONDS):
            wanted = int(rate * (time.monotonic() - began)) if rate else load.stored + _BACKLOG
            for n in range(load.produced, wanted):
                metric = f"core/{n // 200 % METRICS}"
                record = collector.record(f"new-{n % 200}", "Temperature", metric, 20 + n % 64 / 4)
                producer.produce(workspace.topic, record, on_delivery=note)
            load.produced = max(load.produced, wanted)
            producer.poll(0)
        if producer.flush(60):
            failed.append("the broker did not acknowledge all readings within 60 s")

    def note(error: object, _message: object) -> None:
        if error:
            failed.append(error)

    def poll() -> None:
        try:
            while not stop.wait(_POLL_SECONDS):
                load.poll()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=each) for each in (produce, poll)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, str(failed[0])


def _run_alone(load: Load) -> dict[str, float]:
    """The figures of the worker without retention."""
    deadline = time.monotonic() + 120
    while not load.stored:
        assert time.monotonic() < deadline, "the worker has stored nothing"
        time.sleep(_POLL_SECONDS)
    # Caches warm up.
    time.sleep(_BASELINE_SECONDS / 2)
    load.longest, stored = 0.0, load.stored
    time.sleep(_BASELINE_SECONDS)
    found = {"stall_alone": load.longest, "rate_alone": (load.stored - stored) / _BASELINE_SECONDS}
    load.longest = 0.0
    return found


def _wait_counted(engine: Engine, number: int) -> None:
    deadline = time.monotonic() + 300
    statement = (
        "SELECT sum(a.count) FROM temperature_aggregates a WHERE resolution = 60 AND hostname LIKE 'new-%'"
    )
    counted = -1
    while counted != number:
        assert time.monotonic() < deadline, f"expected {number} counted readings, found {counted}"
        time.sleep(1)
        with engine.connect() as connection:
            counted = _number(connection, statement)


def _check(engine: Engine, hosts: list[str], rows: int, produced: int) -> None:
    with engine.connect() as connection:
        stored = _number(connection, "SELECT count(*) FROM temperature_readings")
        assert stored == produced, f"expected {produced} readings, each once, and no old ones; found {stored}"
    plugin = load_plugins(PROJECT / "plugins").installed["Temperature"].plugin
    for resolution, expected in ((60, 0), (HOUR, rows), (DAY, rows)):
        with engine.connect() as connection:
            found = plugin.load_aggregates(connection, hosts, None, resolution, 0, LATEST)
            counted = sum(row.statistics.count for row in found)
        assert counted == expected, (
            f"resolution {resolution}: expected {expected} counted readings, found {counted}"
        )


def _number(connection: Connection, statement: str) -> int:
    return int(connection.execute(text(statement)).scalar() or 0)


def _metric(page: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)", page, re.MULTILINE)
    assert found, f"no metric {name}"
    return float(found[1])
