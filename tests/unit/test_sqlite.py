"""SQLite: the size of the WAL, the journal mode, damaged files, and statements of many rows."""

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from sparkle_app.storage.aggregates import upsert_growing
from sparkle_app.storage.engine import damage, make_engine, read_transaction, return_space
from tests.support.aggregate_worker import Aggregates, sqlite_engine
from tests.support.contract import aggregate

MEGABYTE = 1024 * 1024


def test_the_wal_shrinks_after_a_long_read(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite3"
    engine = make_engine(make_url(f"sqlite:///{file}"))
    wal = tmp_path / "x.sqlite3-wal"
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    with read_transaction(engine) as reader:
        reader.exec_driver_sql("SELECT * FROM t").all()
        for _ in range(10):
            with engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO t VALUES (randomblob(10485760))")
        assert wal.stat().st_size > 100 * MEGABYTE
    # The first commit after a checkpoint that the reader does not block begins the WAL again.
    for _ in range(2):
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert wal.stat().st_size <= 64 * MEGABYTE


def test_another_journal_mode_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(make_url(f"sqlite:///{tmp_path / 'x.sqlite3'}"))
    # A database that cannot have a WAL.
    event.listen(engine, "do_connect", lambda *_: sqlite3.connect(":memory:"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT 1")
            engine.dispose()
    (record,) = caplog.records
    assert "expected the journal mode wal, found memory" in record.getMessage()


def test_the_mode_is_changed_when_a_writer_has_ended(tmp_path: Path) -> None:
    """While another connection writes without WAL, SQLite does not wait itself."""
    file = tmp_path / "sparkle.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE t (x)")
        writer.execute("BEGIN IMMEDIATE")
        engine = make_engine(make_url(f"sqlite:///{file}"))

        def insert() -> None:
            with engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO t VALUES (1)")

        with ThreadPoolExecutor() as threads:
            inserted = threads.submit(insert)
            # It waits, or fails at once.
            wait([inserted], timeout=0.3)
            writer.execute("COMMIT")
            inserted.result()
        assert writer.execute("SELECT * FROM t").fetchall() == [(1,)]
        assert writer.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        engine.dispose()


def test_damage_is_found_within_the_time_that_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite3"
    engine = make_engine(make_url(f"sqlite:///{file}"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        for number in range(20):
            connection.exec_driver_sql(f"INSERT INTO t VALUES (zeroblob({number + 1}00000))")
    with read_transaction(engine) as connection:
        assert damage(connection, 10) is None
    engine.dispose()
    content = bytearray(file.read_bytes())
    content[4096:4196] = b"?" * 100
    file.write_bytes(content)
    with read_transaction(engine) as connection:
        assert damage(connection, 10)


@pytest.fixture
def shrinkable(tmp_path: Path) -> Engine:
    """A file with 8 MB of deleted rows, whose connections wait a moment for a lock."""
    engine = make_engine(make_url(f"sqlite:///{tmp_path / 'x.sqlite3'}"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        connection.exec_driver_sql("INSERT INTO t VALUES (randomblob(8388608))")
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM t")
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
    return engine


def test_space_is_not_returned_while_another_program_writes(shrinkable: Engine) -> None:
    with closing(sqlite3.connect(str(shrinkable.url.database), isolation_level=None)) as writer:
        with shrinkable.connect() as connection:
            driver: Any = connection.connection.driver_connection

        def write(statement: str) -> None:
            if "incremental_vacuum" in statement and not writer.in_transaction:
                writer.execute("BEGIN IMMEDIATE")

        driver.set_trace_callback(write)
        assert return_space(shrinkable) is False
        driver.set_trace_callback(None)
        assert writer.in_transaction
        writer.execute("ROLLBACK")
        assert return_space(shrinkable) is True


def test_an_error_while_space_is_returned_is_one_of_the_database(shrinkable: Engine) -> None:
    with shrinkable.connect() as connection:
        driver: Any = connection.connection.driver_connection

    def interrupt(statement: str) -> None:
        if "incremental_vacuum" in statement:
            driver.set_progress_handler(lambda: True, 1)

    driver.set_trace_callback(interrupt)
    with pytest.raises(DBAPIError, match="interrupted"):
        return_space(shrinkable)


def test_rows_are_inserted_by_statements_that_return_nothing(tmp_path: Path) -> None:
    """``executemany`` of Python 3.12 and later fails at the second row of a statement that returns rows."""
    engine = sqlite_engine(tmp_path)
    bulk: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, _values: Any, _context: Any, many: bool) -> None:
        if many:
            bulk.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    with engine.begin() as connection:
        upsert_growing(connection, Aggregates.__table__, [aggregate(1, "a", metric) for metric in ("x", "y")])
    assert any("ON CONFLICT" in statement for statement in bulk)
    assert not [statement for statement in bulk if "RETURNING" in statement]
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(Aggregates.__table__)) == 2
