"""MariaDB and MySQL, with the driver PyMySQL."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Table,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateTable

from sparkle_app.model.time import moment, span, utc_text
from sparkle_app.storage import columns
from sparkle_app.storage.deadlines import PING_SECONDS, limit_calls
from sparkle_app.storage.dialects.base import READ_ONLY, Dialect, TableKind, insert_nothing
from sparkle_app.storage.dialects.column_types import BinaryIds, NaiveTimes
from sparkle_app.storage.dialects.mysql_errors import (
    NULL_VALUE,
    REFUSED_LOGINS,
    REMEDIES,
    TRANSIENT,
    error_number,
    is_client_error,
    is_lock_conflict,
    is_read_only,
)
from sparkle_app.storage.dialects.mysql_statements import Values, deletion, growing, insert_new
from sparkle_app.storage.dialects.mysql_tables import MySqlTables, MySqlTypes
from sparkle_app.storage.dialects.session_lock import session_lock
from sparkle_app.storage.statements import SERIES_KEY, Row, chunks, key_names

_STATEMENT_SECONDS = 60
# After max_statement_time, a server that is there has answered.
_ANSWER_SECONDS = _STATEMENT_SECONDS + 5
_LOCK_WAIT_SECONDS = 10
# Connections to a server that has become a replica are replaced after this time even if they only read.
_RECYCLE_SECONDS = 60
# MariaDB executes what is between /*M! and */, MySQL what is between /*!80000 and */. Nothing is truncated, and the
# server's settings do not matter. The locks of a suspended worker are released by the time its partitions are assigned
# to another worker, and no wait is unlimited. MySQL only limits queries, and closes a connection that is idle, in a
# transaction or not.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    f"NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS},"
    " lock_wait_timeout = 10"
    "/*M! , idle_transaction_timeout = 15, max_statement_time = {0} */"
    "/*!80000 , wait_timeout = 15, max_execution_time = {0}000 */"
)
_UNLIMITED = (
    f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS}/*M! , max_statement_time = 0 */"
    "/*!80000 , max_execution_time = 0 */"
)
_SNAPSHOT = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
)
_LOCK_SECONDS = 30
# Of a statement.
_MAX_CONDITIONS = 50
_EPOCH: ColumnElement[datetime] = literal_column("TIMESTAMP'1970-01-01 00:00:00.000000'")
_MICROSECOND: ColumnElement[Any] = literal_column("MICROSECOND")
_SECOND: ColumnElement[Any] = literal_column("SECOND")


class MySql(NaiveTimes, BinaryIds, Dialect):
    """MariaDB 10.6 and newer, and MySQL 8.0.17 and newer."""

    notice = None
    max_writers = sys.maxsize
    time_type = mysql.DATETIME(fsp=6)
    id_type = mysql.BINARY(16)
    resolves_series = True
    hashes_names = True
    infinity = sys.float_info.max

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """As in the base class."""
        from sparkle_app.storage.pymysql_connection import TimedConnection, check_arguments

        engine = create_engine(
            url,
            # Writers do not lock ranges, and see what others have committed.
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_recycle=_RECYCLE_SECONDS,
            connect_args={
                "charset": "utf8mb4",
                "init_command": _SESSION.format(0 if for_command else _STATEMENT_SECONDS),
            },
            hide_parameters=True,
            **pool,
        )
        check_arguments(engine.dialect.create_connect_args(url)[1])
        self.adapt(engine.dialect)

        @event.listens_for(engine, "do_connect")
        def on_connect(_dialect: Any, _record: Any, _positional: Any, arguments: Any) -> TimedConnection:
            return TimedConnection(**arguments)

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            if connection.get_execution_options().get(READ_ONLY):
                for statement in _SNAPSHOT:
                    connection.exec_driver_sql(statement)

        limit_calls(engine, None if for_command else _ANSWER_SECONDS, in_pool=PING_SECONDS)
        return engine

    def adapt(self, dialect: Any) -> None:
        """As in the base class."""
        dialect.ddl_compiler = MySqlTables
        dialect.type_compiler_instance = MySqlTypes(dialect)

    def read_options(self, engine: Engine) -> Mapping[str, Any]:
        """A snapshot is begun with the transaction."""
        return {READ_ONLY: True}

    def schema_lock(self, connection: Connection) -> AbstractContextManager[None]:
        """Takes a lock of the session."""
        # MySQL 9.7 has no SHA1() any more.
        name = "concat('sparkle.', left(sha2(database(), 256), 16))"
        take, release = (
            text(f"SELECT get_lock({name}, {_LOCK_SECONDS})"),
            text(f"SELECT release_lock({name})"),
        )
        return session_lock(
            connection, lambda: connection.scalar(take) == 1, lambda: connection.execute(release)
        )

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Locks the row, in the order of requests."""
        same = [table.c[name] == value for name, value in row.items()]
        statement: Any = select(literal_column("1")).where(*same).with_for_update(read=shared)
        if shared:
            connection.execute(statement)
            return
        # New shared locks wait behind this one: a suspended worker that has one must not make all others wait.
        connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")
        try:
            connection.execute(statement)
        finally:
            connection.exec_driver_sql(f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS}")

    def lift_time_limit(self, connection: Connection) -> None:
        """Until the connection is closed, which happens instead of its return to the pool."""
        driver: Any = connection.connection.driver_connection
        connection.detach()
        driver.seconds = None
        connection.exec_driver_sql(_UNLIMITED)

    def try_insert(self, connection: Connection, table: Table, kind: TableKind) -> None:
        """With the same ON DUPLICATE KEY UPDATE."""
        statement = insert_nothing(mysql.insert(table), table)
        connection.execute(growing(statement, table) if kind is TableKind.AGGREGATES else statement)

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Prepares the statements, which checks the privilege: a table that was created could not be rolled back."""
        for table in tables:
            statement = str(CreateTable(table).compile(dialect=connection.dialect))
            connection.execute(text("SET @sparkle_trial = :statement"), {"statement": statement})
            connection.exec_driver_sql("PREPARE sparkle_trial FROM @sparkle_trial")
            connection.exec_driver_sql("DEALLOCATE PREPARE sparkle_trial")

    def is_own(self, error: BaseException) -> bool:
        """Whether the error comes from PyMySQL."""
        return any(each.__module__ == "pymysql.err" for each in type(error).__mro__)

    def is_transient(self, error: Any) -> bool:
        """Decide by the error number; an error without one comes from the driver, and may concern a value."""
        number = error_number(error)
        if number is None:
            return type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError", "Error")
        return is_client_error(number) or number in TRANSIENT or is_read_only(error)

    def server_message(self, error: Any) -> str | None:
        """The server's message; None if no server answered, or if it rejects the login."""
        number = error_number(error)
        unreachable = number is None or is_client_error(number) or number in REFUSED_LOGINS
        return None if unreachable else str(error.args[1])

    def remedy(self, error: Any) -> str:
        """Decide by the error number."""
        return REMEDIES.get(error_number(error) or 0) or super().remedy(error)

    def is_refused_login(self, error: Any) -> bool:
        """Decide by the error number."""
        return error_number(error) in REFUSED_LOGINS

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the server is read-only: after a failover, new connections lead to another one."""
        return is_read_only(error)

    def is_null_error(self, error: Any, column: str) -> bool:
        """Decide by the error number, and the message, in which the name of the column is quoted."""
        return error_number(error) == NULL_VALUE and f"'{column}'" in str(error)

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether the error is a deadlock, or an exceeded ``innodb_lock_wait_timeout``."""
        return is_lock_conflict(error)

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """A datetime."""
        return func.timestampadd(_SECOND, cast(number, BigInteger) * bucket_size, _EPOCH)

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """Seconds since the epoch."""
        return func.timestampdiff(_SECOND, _EPOCH, at)

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """From the hexadecimal digits that the database returns."""
        return func.left(func.unhex(func.sha2(name, 256)), 16)

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[int]:
        """From whole microseconds."""
        return func.timestampdiff(_MICROSECOND, _EPOCH, at).op("DIV", return_type=BigInteger())(
            span(bucket_size)
        )

    def converters(self, table: Table) -> Any:
        """For bulk statements: times are text."""
        return (utc_text, bytes) if columns.are_plain(table) else (moment, bytes)

    def insert_new(self, connection: Connection, table: Table, rows: Sequence[Row]) -> set[bytes]:
        """Inserts all rows or, if ids are known already, the others."""
        if not columns.are_plain(table):
            return super().insert_new(connection, table, rows)
        # In sorted order, so that two workers cannot deadlock.
        ordered = sorted(rows, key=itemgetter("id"))
        insert = Values(connection, mysql.insert(table), rows)
        return {id_ for some in insert.parts(ordered) for id_ in insert_new(connection, table, insert, some)}

    def upsert_growing(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Uses ON DUPLICATE KEY UPDATE."""
        keys, _ = key_names(table)
        names = (SERIES_KEY if name == "series_id" and SERIES_KEY in rows[0] else name for name in keys)
        ordered = sorted(rows, key=itemgetter(*names))
        insert = growing(mysql.insert(table), table)
        if columns.are_plain(table):
            values = Values(connection, insert, rows)
            for some in values.parts(ordered):
                values.insert(some)
        else:
            connection.execute(insert, ordered)

    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Deletes many rows with a statement."""
        for some in chunks(rows, _MAX_CONDITIONS):
            values = {
                f"{name}_{number}": value for number, row in enumerate(some) for name, value in row.items()
            }
            connection.execute(deletion(table, tuple(some[0]), len(some)), values)
