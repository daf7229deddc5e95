"""PostgreSQL, with the driver psycopg2 or psycopg."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    Table,
    Text,
    Uuid,
    cast,
    event,
    func,
    literal,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from sparkle_app.storage.deadlines import CONNECT_SECONDS, PING_SECONDS, limit_calls
from sparkle_app.storage.dialects import postgresql_errors
from sparkle_app.storage.dialects.on_conflict import OnConflict, OnConflictDialect
from sparkle_app.storage.dialects.postgresql_errors import LOCK_STATES, READ_ONLY_STATE, state
from sparkle_app.storage.dialects.postgresql_statements import insert_from_json, json_of, rows_from_json
from sparkle_app.storage.statements import Row, chunks, name_key

_DRIVERS = ("psycopg2", "psycopg")
_STATEMENT_SECONDS = 60
# After statement_timeout, a server that is there has answered.
_ANSWER_SECONDS = _STATEMENT_SECONDS + 5
_CONNECT_ARGUMENTS = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "sparkle",
    # A server that vanished without closing the connection is noticed within 30 s instead of hours. The probes also
    # keep the entry of a NAT. They do not notice that a proxy has forgotten the connection.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# The locks of a suspended worker are released by the time its partitions are assigned to another worker, and no
# wait is unlimited. Set in each transaction: behind PgBouncer, the next one may use another connection to the server.
_LIMITS = (
    "SET LOCAL idle_in_transaction_session_timeout = '15s'; SET LOCAL lock_timeout = '10s';"
    " SET LOCAL statement_timeout = '{}s';"
    # Statements read few rows of large tables, by an index. By default, PostgreSQL takes a random page for four times
    # as expensive as the next one, and may read the whole table instead.
    " SET LOCAL random_page_cost = 1.1"
)
# Queries of a worker leave the other cores to the pipeline.
_ONE_CORE = "; SET LOCAL max_parallel_workers_per_gather = 0"
# Connections to a server that has become a standby are replaced after this time even if they only read.
_RECYCLE_SECONDS = 60
# Key of the advisory lock that is held while tables are created: an arbitrary number, the same in all workers.
_SCHEMA_LOCK = 7_275_339
_TRIAL_ROWS = "SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000)"


class PostgreSql(OnConflictDialect):
    """PostgreSQL 13 and newer."""

    notice = None
    max_writers = sys.maxsize
    time_type = DateTime(timezone=True)
    id_type = Uuid()
    resolves_series = True
    hashes_names = True
    transactional_ddl = True

    def create_engine(self, url: URL, *, for_command: bool, pool: Mapping[str, Any]) -> Engine:
        """As in the base class."""
        options = {
            # Whatever the server's default: after it has waited for a lock, a writer sees what others have committed.
            "isolation_level": "READ COMMITTED",
            "pool_pre_ping": True,
            "pool_recycle": _RECYCLE_SECONDS,
            "hide_parameters": True,
            **pool,
        }
        if url.get_driver_name() == "psycopg":
            from sparkle_app.storage.psycopg_connection import make_psycopg_engine

            engine = make_psycopg_engine(url, _CONNECT_ARGUMENTS, options)
        else:
            from sparkle_app.storage.psycopg2_connection import make_psycopg2_engine

            engine = make_psycopg2_engine(url, _CONNECT_ARGUMENTS, options, for_command=for_command)
        limits = _LIMITS.format(0) if for_command else _LIMITS.format(_STATEMENT_SECONDS) + _ONE_CORE

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql(limits)

        limit_calls(engine, None if for_command else _ANSWER_SECONDS, in_pool=PING_SECONDS)
        return engine

    def schema_lock(self, connection: Connection) -> AbstractContextManager[None]:
        """Take an advisory lock until the transaction ends: two workers that start would both create the tables."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})
        return nullcontext()

    def lock_row(self, connection: Connection, table: Table, row: Row, *, shared: bool) -> None:
        """Take an advisory lock: unlike one of rows, it is granted in the order of requests, and writes nothing."""
        if not shared:
            # New shared locks wait behind this one: a suspended worker that has one must not make all others wait.
            connection.execute(text("SET LOCAL lock_timeout = '1s'"))
        key = int.from_bytes(name_key(f"{table.name}:{row}")[:8], signed=True)
        lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        connection.execute(select(lock(literal(key, BigInteger))))

    def lift_time_limit(self, connection: Connection) -> None:
        """Lift the server's limit, and that of the connection, which returns when it is used again."""
        driver: Any = connection.connection.driver_connection
        driver.seconds = None
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")

    def try_creating(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Create them: the only way to learn about a missing privilege, or a missing schema, in the same words."""
        if tables:
            self.schema_lock(connection)
            tables[0].metadata.create_all(connection, tables=list(tables))

    def try_disk_space(self, connection: Connection) -> None:
        """Create a temporary table of 1 MB, in the tablespace of temporary tables, without WAL."""
        if connection.scalar(select(func.has_database_privilege(func.current_database(), "TEMPORARY"))):
            connection.execute(text(f"CREATE TEMPORARY TABLE sparkle_trial AS {_TRIAL_ROWS}"))

    def continue_keys(self, connection: Connection, table: Table) -> None:
        """The value of a sequence does not depend on the rows."""
        if (column := table.autoincrement_column) is not None:
            name = connection.dialect.identifier_preparer.format_table(table)
            sequence = func.pg_get_serial_sequence(name, column.name)
            newest = select(func.max(column)).scalar_subquery()
            connection.execute(select(func.setval(sequence, newest)))

    def is_own(self, error: BaseException) -> bool:
        """Whether the error comes from one of the drivers."""
        return any(each.__module__.partition(".")[0] in _DRIVERS for each in type(error).__mro__)

    def is_transient(self, error: Any) -> bool:
        """Decide by SQLSTATE or, without one, by the type of the driver's error."""
        return postgresql_errors.is_transient(error)

    def server_message(self, error: Any) -> str | None:
        """The server's primary message; None if no server answered."""
        return str(error.diag.message_primary) if state(error) else None

    def remedy(self, error: Any) -> str:
        """Decide by SQLSTATE, or by the message."""
        return postgresql_errors.remedy(error) or super().remedy(error)

    def is_refused_login(self, error: Any) -> bool:
        """Decide by the message."""
        return postgresql_errors.is_refused_login(error)

    def is_wrong_server(self, error: Any) -> bool:
        """Whether the server is read-only: after a failover, new connections lead to another one."""
        return state(error) == READ_ONLY_STATE

    def is_null_error(self, error: Any, column: str) -> bool:
        """Decide by SQLSTATE."""
        return state(error) == "23502" and bool(error.diag.column_name == column)

    def is_lock_conflict(self, error: Any) -> bool:
        """Whether the error is a deadlock, or an exceeded ``lock_timeout``."""
        return state(error) in LOCK_STATES

    def time_value(self, at: datetime) -> datetime:
        """The same."""
        return at

    def time_of(self, value: datetime) -> datetime:
        """From the time zone of the session to UTC."""
        return value.astimezone(UTC)

    def insert(self, table: Table) -> Any:
        """INSERT … ON CONFLICT."""
        return postgresql.insert(table)

    def readable_bucket(
        self, number: ColumnElement[Any], bucket_size: ColumnElement[Any]
    ) -> ColumnElement[Any]:
        """A timestamp with time zone."""
        return func.to_timestamp(cast(number, BigInteger) * bucket_size)

    def whole_seconds(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """Seconds since the epoch."""
        return cast(func.floor(func.extract("epoch", at)), BigInteger)

    def name_key(self, name: ColumnElement[str]) -> ColumnElement[Any]:
        """As a UUID."""
        digest = func.substring(func.sha256(func.convert_to(name, literal("UTF8"))), 1, 16)
        return cast(func.encode(digest, literal("hex")), Uuid)

    def bucket_number(self, at: ColumnElement[Any], bucket_size: int) -> ColumnElement[int]:
        """Until 2106, a double, which PostgreSQL 13 has instead of a numeric, distinguishes microseconds."""
        size = literal(bucket_size, BigInteger)
        return cast(func.floor(func.extract("epoch", at) / size), BigInteger)

    def native_time(self, at: int) -> int:
        """The same: the server converts them in less time."""
        return at

    def insert_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> None:
        """Passes all rows as one JSON array."""
        for some in chunks(rows):
            statement = on_conflict(insert_from_json(table, list(some[0])))
            connection.execute(statement, {"rows": json_of(table, some)})

    def insert_new_rows(
        self, connection: Connection, table: Table, rows: Sequence[Row], on_conflict: OnConflict
    ) -> set[bytes]:
        """Passes all rows as one JSON array, and returns the ids of those inserted as one text."""
        inserted: set[bytes] = set()
        for some in chunks(rows):
            insert = on_conflict(insert_from_json(table, list(some[0]))).returning(table.c.id).cte("inserted")
            digits = func.replace(cast(insert.c.id, Text), literal_column("'-'"), literal_column("''"))
            statement = select(func.string_agg(digits, literal_column("''")))
            found = bytes.fromhex(
                connection.execute(statement, {"rows": json_of(table, some)}).scalar() or ""
            )
            inserted.update(found[place : place + 16] for place in range(0, len(found), 16))
        return inserted

    def delete_rows(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Passes the rows as one JSON array to DELETE … USING."""
        for some in chunks(rows):
            given = rows_from_json(table, list(some[0]))
            same = [table.c[name] == given.c[name] for name in some[0]]
            connection.execute(table.delete().where(*same), {"rows": json_of(table, some)})
