"""SQLite's WAL stays small while somebody reads, or the log says who prevents it."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from sparkle_app.runtime.metrics import Metrics
from sparkle_app.storage import engine as engines
from sparkle_app.storage.dialects import sqlite_engine
from sparkle_app.storage.engine import (
    make_engine,
    read_transaction,
    short_read_transactions,
    write_ahead_log,
)
from sparkle_app.storage.errors import transient_error
from sparkle_app.storage.wal import UNKNOWN, Checkpoint, WriteAheadLog, process_name
from sparkle_app.worker import wal_watchdog
from sparkle_app.worker.wal_watchdog import WalWatchdog, watch_wal
from tests.support.fake_clock import FakeClock
from tests.support.virtual_time import VirtualClock, run

MB = 1_000_000
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM t").fetchall()
print("reads", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.sqlite3"


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    engine = make_engine(make_url(f"sqlite:///{file}"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    yield engine
    engine.dispose()


@pytest.fixture
def wal(engine: Engine) -> WriteAheadLog:
    wal = write_ahead_log(engine.url)
    assert wal
    return wal


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are reached quickly, in the proportion of the real ones."""
    monkeypatch.setattr(wal_watchdog, "CHECKPOINT_BYTES", 2 * MB)
    monkeypatch.setattr(wal_watchdog, "MAX_BYTES", 4 * MB)


def write(engine: Engine, megabytes: int) -> None:
    for _ in range(10 * megabytes):
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (randomblob(100000))")


@contextmanager
def overlapping_readers(engine: Engine) -> Iterator[None]:
    """Two threads whose transactions are short, and of which there is always one."""
    stop = threading.Event()
    turns = [threading.Event(), threading.Event()]
    turns[0].set()

    def read(own: threading.Event, other: threading.Event) -> None:
        while own.wait(10) and not stop.is_set():
            own.clear()
            with read_transaction(engine) as connection:
                connection.exec_driver_sql("SELECT count(*) FROM t").all()
                # The other one begins before this one ends.
                other.set()
                time.sleep(0.02)
        other.set()

    threads = [threading.Thread(target=read, args=(turns[n], turns[1 - n])) for n in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def foreign_reader(file: Path) -> Iterator[int]:
    """Another process that keeps a snapshot; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"reads\n"
        assert process.stdin
        try:
            yield process.pid
        finally:
            process.stdin.close()


@pytest.mark.usefixtures("small")
def test_the_wal_stays_small_while_readers_overlap(engine: Engine, wal: WriteAheadLog) -> None:
    with overlapping_readers(engine):
        write(engine, 20)
        # What SQLite does by itself.
        with closing(sqlite3.connect(wal.database)) as other:
            for _ in range(20):
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        write(engine, 1)
        assert wal.size() > 20 * MB
        watchdog = WalWatchdog(wal)
        assert watchdog.poll() is None
        assert watchdog.size < 2 * MB
        largest = 0
        for _ in range(20):
            write(engine, 1)
            largest = max(largest, wal.size())
            assert watchdog.poll() is None
    # Not each attempt succeeds, since the machine may be busy.
    assert largest < 15 * MB
    with read_transaction(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 410


@pytest.mark.usefixtures("small")
def test_a_reader_that_keeps_its_transaction_is_named(engine: Engine, wal: WriteAheadLog) -> None:
    clock = FakeClock()
    watchdog = WalWatchdog(wal, clock)
    with foreign_reader(wal.database) as pid:
        lines = {}
        for second in range(16):
            write(engine, 1)
            # A short transaction of this process is none of those that are named.
            with read_transaction(engine) as connection:
                connection.exec_driver_sql("SELECT count(*) FROM t").all()
                if line := watchdog.poll():
                    lines[second] = line
            clock.now += 1
        (line,) = lines.values()
        assert line.startswith(f"{wal.path}: expected at most 4 MB of WAL, found 1")
        assert line.endswith(
            f" for 10 s: a reader keeps its transaction open; terminate it: process {pid} (python)"
        )
        assert watchdog.size > 10 * MB
    line = watchdog.poll() or ""
    assert line.startswith(f"{wal.path}: 0 MB again after 1")
    assert watchdog.warning == ""
    assert wal.size() == 0


def test_processes_that_read_are_found_and_this_one_is_not(engine: Engine, wal: WriteAheadLog) -> None:
    with read_transaction(engine) as connection:
        connection.exec_driver_sql("SELECT count(*) FROM t").all()
        assert wal.readers() == frozenset()
        with foreign_reader(wal.database) as pid:
            assert {reader for reader, _ in wal.readers()} == {pid}
            assert process_name(pid).startswith("python")
        assert wal.readers() == frozenset()
    assert process_name(pid) == ""
    assert WriteAheadLog(Path("nothing/x.sqlite3")).readers() == frozenset()


def test_checkpoints_of_a_file_that_cannot_be_opened_fail_with_a_reason(tmp_path: Path) -> None:
    wal = WriteAheadLog(tmp_path / "x.sqlite3")
    assert (wal.size(), wal.checkpoint()) == (0, Checkpoint(UNKNOWN, False, "unable to open database file"))
    assert list(tmp_path.iterdir()) == []


def test_a_truncation_waits_for_a_writer_that_checkpoints(engine: Engine, wal: WriteAheadLog) -> None:
    write(engine, 1)
    with closing(sqlite3.connect(wal.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = time.monotonic()
        assert not wal.truncate(0.7).complete
        assert 0.5 < time.monotonic() - waiting < 5
        other.execute("ROLLBACK")
    assert wal.truncate(0.7).complete
    assert wal.size() == 0


class Wal:
    """A WAL whose size and checkpoints the test sets."""

    path = database = Path("x.sqlite3-wal")

    def __init__(self) -> None:
        self.bytes, self.copied, self.error = 0, 0, ""
        self.truncations, self.waited = 0, 0.0
        self.held: frozenset[tuple[int, int]] = frozenset()

    def size(self) -> int:
        return self.bytes

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.copied, False, self.error)

    def truncate(self, seconds: float) -> Checkpoint:
        self.truncations += 1
        self.waited = seconds
        return Checkpoint(self.copied, False)

    def readers(self) -> frozenset[tuple[int, int]]:
        return self.held


def watchdog_of(wal: Wal, clock: FakeClock) -> WalWatchdog:
    return WalWatchdog(cast(WriteAheadLog, wal), clock, {7: "grafana"}.get)  # type: ignore[arg-type]


def lines_of(watchdog: WalWatchdog, clock: FakeClock, seconds: int) -> dict[int, str]:
    lines = {}
    for second in range(seconds):
        if line := watchdog.poll():
            lines[second] = line
        clock.now += 1
    return lines


def test_writers_do_not_wait_for_a_reader_that_keeps_its_snapshot() -> None:
    wal, clock = Wal(), FakeClock()
    watchdog = watchdog_of(wal, clock)
    wal.bytes = 128 * MB
    lines_of(watchdog, clock, 5)
    assert wal.truncations == 0
    wal.bytes, wal.copied = 129 * MB, 1000
    lines_of(watchdog, clock, 5)
    assert wal.truncations == 1
    for _ in range(5):
        wal.copied += 1
        lines_of(watchdog, clock, 1)
    assert wal.truncations == 6
    wal.copied = UNKNOWN
    lines_of(watchdog, clock, 5)
    assert wal.truncations == 6


def test_writers_wait_for_readers_that_overlap_the_longer_the_larger_the_wal_is() -> None:
    wal, clock = Wal(), FakeClock()
    watchdog = watchdog_of(wal, clock)
    waits = []
    for size in (128, 512, 5000):
        wal.bytes, wal.copied = size * MB + 1, wal.copied + 1
        watchdog.poll()
        waits.append(round(wal.waited, 3))
    assert waits == [0.5, 2, 5]


def test_a_large_wal_is_reported_after_ten_seconds_and_every_five_minutes_and_when_it_is_small_again() -> (
    None
):
    wal, clock = Wal(), FakeClock()
    watchdog = watchdog_of(wal, clock)
    wal.bytes = 256 * MB
    assert lines_of(watchdog, clock, 100) == {}
    wal.bytes = 1234 * MB
    lines = lines_of(watchdog, clock, 700)
    assert list(lines) == [10, 310, 610]
    assert lines[310] == (
        "x.sqlite3-wal: expected at most 256 MB of WAL, found 1234 MB, for 310 s: a reader keeps its transaction open;"
        " terminate it; `fuser -v x.sqlite3-wal` lists the processes that use the file"
    )
    assert watchdog.warning.startswith("expected at most 256 MB of WAL")
    wal.bytes = 64 * MB
    assert lines_of(watchdog, clock, 10) == {0: "x.sqlite3-wal: 64 MB again after 700 s"}
    assert watchdog.warning == ""
    # For a moment only.
    wal.bytes = 300 * MB
    assert lines_of(watchdog, clock, 9) == {}
    wal.bytes = 0
    assert lines_of(watchdog, clock, 9) == {}


def test_only_readers_that_keep_their_transaction_are_named() -> None:
    wal, clock = Wal(), FakeClock()
    watchdog = watchdog_of(wal, clock)
    wal.bytes = 300 * MB
    for second in range(10):
        # A process that cannot be seen from this container has the id 0.
        wal.held = frozenset({(7, 124), (8, 124), (9, 125 + second % 2), (0, 126)})
        assert watchdog.poll() is None
        clock.now += 1
    assert (watchdog.poll() or "").endswith("terminate it: process 7 (grafana), 8 (unknown)")


def test_a_checkpoint_that_fails_is_the_cause() -> None:
    wal, clock = Wal(), FakeClock()
    wal.bytes, wal.error, wal.copied = 300 * MB, "database or disk is full", UNKNOWN
    (line,) = lines_of(watchdog_of(wal, clock), clock, 11).values()
    assert line.endswith("found 300 MB, for 10 s: checkpoints fail (database or disk is full)")


def test_size_and_warning_are_exposed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal, clock, metrics = Wal(), VirtualClock(), Metrics()
    warnings: dict[str, str] = {}
    found: list[tuple[float | None, bool]] = []
    monkeypatch.setattr(wal_watchdog, "WalWatchdog", lambda wal: WalWatchdog(wal, clock.monotonic, str))

    async def in_this_thread(poll: Callable[[], str | None]) -> str | None:
        return poll()

    monkeypatch.setattr(asyncio, "to_thread", in_this_thread)

    async def main() -> None:
        watching = asyncio.create_task(watch_wal(cast(WriteAheadLog, wal), metrics, warnings))
        for size in (100, 300, 100):
            wal.bytes = size * MB
            await asyncio.sleep(20)
            found.append((metrics.registry.get_sample_value("sparkle_sqlite_wal_bytes"), "wal" in warnings))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    run(main(), clock)
    assert found == [(100 * MB, False), (300 * MB, True), (100 * MB, False)]
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_statements_of_short_transactions_see_new_rows_after_a_quarter_of_a_second(engine: Engine) -> None:
    clock = FakeClock()
    seen = []
    with short_read_transactions(engine, clock) as connection:
        for _ in range(6):
            seen.append(connection().exec_driver_sql("SELECT count(*) FROM t").scalar())
            with engine.begin() as writer:
                writer.exec_driver_sql("INSERT INTO t VALUES (1)")
            clock.now += 0.1
        with pytest.raises(OperationalError, match="no such table"):
            connection().exec_driver_sql("SELECT * FROM missing")
    assert seen == [0, 0, 0, 3, 3, 3]
    assert engines._SNAPSHOT_SECONDS == 0.25


def endless(engine: Engine) -> None:
    with read_transaction(engine) as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500000) SELECT max(n) FROM n"
        ).all()


def test_a_worker_does_not_read_without_end(
    file: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "_READ_SECONDS", 0.01)
    with pytest.raises(OperationalError) as caught:
        endless(engine)
    assert "interrupted" in str(transient_error(caught.value))
    # The same connection, without a limit.
    with engine.begin() as connection:
        time.sleep(0.1)
        connection.exec_driver_sql(
            "INSERT INTO t SELECT value FROM json_each(?)", (str(list(range(100_000))),)
        )
    command = make_engine(engine.url, for_command=True)
    endless(command)
    command.dispose()
