"""Measures programs that do the same work, or part of it, with SQLite: hand_written, earlier, quix."""

import contextlib
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.backlog import produce_backlog, suspended, wait_done, wait_joined, warm_and_measured
from tests.support.kafka import KafkaBroker
from tests.support.processes import Process
from tests.support.produce import create_topic
from tests.support.worker import PROJECT, Workspace

GROUP = "benchmark"
READINGS = "CREATE TABLE readings (id BLOB PRIMARY KEY, host TEXT, metric TEXT, value REAL, at TEXT)"
AGGREGATES = (
    "CREATE TABLE aggregates (key TEXT, start INTEGER, count INTEGER, sum REAL, minimum REAL, maximum REAL, last REAL,"
    " PRIMARY KEY (key, start))"
)


def measure(
    workspace: Workspace, kafka: KafkaBroker, program: str, records: Sequence[bytes], processes: int,
    partitions: int, python: str = sys.executable, aggregates: bool = False,
) -> float:  # fmt: skip
    """Readings per second until all are in SQL.

    Arguments:
        program: name of a module in this folder.
        python: the interpreter of the environment that the program needs.
        aggregates: whether it must have aggregated all readings as well.
    """
    group, topic = f"{GROUP}-{workspace.app_id}", workspace.topic
    database = workspace.folder / "others.sqlite3"
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(READINGS)
        connection.execute(AGGREGATES)
    key = next(workspace.certs.glob("rsa_key_*"))
    command = [python, f"{PROJECT}/benchmarks/{program}.py"]
    command += [kafka.bootstrap, group, topic, str(key), str(database)]
    create_topic(kafka.bootstrap, topic, partitions)
    programs = [
        Process(
            f"{program} {number}",
            command,
            workspace.folder / f"{number}.log",
            folder=_folder(workspace, number),
        )
        for number in range(processes)
    ]

    def running() -> bool:
        return all(process.running for process in programs)

    try:
        for process in programs:
            process.start()
        wait_joined(kafka.bootstrap, group, processes, running)
        with contextlib.closing(sqlite3.connect(database)) as connection:

            def done() -> int:
                stored = _rows(connection, "count(*) FROM readings")
                return min(stored, _rows(connection, "sum(count) FROM aggregates")) if aggregates else stored

            def check(_: int) -> None:
                assert running(), programs[0].tail()

            def wait_stored(number: int) -> None:
                wait_done(done, number, check)

            warm, measured = warm_and_measured(records)
            produce_backlog(kafka.bootstrap, topic, warm)
            wait_stored(len(warm))
            with suspended([process.pid for process in programs]):
                produce_backlog(kafka.bootstrap, topic, measured)
                started = time.perf_counter()
            wait_stored(len(records))
        return len(measured) / (time.perf_counter() - started)
    finally:
        for process in programs:
            process.kill()


def _folder(workspace: Workspace, number: int) -> Path:
    """A new working directory of a process."""
    folder = workspace.folder / f"process-{number}"
    folder.mkdir()
    return folder


def _rows(connection: sqlite3.Connection, what: str) -> int:
    return int(connection.execute(f"SELECT {what}").fetchone()[0] or 0)
