"""``python -m benchmarks --readings 20000 --repeat 3``: measures side by side, and prints a table."""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import limit, others, ours
from benchmarks.backlog import readings
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.worker import PROJECT, Workspace

Figures = dict[str, float]
SHAPES = ((200, 16), (5000, 2))
"""Hosts, and metrics of each."""
CORES = os.cpu_count() or 1
QUIX = PROJECT / ".cache" / "quix" / "bin" / "python"
"""Where ``make bench`` puts Quix Streams, which cannot be installed beside the handler."""


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
        for processes in (CORES, CORES + 1):
            name = f"hand-written loop, {processes} processes, SQLite, no aggregates"
            yield name, lambda number=processes: self._other("hand_written", number)  # type: ignore[misc]
        if QUIX.exists():
            yield (
                f"Quix Streams, {CORES} processes, SQLite",
                lambda: self._other("quix", CORES, python=str(QUIX), aggregates=True),
            )
        yield (
            "the earlier handler's way, SQLite, no aggregates",
            lambda: self._other("earlier", 1, share=0.03),
        )
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

    def _other(
        self,
        program: str,
        processes: int,
        *,
        share: float = 1,
        python: str = sys.executable,
        aggregates: bool = False,
    ) -> Figures:
        workspace, collector = self._workspace()
        records = list(readings(collector, int(share * self._number), *SHAPES[0]))
        rate = others.measure(
            workspace, self._kafka, program, records, processes, ours.PARTITIONS, python, aggregates
        )
        return {"rate": rate}

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


if __name__ == "__main__":
    main()
