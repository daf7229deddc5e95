"""The handler itself, as it is shipped: from Kafka to raw rows and aggregates in SQL."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from benchmarks.backlog import produce_backlog
from tests.support.kafka import KafkaBroker
from tests.support.worker import Worker, Workspace

PARTITIONS = 8
"""As in settings.yaml."""
WARM = 0.15
"""The share of the backlog that is not measured: while it is worked off, workers start and share the partitions."""
PATIENCE = 300


@dataclass(frozen=True)
class Measured:
    """What a run took."""

    rate: float
    """Readings a second, until the last was a raw row and counted in a durable aggregate."""
    worker: float
    broker: float
    database: float
    """CPU seconds for 1,000 readings; the database's is the worker's own for SQLite."""
    memory: float
    """Of the largest worker at the end, MB."""


def measure(
    folder: Path, kafka: KafkaBroker, workspace: Workspace, records: list[bytes], url: str, workers: int,
    server: int | None = None,
) -> Measured:  # fmt: skip
    """Work off a backlog.

    Arguments:
        server: process of the database; None for SQLite.

    Raises:
        AssertionError: when rows or aggregates are not those of the backlog in the end.
    """
    produce_backlog(kafka.bootstrap, workspace.topic, PARTITIONS, records)
    environment = workspace.environment(kafka.bootstrap, url, broker__partitions=PARTITIONS)
    team = [Worker(environment, folder / f"worker-{number}.log") for number in range(workers)]
    try:
        for worker in team:
            worker.start()
        with create_engine(url).connect() as connection:
            return _watch(connection, kafka, team, len(records), server)
    finally:
        for worker in team:
            worker.kill()


def _watch(
    connection: Connection, kafka: KafkaBroker, team: list[Worker], number: int, server: int | None
) -> Measured:
    def cpu() -> tuple[float, float, float]:
        return (
            sum(_cpu(worker.process.pid) for worker in team),
            _cpu(kafka.process.pid),
            _cpu(server) if server else 0.0,
        )

    deadline = time.monotonic() + PATIENCE
    while (before := _sum(connection, "SELECT count(*) FROM temperature_readings")) < WARM * number:
        assert time.monotonic() < deadline, f"nothing came; {team[0].process.tail()}"
        time.sleep(0.1)
    assert before < number, f"all {number} readings were stored at once: use more"
    started, spent = time.perf_counter(), cpu()
    while _sum(connection, 'SELECT sum("count") FROM temperature_aggregates') < number:
        assert time.monotonic() < deadline, f"not all were counted; {team[0].process.tail()}"
        time.sleep(0.1)
    took, readings = time.perf_counter() - started, number - before
    worker, broker, database = (
        1000 * (after - earlier) / readings for after, earlier in zip(cpu(), spent, strict=True)
    )
    stored = _sum(connection, "SELECT count(*) FROM temperature_readings")
    counted = _sum(connection, 'SELECT sum("count") FROM temperature_aggregates')
    assert stored == counted == number, f"expected {number}, found {stored} rows, {counted} counted"
    memory = max(psutil.Process(each.process.pid).memory_info().rss for each in team) / 1e6
    return Measured(readings / took, worker, broker, database, memory)


def _sum(connection: Connection, statement: str) -> int:
    try:
        found = connection.execute(text(statement)).scalar()
    except DBAPIError as error:
        if "no such table" not in str(error) and "does not exist" not in str(error):
            raise
        found = 0
    connection.rollback()
    return int(found or 0)


def _cpu(pid: int) -> float:
    """CPU seconds of a process and its children, also those that have ended."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    children = (child.cpu_times() for child in process.children(recursive=True))
    return sum((own.user, own.system, own.children_user, own.children_system)) + sum(
        times.user + times.system for times in children
    )
