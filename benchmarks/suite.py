"""All measurements of ``make bench``, in order, with their names."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from threading import Event
from typing import Any

from benchmarks import (
    clients,
    latency,
    limit,
    others,
    ours,
    overview,
    painting,
    retention,
    series,
    state,
    viewers,
)
from benchmarks.backlog import WARM, readings
from benchmarks.capacity import decryption_seconds
from benchmarks.history import raw_rows, slow_inserts
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.worker import PROJECT, Worker, Workspace

Figures = dict[str, Any]
Measurement = tuple[str, Callable[[], Figures]]
SHAPES = ((200, 16), (5000, 2))
"""Number of hosts, and of metrics of each host."""
DATABASES = ("SQLite", "PostgreSQL")
RATE = 500
"""Readings per second of a worker that is not busy."""
ROWS_AT_FULL_LOAD = 1_000_000
"""That are deleted beside a worker at full load, at most: there, ten times as many take an hour."""
MULTIBUFFER = " with multi-buffer RSA"
CORES = os.cpu_count() or 1
_HEADROOM = 1.25
QUIX = PROJECT / ".cache" / "quix" / "bin" / "python"
"""Where ``make bench`` installs Quix Streams, whose requirements conflict with those of the handler."""


class Suite:
    """All measurements of a run, with the same servers.

    Arguments:
        folder: an empty folder.
        number: number of readings in each backlog.
    """

    def __init__(self, folder: Path, kafka: KafkaBroker, postgres: PostgresServer, number: int) -> None:
        self._folder = folder
        self._kafka = kafka
        self._postgres = postgres
        self._number = number
        self._runs = 0

    def rates(self) -> Iterator[Measurement]:
        """Measurements that are repeated: the decryption pool, other programs, and the handler."""
        variants = (False, True) if limit.multibuffer() else (False,)
        for multibuffer in variants:
            yield (
                f"decryption pool{MULTIBUFFER * multibuffer} alone",
                partial(self._pool, multibuffer),
            )
        for processes in (CORES, CORES + 1):
            name = f"hand-written loop, {processes} processes, SQLite, no aggregates"
            yield name, partial(self._other, "hand_written", processes)
        if QUIX.exists():
            yield (
                f"Quix Streams, {CORES} processes, SQLite",
                partial(self._other, "quix", CORES, python=str(QUIX), aggregates=True),
            )
        yield (
            "method of the earlier handler, SQLite, no aggregates",
            partial(self._other, "earlier", 1, share=0.01),
        )
        for (hosts, metrics), workers, database in product(SHAPES, (1, 2, 4), DATABASES):
            yield self._rate("handler", hosts, metrics, workers, database)
        if len(variants) > 1:
            for ((hosts, metrics), workers), database in product(
                ((SHAPES[0], 1), (SHAPES[0], 2), (SHAPES[1], 1)), DATABASES
            ):
                yield self._rate(f"handler{MULTIBUFFER}", hosts, metrics, workers, database, multibuffer=True)

    def once(self, rows: list[int], flood: int) -> Iterator[Measurement]:
        """Measurements that run once: latency, growth, backpressure, state.

        Arguments:
            rows: numbers of readings that are stored before.
            flood: number of readings in the backlog of the backpressure measurement.
        """
        for database in DATABASES:
            yield f"latency at {RATE}/s, {database}", partial(self._latency, database)
            yield (
                f"answers under full load, {database}",
                partial(self._ours, database, *SHAPES[0], watch=latency.answers),
            )
        for database in DATABASES:
            yield (
                f"{clients.IDLE} idle and {clients.SLOW} slow clients, hostile hostnames, {database}",
                partial(self._clients, database),
            )
        for hosts in (50, 500, 5000, 50_000):
            # Enough for every host to occur in the measured part.
            number = max(self._number, int(2 * hosts / (1 - WARM)) + 2)
            yield (
                f"growth, {hosts} hosts x 2",
                partial(self._ours, "SQLite", hosts, 2, number=number),
            )
        for number in rows:
            for database in DATABASES:
                yield (
                    f"growth, {number} raw rows before, {database}",
                    partial(self._ours, database, *SHAPES[0], prefill=raw_rows(number)),
                )
        yield (
            f"backpressure, {flood} readings wait",
            partial(self._ours, "SQLite", *SHAPES[0], number=flood, watch=memory_curve),
        )
        yield (
            "backpressure, PostgreSQL sleeps half a second in each insert",
            partial(self._ours, "PostgreSQL", *SHAPES[0], watch=memory_curve, prefill=slow_inserts),
        )
        few = [number for number in rows if number <= ROWS_AT_FULL_LOAD]
        for number, database in product(sorted(few)[-1:], DATABASES):
            yield f"retention of {number} readings, {database}", partial(self._retention, database, number)
        for number, database in product(sorted(rows)[-1:], DATABASES):
            name = f"retention of {number} readings at {RATE}/s, {database}"
            yield name, partial(self._retention, database, number, rate=RATE)
        for hosts in (1000, 10_000):
            yield f"painting {hosts} hosts x 16", partial(self._painting, hosts)
            yield f"viewers of {hosts} hosts x 16 under full load, SQLite", partial(self._viewers, hosts)
        yield "state, 10000 hosts x 16 x 1 h", self._state
        yield "series of 24 metrics, PostgreSQL, 100 hosts", partial(self._series, 100)
        for hosts, number in ((1000, 10), (10_000, 1), (10_000, 10), (10_000, 100)):
            yield (
                f"overview, {hosts} hosts x 16, {number} viewers",
                partial(self._overview, hosts, number),
            )

    def _rate(
        self, program: str, hosts: int, metrics: int, workers: int, database: str, **how: Any
    ) -> Measurement:
        plural = "s" * (workers > 1)
        return (
            f"{program}, {database}, {workers} worker{plural}, {hosts} hosts x {metrics}",
            partial(self._ours, database, hosts, metrics, workers=workers, **how),
        )

    def _pool(self, multibuffer: bool) -> Figures:
        workspace, collector = self._workspace()
        records = list(readings(collector, 30_000, *SHAPES[0]))
        return {"rate": limit.pool(workspace.certs, workspace.plugins, records, multibuffer)}

    def _ours(
        self,
        database: str,
        hosts: int,
        metrics: int,
        *,
        workers: int = 1,
        number: int = 0,
        name: Callable[[int], str] = "host-{:05}".format,
        **how: Any,
    ) -> Figures:
        workspace, collector = self._workspace()
        url = self._url(database, workspace)
        server = self._postgres.process.pid if database == "PostgreSQL" else None
        records = list(readings(collector, number or self._number, hosts, metrics, name))
        folder = workspace.folder
        return vars(ours.measure(folder, self._kafka, workspace, records, url, workers, server=server, **how))

    def _clients(self, database: str) -> Figures:
        """``share`` of the rate without the clients, the mean of before and after; and how much more CPU time the
        decryption pool takes, which no client reaches, and the rest of the worker, in percent of both without them.
        """
        alone = [self._ours(database, *SHAPES[0])]
        found = self._ours(database, *SHAPES[0], watch=clients.beside, name=clients.hostile_name)
        alone.append(self._ours(database, *SHAPES[0]))
        rate = mean(each["rate"] for each in alone)
        cpu = mean(each["decrypting"] + each["worker"] for each in alone)
        more = {
            f"{part}_more": 100 * (found[part] - mean(each[part] for each in alone)) / cpu
            for part in ("decrypting", "worker")
        }
        share = {"share": found["rate"] / rate, **more}
        spread = max(each["rate"] for each in alone) / min(each["rate"] for each in alone)
        return {**found, "alone": rate, "alone_spread": spread, **share}

    def _latency(self, database: str) -> Figures:
        workspace, collector = self._workspace()
        url = self._url(database, workspace)
        return latency.to_sql_and_http(workspace, collector, self._kafka, url, ours.PARTITIONS, RATE, 30)

    def _retention(self, database: str, rows: int, rate: int | None = None) -> Figures:
        workspace, collector = self._workspace()
        url = self._url(database, workspace)
        return retention.measure(workspace.folder, self._kafka, workspace, collector, url, rows, rate)

    def _state(self) -> Figures:
        workspace, _ = self._workspace()
        url = self._url("SQLite", workspace)
        return state.measure(workspace, self._kafka, url, 10_000, 16, 60, ours.PARTITIONS)

    def _overview(self, hosts: int, viewers: int) -> Figures:
        workspace, _ = self._workspace()
        return overview.measure(workspace.folder, hosts, 16, viewers, 60)

    def _painting(self, hosts: int) -> Figures:
        workspace, _ = self._workspace()
        return painting.measure(workspace.folder, hosts, 16)

    def _viewers(self, hosts: int) -> Figures:
        workspace, collector = self._workspace()
        metrics = 16
        warm = hosts * metrics // 2
        # CPU time: on a busy machine, rates vary. It may be less busy later.
        number = warm + int(_HEADROOM * CORES / decryption_seconds() * viewers.SECONDS)
        records = readings(collector, number, hosts, metrics)
        url = self._url("SQLite", workspace)
        return viewers.measure(workspace.folder, self._kafka, workspace, url, records, warm)

    def _series(self, hosts: int) -> Figures:
        workspace, _ = self._workspace()
        return series.measure(self._url("PostgreSQL", workspace), hosts, 500)

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

    def _url(self, database: str, workspace: Workspace) -> str:
        if database == "PostgreSQL":
            return self._postgres.create_database(workspace.app_id)
        return f"sqlite:///{workspace.folder / 'readings.sqlite3'}"

    def _workspace(self) -> tuple[Workspace, Collector]:
        self._runs += 1
        folder = self._folder / str(self._runs)
        folder.mkdir()
        workspace = Workspace(folder)
        return workspace, Collector(workspace.certs)


def memory_curve(workers: list[Worker], done: Event) -> list[tuple[float, float]]:
    """Memory of a worker in MB, once per second, with the seconds since the start.

    Raises:
        AssertionError: if the worker does not send heartbeats meanwhile.
    """
    started, curve = time.monotonic(), []
    while not done.wait(1):
        curve.append((time.monotonic() - started, ours.memory(workers[0])))
        _, health = workers[0].get("/health/ready")
        assert health["checks"]["broker"] == "ok", f"expected the broker check to be ok, found {health}"
    return curve
