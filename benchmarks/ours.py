"""The handler itself, as it is shipped: from Kafka to raw rows and aggregates in SQL."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from benchmarks.backlog import produce_backlog, suspended, wait_joined, warm_and_measured
from tests.support.kafka import KafkaBroker
from tests.support.worker import Worker, Workspace

PARTITIONS = 8
"""As in settings.yaml."""
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
    environment = workspace.environment(kafka.bootstrap, url, broker__partitions=PARTITIONS)
    team = [Worker(environment, folder / f"worker-{number}.log") for number in range(workers)]
    try:
        for worker in team:
            worker.start()
        for worker in team:
            worker.wait_ready()
        wait_joined(
            kafka.bootstrap, workspace.app_id, workers, lambda: all(each.process.running for each in team)
        )
        with create_engine(url).connect() as connection:
            warm, measured = warm_and_measured(records)
            produce_backlog(kafka.bootstrap, workspace.topic, warm)
            _wait_counted(connection, team, len(warm))
            with suspended([worker.process.pid for worker in team]):
                produce_backlog(kafka.bootstrap, workspace.topic, measured)
                spent, started = _spent(kafka, team, server), time.perf_counter()
            _wait_counted(connection, team, len(records))
            took = time.perf_counter() - started
            of_workers, of_broker, of_database = (
                1000 * (after - before) / len(measured)
                for after, before in zip(_spent(kafka, team, server), spent, strict=True)
            )
            stored = _sum(connection, "SELECT count(*) FROM temperature_readings")
            assert stored == len(records), f"expected {len(records)} rows, found {stored}"
        memory = max(psutil.Process(each.process.pid).memory_info().rss for each in team) / 1e6
        return Measured(len(measured) / took, of_workers, of_broker, of_database, memory)
    finally:
        for worker in team:
            worker.kill()


def _wait_counted(connection: Connection, team: list[Worker], number: int) -> None:
    """Wait until durable aggregates have counted so many readings, which were raw rows before."""
    deadline = time.monotonic() + PATIENCE
    while (counted := _sum(connection, 'SELECT sum("count") FROM temperature_aggregates')) < number:
        assert time.monotonic() < deadline, f"{counted} of {number} were counted; {team[0].process.tail()}"
        time.sleep(0.2)
    assert counted == number, f"expected {number} counted readings, found {counted}"


def _spent(kafka: KafkaBroker, team: list[Worker], server: int | None) -> tuple[float, float, float]:
    """CPU seconds of workers, broker and database since they were started."""
    workers = sum(_cpu(worker.process.pid) for worker in team)
    return workers, _cpu(kafka.process.pid), _cpu(server) if server else 0.0


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
