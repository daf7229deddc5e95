"""What storage promises of every database when transactions collide, and connections are lost."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from sparkle_app.plugin_api import Base
from sparkle_app.storage.aggregates import (
    delete_aggregates,
    select_aggregates,
    select_bucket_counts,
    upsert_growing,
)
from sparkle_app.storage.aggregation import insert_aggregated
from sparkle_app.storage.dialects import dialect_of
from sparkle_app.storage.dialects.base import Dialect
from sparkle_app.storage.engine import make_engine, max_writers, read_transaction
from sparkle_app.storage.errors import is_lock_conflict, is_row_error, server_message
from sparkle_app.storage.migrations.branches import core_branch
from sparkle_app.storage.migrations.migration import create_tables
from sparkle_app.storage.models import tables_of
from sparkle_app.storage.readings import insert_new, select_counts
from tests.support.contract import (
    AGGREGATES,
    HOUR,
    READINGS,
    START,
    Aggregates,
    Readings,
    aggregate,
    reading,
    store,
)

ROWS = 12
_MAX_STATEMENTS = 100


@pytest.fixture
def engine(any_statements: Engine) -> Engine:
    Base.metadata.create_all(any_statements, tables=tables_of(Readings, Aggregates))
    return any_statements


def write(connection: Connection) -> None:
    """Every kind of statement that writes."""
    insert_new(connection, READINGS, [reading(number) for number in range(ROWS)])
    insert_aggregated(connection, AGGREGATES, READINGS, ["host"], 60, START, START + HOUR)
    upsert_growing(connection, AGGREGATES, [aggregate(9, metric=f"m{number}") for number in range(ROWS)])
    delete_aggregates(connection, AGGREGATES, 60, [("host", START, f"m{number}") for number in range(5)])


class Cut:
    """The connection of a statement is shut down before it is executed."""

    def __init__(self, number: int) -> None:
        self.left = number
        """How many statements to execute before; at the end, how many more there were than these."""

    @contextmanager
    def of(self, engine: Engine) -> Iterator[None]:
        """Count the statements of an engine; the one after them is the commit."""

        def before_statement(connection: Any, _cursor: Any, _text: str, *_: Any) -> None:
            self._count(connection)

        event.listen(engine, "before_cursor_execute", before_statement)
        event.listen(engine, "commit", self._count)
        try:
            yield
        finally:
            event.remove(engine, "before_cursor_execute", before_statement)
            event.remove(engine, "commit", self._count)

    def _count(self, connection: Connection) -> None:
        self.left -= 1
        if self.left == 0:
            driver: Any = connection.connection.driver_connection
            descriptor = driver._sock.fileno() if hasattr(driver, "_sock") else driver.fileno()
            with socket.socket(fileno=os.dup(descriptor)) as own:
                own.shutdown(socket.SHUT_RDWR)


@pytest.mark.every_database
def test_a_connection_that_is_lost_in_any_statement_loses_and_doubles_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if not (hasattr(driver, "_sock") or hasattr(driver, "fileno")):
            pytest.skip("it has no connections that can be lost, or they do not show their socket")
    errors: list[DBAPIError] = []
    for number in range(1, _MAX_STATEMENTS):
        cut = Cut(number)
        try:
            with cut.of(engine), engine.begin() as connection:
                write(connection)
        except DBAPIError as error:
            errors.append(error)
        else:
            assert cut.left > 0
            break
    # Four calls, and the commit.
    assert len(errors) >= 5
    for each in errors:
        assert each.connection_invalidated, each
        assert not is_row_error(each)
        assert server_message(each) is None
    with read_transaction(engine) as connection:
        assert list(select_counts(connection, READINGS, START, START + HOUR, None)) == [("host", ROWS)]
        found = list(select_aggregates(connection, AGGREGATES, ["host"], None, 60, START, START + HOUR))
    counts = {row.metric: row.statistics.count for row in found}
    assert counts == {"k": ROWS} | {f"m{number}": 9 for number in range(5, ROWS)}


@pytest.mark.every_database
def test_a_deadlock_is_no_error_of_a_row_and_the_transaction_can_be_repeated(engine: Engine) -> None:
    if max_writers(engine) == 1:
        pytest.skip("its writers exclude each other")
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(1, metric="a"), aggregate(1, metric="b")])
    both = threading.Barrier(2, timeout=30)
    errors: list[DBAPIError] = []
    done: list[int] = []

    def count(first: str, second: str, to: int) -> None:
        for attempt in range(5):
            try:
                with engine.begin() as connection:
                    upsert_growing(connection, AGGREGATES, [aggregate(to, metric=first)])
                    if not attempt:
                        both.wait()
                    upsert_growing(connection, AGGREGATES, [aggregate(to, metric=second)])
                done.append(to)
                return
            except DBAPIError as error:
                errors.append(error)

    threads = [threading.Thread(target=count, args=given) for given in (("a", "b", 2), ("b", "a", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [2, 3]
    assert errors
    for error in errors:
        assert is_lock_conflict(error), error
        assert not is_row_error(error)
    with read_transaction(engine) as connection:
        found = list(select_aggregates(connection, AGGREGATES, ["host"], None, 60, START, START + HOUR))
    assert [row.statistics.count for row in found] == [3, 3]


@pytest.mark.every_database
def test_a_reader_has_one_snapshot_and_no_writer_waits_for_it(engine: Engine) -> None:
    store(engine, [reading(1)])
    with read_transaction(engine) as reader:
        assert list(select_counts(reader, READINGS, START, START + HOUR, None)) == [("host", 1)]
        # A writer that waited for the reader would never end.
        with engine.begin() as connection:
            write(connection)
        assert list(select_counts(reader, READINGS, START, START + HOUR, None)) == [("host", 1)]
        assert not list(select_bucket_counts(reader, AGGREGATES, 60, START, START + HOUR, None))
    with read_transaction(engine) as reader:
        assert list(select_counts(reader, READINGS, START, START + HOUR, None)) == [("host", ROWS)]


@pytest.mark.every_database
def test_workers_that_start_at_once_create_the_tables_once(any_statements: Engine) -> None:
    dialect = type(dialect_of(any_statements))
    if dialect.schema_lock is Dialect.schema_lock and max_writers(any_statements) > 1:
        pytest.skip("it has no lock for that")
    engines = [make_engine(any_statements.url) for _ in range(4)]
    errors: list[Exception] = []
    at_once = threading.Barrier(len(engines), timeout=30)

    def create(engine: Engine) -> None:
        at_once.wait()
        try:
            create_tables(engine, [core_branch()])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    # None of them has kept the lock.
    began = time.monotonic()
    create_tables(any_statements, [core_branch()])
    assert time.monotonic() - began < 10
    for engine in engines:
        engine.dispose()


@pytest.mark.parametrize("database_url", ["postgresql", "psycopg"], indirect=True)
def test_a_transaction_that_cannot_be_serialized_is_no_error_of_a_row(engine: Engine) -> None:
    # As the transaction of another program.
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with engine.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(1)])
    with serializable.connect() as connection:
        list(select_bucket_counts(connection, AGGREGATES, 60, START, START + HOUR, None))
        with engine.begin() as other:
            upsert_growing(other, AGGREGATES, [aggregate(2)])
        with pytest.raises(DBAPIError) as caught:
            upsert_growing(connection, AGGREGATES, [aggregate(3)])
    assert is_lock_conflict(caught.value)
    assert not is_row_error(caught.value)
    with serializable.begin() as connection:
        upsert_growing(connection, AGGREGATES, [aggregate(3)])


@pytest.mark.parametrize("database_url", ["postgresql", "psycopg"], indirect=True)
def test_a_writer_sees_what_others_have_committed_whatever_the_default_of_the_server(engine: Engine) -> None:
    default = r"-c default_transaction_isolation=repeatable\ read"
    writers = make_engine(engine.url.update_query_dict({"options": default}))
    with writers.begin() as connection:
        # A snapshot that lasted until the end of the transaction would begin here.
        assert not list(select_bucket_counts(connection, AGGREGATES, 60, START, START + HOUR, None))
        with engine.begin() as other:
            upsert_growing(other, AGGREGATES, [aggregate(2)])
        assert len(list(select_bucket_counts(connection, AGGREGATES, 60, START, START + HOUR, None))) == 1
    writers.dispose()
