"""Oracle Database, with the driver oracledb in thin mode. No test has run on a server."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Table,
    create_engine,
    event,
    func,
    literal,
    literal_column,
    outparam,
    text,
)
from sqlalchemy.dialects import oracle
from sqlalchemy.engine import URL

from sparkle_app.storage.dialects import oracle_errors
from sparkle_app.storage.dialects.base import READ_ONLY, Dialect, TableKind
from sparkle_app.storage.dialects.column_types import BinaryIds, NaiveTimes
from sparkle_app.storage.dialects.oracle_statements import BucketNumber, Merge
from sparkle_app.storage.dialects.oracle_types import adapt
from sparkle_app.storage.dialects.portable import retried
from sparkle_app.storage.dialects.session_lock import session_lock
from sparkle_app.storage.statements import Row, chunks, key_names

_EPOCH: ColumnElement[Any] = literal_column("TIMESTAMP '1970-01-01 00:00:00'")
_CONNECT_SECONDS = 5
_PING_SECONDS = 5
_ANSWER_SECONDS = 65
_RECYCLE_SECONDS = 60
_LOCK_SECONDS = 30
_ROW_COUNTS = "sparkle_row_counts"
"""Execution option of a statement for many rows: how many rows each of them has changed."""
# Texts are compared byte by byte, whatever the defaults of the client and the database are.
_SESSION = "ALTER SESSION SET NLS_COMP = BINARY NLS_SORT = BINARY TIME_ZONE = '+00:00' DDL_LOCK_TIMEOUT = 10"
# Not READ ONLY: `check` tries in it what a worker writes.
_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
# 0: taken; 4: the connection has it already.
_LOCK = """
DECLARE
    handle VARCHAR2(128);
BEGIN
    DBMS_LOCK.ALLOCATE_UNIQUE('sparkle.' || SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA'), handle);
    :result := {};
END;
"""
_REQUEST = f"DBMS_LOCK.REQUEST(handle, DBMS_LOCK.X_MODE, {_LOCK_SECONDS}, FALSE)"
_RELEASE = "DBMS_LOCK.RELEASE(handle)"


class Oracle(NaiveTimes, BinaryIds, Dialect):
    """Oracle Database 19c and newer, with the character set AL32UTF8."""

    notice = "no test has run on a server"
    max_writers = sys.maxsize
    time_type = oracle.TIMESTAMP()
    id_type = oracle.RAW(16)
    hashes_names = True

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """As in the base class."""
        from sparkle_app.storage.oracledb_connection import check_arguments

        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_recycle=_RECYCLE_SECONDS,
            coerce_to_decimal=False,
            connect_args={"tcp_connect_timeout": _CONNECT_SECONDS, "expire_time": 1},
            hide_parameters=True,
            **pool,
        )
        check_arguments(engine.dialect.create_connect_args(url)[1])
        self.adapt(engine.dialect)
        seconds = 0 if for_command else _ANSWER_SECONDS

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _record: Any) -> None:
            connection.call_timeout = _PING_SECONDS * 1000
            with connection.cursor() as cursor:
                cursor.execute(_SESSION)

        @event.listens_for(engine, "checkout")
        def on_checkout(connection: Any, *_: Any) -> None:
            connection.call_timeout = seconds * 1000

        @event.listens_for(engine, "checkin")
        def on_checkin(connection: Any, *_: Any) -> None:
            # None: it has been invalidated.
            if connection:
                connection.call_timeout = _PING_SECONDS * 1000

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            if connection.get_execution_options().get(READ_ONLY):
                connection.exec_driver_sql(_SNAPSHOT)

        @event.listens_for(engine, "do_executemany")
        def on_executemany(cursor: Any, statement: str, rows: Any, context: Any) -> bool | None:
            counts = context.execution_options.get(_ROW_COUNTS) if context else None
            if counts is None:
                return None
            cursor.executemany(statement, rows, arraydmlrowcounts=True)
            counts[:] = cursor.getarraydmlrowcounts()
            return True

        return engine

    def adapt(self, dialect: Any) -> None:
        """As in the base class."""
        adapt(dialect)

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """The isolation level is set when the transaction begins."""
        return {READ_ONLY: True}

    def schema_lock(self, connection: Connection) -> AbstractContextManager[None]:
        """Takes a lock of the session."""
        return session_lock(
            connection,
            lambda: _call(connection, _REQUEST) in (0, 4),
            lambda: _call(connection, _RELEASE),
        )

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Locks the table, as rows have no shared locks; statements that change rows take a ROW EXCLUSIVE lock."""
        name = connection.dialect.identifier_preparer.format_table(table)
        mode = "ROW SHARE" if shared else "EXCLUSIVE"
        connection.exec_driver_sql(f"LOCK TABLE {name} IN {mode} MODE WAIT {_LOCK_SECONDS}")

    def lift_time_limit(self, connection: Connection) -> None:
        """Until the connection is returned to the pool."""
        driver: Any = connection.connection.driver_connection
        driver.call_timeout = 0

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """Also updates no rows of aggregates, as MERGE does."""
        super().try_insert(connection, table, TableKind.UPDATED if kind is TableKind.AGGREGATES else kind)

    def is_own(self, error: BaseException) -> bool:
        """Whether the error comes from oracledb."""
        return any(each.__module__.partition(".")[0] == "oracledb" for each in type(error).__mro__)

    def is_transient(self, error: Any) -> bool:
        """Decide by the error number, or the code of the driver."""
        return oracle_errors.is_transient(error)

    def server_message(self, error: Any) -> str | None:
        """The database's message; None if none answered, or if it rejects the login."""
        unreachable = oracle_errors.is_unreachable(error) or self.is_refused_login(error)
        return None if unreachable else str(error).partition("\n")[0]

    def remedy(self, error: Any) -> str:
        """Decide by the error number."""
        return oracle_errors.REMEDIES.get(oracle_errors.number(error) or 0) or super().remedy(error)

    def is_refused_login(self, error: Any) -> bool:
        """Decide by the error number."""
        return oracle_errors.number(error) in oracle_errors.REFUSED_LOGINS

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the database is a standby: after a failover, new connections lead to another one."""
        return oracle_errors.number(error) in oracle_errors.READ_ONLY

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether the error is a deadlock, a wait that was too long, or a transaction that cannot be serialized."""
        return oracle_errors.number(error) in oracle_errors.LOCK_CONFLICTS

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """The epoch and an interval of whole seconds."""
        return _EPOCH + func.numtodsinterval(number * bucket_size, literal_column("'SECOND'"))

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """A number."""
        return BucketNumber(at, literal(1, Integer))

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """STANDARD_HASH of the bytes in the character set of the database."""
        digest = func.standard_hash(name, literal_column("'SHA256'"))
        return func.utl_raw.substr(digest, 1, 16)

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[int]:
        """A number."""
        return BucketNumber(at, literal(bucket_size, Integer))

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
        """Uses MERGE for many rows at once; the number of rows that each of them inserts is 1 or 0."""
        # In sorted order, so that two workers cannot deadlock.
        ordered = sorted(rows, key=itemgetter("id"))
        return {id_ for some in chunks(ordered) for id_ in _insert_new(connection, table, some)}

    def upsert_growing(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Uses MERGE for many rows at once."""
        keys, _ = key_names(table)
        merge = Merge(table, list(rows[0]), updates=True)
        for some in chunks(sorted(rows, key=itemgetter(*keys))):
            retried(connection, partial(connection.execute, merge, _values(some)))


def _insert_new(connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
    merge = Merge(table, list(rows[0]), updates=False)
    counts: list[int] = []

    def insert() -> None:
        options = {_ROW_COUNTS: counts, "preserve_rowcount": True}
        result = connection.execute(merge, _values(rows), execution_options=options)
        if len(rows) == 1:
            counts[:] = [result.rowcount]

    retried(connection, insert)
    return {row["id"] for row, count in zip(rows, counts, strict=True) if count}


def _values(rows: Sequence[Row]) -> list[Row]:
    return [{f"p_{name}": value for name, value in row.items()} for row in rows]


def _call(connection: Connection, function: str) -> int:
    statement = text(_LOCK.format(function)).bindparams(outparam("result", Integer()))
    found: Any = connection.execute(statement)
    return int(found.out_parameters["result"])
