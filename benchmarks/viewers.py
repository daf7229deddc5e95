"""The rate of a worker with a backlog while people look at the overview, compared with that while nobody does."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import mean

import psutil
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.backlog import produce_backlog
from benchmarks.ours import PARTITIONS
from sparkle_app.web.snapshots.refreshed import IDLE_SECONDS, MAX_REFRESH_SECONDS
from tests.support.kafka import KafkaBroker
from tests.support.produce import create_topic
from tests.support.worker import PROJECT, Worker, Workspace

VIEWERS = (1, 10, 100)
PHASE_SECONDS = 8.0
SETTLE_SECONDS = 5.0
"""Until all viewers have come, and the first snapshot is made."""
_PHASES = (0, *VIEWERS, 0, *reversed(VIEWERS), 0)
"""Numbers of viewers one after the other: a rate that rises or falls meanwhile affects all of them alike."""
SECONDS = (
    2 * (IDLE_SECONDS + MAX_REFRESH_SECONDS)
    + SETTLE_SECONDS * (len(_PHASES) - 2)
    + PHASE_SECONDS * len(_PHASES)
)
"""For how long the backlog must last, after the worker has warmed up."""
_SAMPLE_SECONDS = 0.05
# The newest row of SQLite: no table is read for it.
_STORED = text("SELECT max(rowid) FROM temperature_readings_data")
Figures = dict[str, float]


@dataclass(frozen=True)
class _Phase:
    viewers: int
    rate: float
    """Readings stored per second."""
    cpu: float
    """CPU time of the worker relative to that of its decryption pool."""
    polled: Figures


def measure(
    folder: Path, kafka: KafkaBroker, workspace: Workspace, url: str, records: Iterable[bytes], warm: int
) -> Figures:
    """Process a backlog that is there before the worker is.

    Arguments:
        url: of an empty SQLite database.
        records: enough for :data:`SECONDS`.
        warm: number of readings that are stored before anything is measured.

    Returns:
        ``rate`` without viewers, and the ``spread`` of the times at which it was measured; of each number of viewers:
        ``share`` of this rate, ``cpu``: CPU time of the worker, with decryption as the unit, relative to that without
        viewers, requests and bytes per second, and ``clients``: CPU seconds of the viewers themselves per second.
    """
    create_topic(kafka.bootstrap, workspace.topic, PARTITIONS)
    produce_backlog(kafka.bootstrap, workspace.topic, records)
    environment = workspace.environment(kafka.bootstrap, url, broker__partitions=PARTITIONS)
    worker = Worker(environment, folder / "worker.log")
    try:
        worker.start()
        worker.wait_ready()
        with create_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while _stored(connection) < warm:
                time.sleep(_SAMPLE_SECONDS)
            return _compared(
                [_phase(worker, connection, viewers, before) for before, viewers in pairwise((0, *_PHASES))]
            )
    finally:
        worker.kill()


def _compared(phases: list[_Phase]) -> Figures:
    rate, cpu, _ = _means(phases, 0)
    rates = [each.rate for each in phases if not each.viewers]
    found: Figures = {"rate": rate, "spread": max(rates) / min(rates)}
    for viewers in VIEWERS:
        with_rate, with_cpu, polled = _means(phases, viewers)
        figures = {"share": with_rate / rate, "cpu": with_cpu / cpu, **polled}
        found |= {f"{name}_{viewers}": value for name, value in figures.items()}
    return found


def _means(phases: list[_Phase], viewers: int) -> tuple[float, float, Figures]:
    chosen = [each for each in phases if each.viewers == viewers]
    polled = {name: mean(each.polled[name] for each in chosen) for name in chosen[0].polled}
    return mean(each.rate for each in chosen), mean(each.cpu for each in chosen), polled


def _phase(worker: Worker, connection: Connection, viewers: int, before: int) -> _Phase:
    """Arguments: viewers: as many as are to poll; before: as many as did."""
    if not viewers:
        # Otherwise the worker still makes snapshots for those who have left.
        time.sleep(SETTLE_SECONDS if not before else IDLE_SECONDS + MAX_REFRESH_SECONDS)
        return _measured(worker, connection)
    seconds = SETTLE_SECONDS + PHASE_SECONDS
    program = [sys.executable, "-m", "benchmarks.polling", str(worker.port), "Temperature"]
    with subprocess.Popen(
        [*program, str(viewers), str(seconds)], cwd=PROJECT, stdout=subprocess.PIPE
    ) as process:
        time.sleep(SETTLE_SECONDS)
        phase = _measured(worker, connection)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, f"expected exit code 0 of the viewers, found {process.returncode}"
    polled = {name: value / seconds for name, value in json.loads(output).items()}
    return replace(phase, viewers=viewers, polled=polled)


def _measured(worker: Worker, connection: Connection) -> _Phase:
    """A batch is stored at once: the rate is that from one batch to another one."""
    began, spent = time.perf_counter(), _cpu(worker)
    last, changes = _stored(connection), []
    while (now := time.perf_counter()) < began + PHASE_SECONDS:
        time.sleep(_SAMPLE_SECONDS)
        if (stored := _stored(connection)) != last:
            changes.append((now, stored))
            last = stored
    assert len(changes) > 1, f"expected a long backlog, found {len(changes)} batches in a phase"
    (first_at, first), (last_at, last) = changes[0], changes[-1]
    whole, pool = (after - before for after, before in zip(_cpu(worker), spent, strict=True))
    return _Phase(0, (last - first) / (last_at - first_at), whole / pool, {})


def _stored(connection: Connection) -> int:
    try:
        return int(connection.execute(_STORED).scalar() or 0)
    except OperationalError as error:
        if "no such table" not in str(error):
            raise
        return 0


def _cpu(worker: Worker) -> tuple[float, float]:
    """CPU seconds of the worker with its decryption pool, and those of the pool."""
    process = psutil.Process(worker.process.pid)
    alone, *pool = (sum(each.cpu_times()[:2]) for each in (process, *process.children()))
    return alone + sum(pool), sum(pool)
