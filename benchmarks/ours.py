"""Measures the handler, from Kafka to stored readings and aggregates in SQL."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import requests
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from benchmarks.backlog import produce_backlog, suspended, wait_done, wait_joined, warm_and_measured
from tests.support.kafka import KafkaBroker
from tests.support.worker import Worker, Workspace

PARTITIONS = 8
"""The default of ``broker.partitions``."""
TIMEOUT_SECONDS = 900
ROWS = "SELECT count(*) FROM temperature_readings"
Watch = Callable[[list[Worker], Event], Any]
"""Runs in a thread beside the workers, until the event is set."""


@dataclass(frozen=True)
class Measured:
    """The figures of a run."""

    rate: float
    """Readings per second, until the last one is stored, and counted in an aggregate in SQL."""
    decrypting: float
    worker: float
    broker: float
    database: float
    """CPU seconds per 1,000 readings: of the decryption pools, of the workers without them (including SQLite), of Kafka
    and of PostgreSQL."""
    memory: float
    """Memory of the largest worker at the end, including its decryption pool, in MB."""
    stages: dict[str, float]
    """Seconds that batches spent in each stage, per 1,000 readings. Stages overlap."""
    watched: Any = None
    """The result of the watch function."""


def measure(
    folder: Path, kafka: KafkaBroker, workspace: Workspace, records: list[bytes], url: str, worker_count: int,
    multibuffer: bool = False, server: int | None = None, watch: Watch | None = None,
    prefill: Callable[[Connection], None] | None = None,
) -> Measured:  # fmt: skip
    """Process a backlog.

    Arguments:
        multibuffer: use multi-buffer RSA.
        server: process id of the database server; None for SQLite.
        watch: runs while the backlog is processed.
        prefill: prepares the database before.

    Raises:
        AssertionError: if the stored readings or the aggregates are not complete in the end.
    """
    environment = workspace.environment(
        kafka.bootstrap, url, broker__partitions=PARTITIONS, ingest__multibuffer=multibuffer
    )
    workers = [Worker(environment, folder / f"worker-{number}.log") for number in range(worker_count)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.wait_ready()
        wait_joined(
            kafka.bootstrap,
            workspace.app_id,
            worker_count,
            lambda: all(each.process.running for each in workers),
        )
        with create_engine(url).connect() as connection, ThreadPoolExecutor(1) as beside:
            if prefill:
                prefill(connection)
            before = _sum(connection, ROWS)
            warm, measured = warm_and_measured(records)
            produce_backlog(kafka.bootstrap, workspace.topic, warm)
            _wait_counted(connection, workers, len(warm))
            done = Event()
            with suspended([worker.process.pid for worker in workers]):
                produce_backlog(kafka.bootstrap, workspace.topic, measured)
                spent, started = _spent(kafka, workers, server), time.perf_counter()
            stages = _stages(workers)
            watching = beside.submit(watch, workers, done) if watch else None
            try:
                _wait_counted(connection, workers, len(records))
                took = time.perf_counter() - started
                spent_after = _spent(kafka, workers, server)
            finally:
                done.set()
            share = 1000 / len(measured)
            decrypting, worker_alone, broker, database = (
                share * (after - before) for before, after in zip(spent, spent_after, strict=True)
            )
            stored = _sum(connection, ROWS) - before
            assert stored == len(records), f"expected {len(records)} rows, found {stored}"
            return Measured(
                rate=len(measured) / took,
                decrypting=decrypting,
                worker=worker_alone,
                broker=broker,
                database=database,
                memory=max(map(memory, workers)),
                stages={name: share * (after - stages[name]) for name, after in _stages(workers).items()},
                watched=watching.result() if watching else None,
            )
    finally:
        for worker in workers:
            worker.kill()


def _wait_counted(connection: Connection, workers: list[Worker], number: int) -> None:
    """Wait until the aggregates in SQL count ``number`` readings."""
    deadline = time.monotonic() + TIMEOUT_SECONDS

    def check(counted: int) -> None:
        assert time.monotonic() < deadline, f"{counted} of {number} were counted; {workers[0].process.tail()}"

    statement = "SELECT sum(a.count) FROM temperature_aggregates a WHERE a.resolution = 60"
    counted = wait_done(lambda: _sum(connection, statement), number, check)
    assert counted == number, f"expected {number} counted readings, found {counted}"


def memory(worker: Worker) -> float:
    """Memory of a worker and its decryption pool in MB. Shared memory is counted once."""
    process = psutil.Process(worker.process.pid)
    return sum(each.memory_full_info().pss for each in [process, *process.children()]) / 1e6


def _stages(workers: list[Worker]) -> dict[str, float]:
    """Seconds that batches have spent in each stage, from the Prometheus metrics of the workers."""
    seconds: dict[str, float] = {}
    for worker in workers:
        text = requests.get(f"{worker.url}/metrics", timeout=10).text
        for name, value in re.findall(
            r'^sparkle_stage_seconds_sum\{stage="([^"]+)"\} (\S+)', text, re.MULTILINE
        ):
            seconds[name] = seconds.get(name, 0) + float(value)
    return seconds


def _spent(
    kafka: KafkaBroker, workers: list[Worker], server: int | None
) -> tuple[float, float, float, float]:
    """CPU seconds since the start: decryption pools, workers without them, broker, database."""
    pids = [worker.process.pid for worker in workers]
    decrypting = sum(_cpu(child.pid) for pid in pids for child in psutil.Process(pid).children())
    rest = sum(map(_cpu, pids)) - decrypting
    return decrypting, rest, _cpu(kafka.process.pid), _cpu(server) if server else 0.0


def _sum(connection: Connection, statement: str) -> int:
    try:
        found = connection.execute(text(statement)).scalar()
    except DBAPIError as error:
        if not any(each in str(error) for each in ("no such table", "does not exist", "doesn't exist")):
            raise
        found = 0
    connection.rollback()
    return int(found or 0)


def _cpu(pid: int) -> float:
    """CPU seconds of a process and its children, including those that have ended."""
    process = psutil.Process(pid)
    seconds = 0.0
    for child in process.children(recursive=True):
        # A child that ends meanwhile, such as a vacuum process, is included in the times of ended children below.
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system
    own = process.cpu_times()
    return seconds + sum((own.user, own.system, own.children_user, own.children_system))
