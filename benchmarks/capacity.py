"""``python -m benchmarks.capacity``: measures what docs/capacity.md and the command `capacity` compute with.

CPU times, relative to RSA at the same time, and sizes: other programs on the machine hardly affect them. Only the time
that writing takes includes the disk. ``--page`` writes the tables of the page again, from the figures that there are.
"""

import argparse
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.hashes import SHA1
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from benchmarks import ours, state
from benchmarks.backlog import readings
from sparkle_app.capacity.estimate import Fleet, Machine
from sparkle_app.capacity.figures import DatabaseFigures, Figures
from sparkle_app.capacity.table import table
from sparkle_app.model.buckets import AggregateRow, Statistics
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.plugin_api import Plugin, Reading
from sparkle_app.storage.engine import make_engine, max_writers
from sparkle_app.storage.migrations.migration import create_tables
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer
from tests.support.worker import PROJECT, Workspace

FILE = PROJECT / "sparkle_app" / "capacity" / "figures.json"
PAGE = PROJECT / "docs" / "capacity.md"
METRICS = 16
INTERVAL = 300
SIZES = (100, 10_000, 1_000_000)
"""Numbers of hosts on the page."""
_START = 1_795_000_020_000_000
_HOSTS = 500
_STATE_HOSTS = 4_000
_STATE_MINUTES = 60
_BEGIN, _END = "<!-- tables -->\n", "<!-- end -->\n"
Server = PostgresServer | MariadbServer | None


def main() -> None:
    """Measure, and write the file and the tables of the page."""
    options = _options()
    if not options.page:
        found = _measure(options.readings, options.rows, options.repeat)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    if options.json == FILE:
        measured = msgspec.json.decode(FILE.read_bytes(), type=Figures)
        PAGE.write_text(with_tables(PAGE.read_text("utf-8"), measured), "utf-8")


def with_tables(page: str, measured: Figures) -> str:
    """The page with tables of these figures."""
    parts = [
        f"Measured {measured.measured} on {measured.processor}, where an RSA operation takes"
        f" {measured.rsa_seconds * 1e6:.0f} µs of a core.\n"
    ]
    for hosts in SIZES:
        parts.append(f"\n### {hosts:,} hosts\n\n")
        heading, *rows = table(measured, Fleet(hosts, METRICS, INTERVAL), Machine())
        parts.append(_line(heading) + _line(["---"] * len(heading)) + "".join(map(_line, rows)))
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{''.join(parts)}\n{_END}{after}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |")


def _measure(number: int, rows: int, repeat: int) -> Figures:
    rsa_seconds = min(decryption_seconds() for _ in range(5))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sparkle-bench-")))
        (folder / "kafka").mkdir()
        kafka = KafkaBroker(folder / "kafka", memory="1g", short_lived=False)
        postgres, mariadb = PostgresServer(folder, fsync=True), MariadbServer(folder, fsync=True)
        stack.callback(postgres.remove)
        stack.callback(mariadb.remove)
        stack.callback(kafka.kill)
        for each in (kafka, postgres, mariadb):
            each.start()
        servers: dict[str, Server] = {"SQLite": None, "PostgreSQL": postgres, "MariaDB": mariadb}
        databases: dict[str, DatabaseFigures] = {}
        for name, server in servers.items():
            turns = [
                _costs(folder / f"{name}-{turn}", kafka, server, number, rsa_seconds)
                for turn in range(repeat)
            ]
            # Those of the turn that was disturbed least.
            costs = {cost: min(turn[cost] for turn in turns) for cost in turns[0]}
            found = {**costs, **_sizes(folder / name, server, rows)}
            databases[name] = msgspec.convert(found, DatabaseFigures)
            print(f"{name}: {databases[name]}", file=sys.stderr, flush=True)
        workspace, collector = _workspace(folder / "state")
        url = _url(workspace, None)
        held = state.measure(workspace, kafka, url, _STATE_HOSTS, METRICS, _STATE_MINUTES, ours.PARTITIONS)
        record = next(readings(collector, 1, 1, 1))
    counted = _STATE_HOSTS * METRICS * _STATE_MINUTES
    return Figures(
        measured=datetime.now(UTC).date().isoformat(),
        processor=_processor(),
        rsa_seconds=rsa_seconds,
        databases=databases,
        worker_bytes=held["empty"] * 1e6,
        bucket_bytes=(held["memory"] - held["empty"]) * 1e6 / counted,
        record_bytes=len(record),
        changelog_bytes=held["changelog"],
    )


def _costs(
    folder: Path, kafka: KafkaBroker, server: Server, number: int, rsa_seconds: float
) -> dict[str, float]:
    """CPU seconds per 1,000 readings, and the seconds that a worker spends writing."""
    workspace, collector = _workspace(folder)
    records = list(readings(collector, number, number // METRICS, METRICS))
    url = _url(workspace, server)
    pid = server.process.pid if server else None
    # On a busy machine, everything takes more CPU time, RSA as well.
    before = decryption_seconds()
    found = ours.measure(folder, kafka, workspace, records, url, 1, server=pid)
    speed = 2 * rsa_seconds / (before + decryption_seconds())
    names = ("decrypting", "worker", "broker", "database")
    spent = {name: speed * getattr(found, name) for name in names}
    return {**spent, "writing": found.stages["store"] + found.stages["sink"]}


def _sizes(folder: Path, server: Server, rows: int) -> dict[str, float | None]:
    """Bytes of a row with its indexes, and the number of writers."""
    workspace, _ = _workspace(folder)
    url = _url(workspace, server)
    engine = make_engine(make_url(url))
    plugins = load_plugins(workspace.plugins)
    create_tables(engine, plugins.branches)
    intervals = rows // (_HOSTS * METRICS)
    sizes = [database_bytes(url, server)]
    for store in (store_readings, store_aggregates):
        for turn in range(intervals):
            with engine.begin() as connection:
                at = _START + turn * INTERVAL * 1_000_000
                store(plugins.by_name["Temperature"], connection, at)
        sizes.append(database_bytes(url, server))
    writers = max_writers(engine)
    engine.dispose()
    stored = intervals * _HOSTS * METRICS
    return {
        "writers": writers if writers < sys.maxsize else None,
        "reading_bytes": (sizes[1] - sizes[0]) / stored,
        "aggregate_bytes": (sizes[2] - sizes[1]) / stored,
    }


def series() -> list[tuple[int, int]]:
    """The numbers of host and metric of each series."""
    return list(product(range(_HOSTS), range(METRICS)))


def store_readings(plugin: Plugin, connection: Connection, at: int) -> None:
    """Store a reading of each metric, as a worker does: random ids, in the order of time."""
    rows = [
        Reading(
            id=os.urandom(16),
            config_id=1,
            hostname=f"host-{host:05}",
            plugin="Temperature",
            key=f"core/{metric}",
            value=30 + (host + metric) % 300 / 10,
            observed_at=at + host * 5000 + metric,
            received_at=at + host * 5000 + metric + 1_000_000,
            clock_trusted=True,
            topic="telemetry",
            partition=host % 8,
            offset=at // 1_000_000 + host,
        )
        for host, metric in series()
    ]
    plugin.store_readings(connection, rows)


def store_aggregates(plugin: Plugin, connection: Connection, at: int) -> None:
    """Store the aggregate of each of these readings."""
    rows = []
    for host, metric in series():
        value = 30 + (host + metric) % 300 / 10
        statistics = Statistics(1, value, value, value, value, at + host * 5000 + metric)
        rows.append(AggregateRow(f"host-{host:05}", f"core/{metric}", 60, at - at % 60_000_000, statistics))
    plugin.store_aggregates(connection, rows)


def database_bytes(url: str, server: Server) -> int:
    """Of the database, in bytes."""
    database = str(make_url(url).database)
    if isinstance(server, MariadbServer):
        tables = "information_schema.INNODB_SYS_TABLESPACES"
        ((found,),) = server.run(f"SELECT sum(file_size) FROM {tables} WHERE name LIKE '{database}/%'")
        return int(found)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        if server:
            return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    return Path(database).stat().st_size


def _url(workspace: Workspace, server: Server) -> str:
    name = f"capacity_{os.urandom(4).hex()}"
    return server.create_database(name) if server else f"sqlite:///{workspace.folder / name}.sqlite3"


def _workspace(folder: Path) -> tuple[Workspace, Collector]:
    folder.mkdir()
    workspace = Workspace(folder)
    return workspace, Collector(workspace.certs)


def decryption_seconds() -> float:
    """CPU time of an RSA operation, now."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    padding = OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None)
    ciphertext = key.public_key().encrypt(b"reading", padding)
    started = time.process_time()
    for _ in range(1000):
        key.decrypt(ciphertext, padding)
    return (time.process_time() - started) / 1000


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--readings", type=int, default=32_000, help="readings that a worker processes")
    parser.add_argument("--rows", type=int, default=200_000, help="rows whose size is measured")
    parser.add_argument("--repeat", type=int, default=2, help="how often CPU times are measured")
    parser.add_argument("--json", type=Path, default=FILE, help="file to write")
    parser.add_argument("--page", action="store_true", help="only write the tables of the page again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
