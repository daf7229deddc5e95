"""``python -m benchmarks --readings 20000 --repeat 3``: measures side by side, and prints a table."""

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import hand_written, limit, ours
from benchmarks.backlog import produce_backlog, readings
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.processes import Process
from tests.support.worker import PROJECT, Workspace

Figures = dict[str, float]
SHAPES = ((200, 16), (5000, 2))
"""Hosts, and metrics of each."""
CORES = os.cpu_count() or 1


class Bench:
    """Everything that is measured once, in one sitting, on the same servers.

    Arguments:
        folder: an empty one.
        number: readings of each backlog.
    """

    def __init__(self, folder: Path, kafka: KafkaBroker, postgres: PostgresServer, number: int) -> None:
        self._folder = folder
        self._kafka = kafka
        self._postgres = postgres
        self._number = number
        self._runs = 0

    def measurements(self) -> Iterator[tuple[str, Callable[[], Figures]]]:
        """Name and measurement; every figure in the order of the table."""
        yield f"openssl speed, {CORES} processes", lambda: {"rate": limit.openssl(CORES)}
        yield "the handler's pool, nothing else to do", self._pool
        yield f"hand-written loop, {CORES} processes, SQLite, no aggregates", self._hand_written
        for hosts, metrics in SHAPES:
            shape = f"{hosts} hosts x {metrics}"
            for workers in (1, 2, 4):
                for database in ("SQLite", "PostgreSQL"):
                    name = f"handler, {database}, {workers} worker{'s' * (workers > 1)}, {shape}"
                    yield name, lambda d=database, w=workers, h=hosts, m=metrics: self._ours(d, w, h, m)  # type: ignore[misc]

    def _pool(self) -> Figures:
        workspace, collector = self._workspace()
        return {"rate": limit.pool(workspace.certs, list(readings(collector, 4000, *SHAPES[0])))}

    def _ours(self, database: str, workers: int, hosts: int, metrics: int) -> Figures:
        workspace, collector = self._workspace()
        server = None
        url = f"sqlite:///{workspace.folder / 'readings.sqlite3'}"
        if database == "PostgreSQL":
            url = self._postgres.create_database(workspace.app_id)
            server = self._postgres.process.pid
        records = list(readings(collector, self._number, hosts, metrics))
        measured = ours.measure(workspace.folder, self._kafka, workspace, records, url, workers, server)
        return vars(measured)

    def _hand_written(self) -> Figures:
        workspace, collector = self._workspace()
        records = list(readings(collector, self._number, *SHAPES[0]))
        produce_backlog(self._kafka.bootstrap, workspace.topic, ours.PARTITIONS, records)
        database = workspace.folder / "hand-written.sqlite3"
        with sqlite3.connect(database) as connection:
            connection.execute(hand_written.TABLE)
        command = [sys.executable, "-m", "benchmarks.hand_written", self._kafka.bootstrap, workspace.topic]
        command += [str(workspace.certs / f"rsa_key_{collector.config_id}"), str(database)]
        team = [
            Process(f"loop {number}", command, workspace.folder / f"loop-{number}.log", folder=PROJECT)
            for number in range(CORES)
        ]
        try:
            for process in team:
                process.start()
            while (before := _rows(database)) < ours.WARM * self._number:
                time.sleep(0.1)
            started = time.perf_counter()
            while _rows(database) < self._number:
                assert all(process.running for process in team), team[0].tail()
                time.sleep(0.1)
            return {"rate": (self._number - before) / (time.perf_counter() - started)}
        finally:
            for process in team:
                process.kill()

    def _workspace(self) -> tuple[Workspace, Collector]:
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        workspace = Workspace(folder)
        return workspace, Collector(workspace.certs)


def main() -> None:
    """Print the table, and write every figure to the file of ``--json``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--readings", type=int, default=20_000, help="of each backlog")
    parser.add_argument("--repeat", type=int, default=3, help="times that everything is measured")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="takes every figure")
    parser.add_argument("--only", default="", help="measure only what has this in its name, and the limit")
    options = parser.parse_args()
    results: dict[str, list[Figures]] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparkle-bench-")))
        (folder / "kafka").mkdir()
        kafka = KafkaBroker(folder / "kafka", memory="1g")
        stack.callback(kafka.kill)
        kafka.start()
        postgres = PostgresServer(folder, fsync=True)
        stack.callback(postgres.remove)
        postgres.start()
        bench = Bench(folder, kafka, postgres, options.readings)
        for turn in range(options.repeat):
            for number, (name, measure) in enumerate(bench.measurements()):
                if number and options.only not in name:
                    continue
                results.setdefault(name, []).append(measure())
                rate = results[name][-1]["rate"]
                print(f"{turn + 1}/{options.repeat}  {name}: {rate:,.0f}/s", file=sys.stderr, flush=True)
    options.json.write_text(json.dumps({"cores": CORES, "results": results}, indent=1) + "\n")
    print(table(results))


def table(results: dict[str, list[Figures]]) -> str:
    """Medians and spreads, and each rate as a share of the first row's in the same turn."""
    lines = [
        "| | readings/s | of the limit | spread | worker | broker | database | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    limits = [figures["rate"] for figures in next(iter(results.values()))]
    for name, turns in results.items():
        rates = [figures["rate"] for figures in turns]
        shares = [rate / most for rate, most in zip(rates, limits, strict=True)]
        cells = [f"{statistics.median(rates):,.0f}", f"{statistics.median(shares):.0%}"]
        cells.append(f"{min(shares):.0%} to {max(shares):.0%}")
        for key, unit in (("worker", " s"), ("broker", " s"), ("database", " s"), ("memory", " MB")):
            found = [figures[key] for figures in turns if key in figures]
            digits = 0 if key == "memory" else 2
            cells.append(f"{statistics.median(found):.{digits}f}{unit}" if found else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rows(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM readings").fetchone()[0])


if __name__ == "__main__":
    main()
