"""The databases of a chaos run: what differs between them, for the faults and for the oracle."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import pymysql
from sqlalchemy.engine import make_url

from tests.support.mariadb import MariadbServer
from tests.support.postgres import PostgresServer

DATABASE = "readings"
DATABASE_ERRORS = (psycopg2.Error, pymysql.err.Error)
"""What the drivers raise while a database is unreachable, locked, or read-only."""
_FULL_DISK = "full_disk"
_TABLES = ("temperature_readings_data", "temperature_aggregates_data")
Server = PostgresServer | MariadbServer


class ChaosDatabase(Protocol):
    """One kind of database."""

    id: str
    """The expression of a reading's id, in hexadecimal digits."""
    random: str
    """The expression of a random number, less than 1."""

    def server(self, folder: Path) -> Server:
        """A server, not started."""

    def connect(self, url: str) -> Any:
        """A connection of its driver, with short time limits."""

    def micros(self, column: str) -> str:
        """The expression of a time as microseconds since 1970."""

    def cut_connections(self, server: Any) -> None:
        """Terminate the handler's connections."""

    def lock(self, table: str) -> str:
        """The statement that locks a table as long as its connection lasts."""

    def fill_disk(self) -> Iterable[str]:
        """Statements after which inserts fail as on a full disk."""

    def free_disk(self) -> Iterable[str]:
        """Statements that undo this."""

    def reject(self, value: float) -> str:
        """The statement after which rows with a value are refused."""

    def writing(self, server: Any) -> bool:
        """Whether a read-only server still has transactions that may write."""


class PostgreSql:
    """PostgreSQL."""

    id = "replace(id::text, '-', '')"
    random = "random()"

    def server(self, folder: Path) -> PostgresServer:
        """A server, not started."""
        return PostgresServer(folder)

    def connect(self, url: str) -> Any:
        """A connection with a limit of 20 s for a statement, and 500 ms for a lock."""
        return psycopg2.connect(
            # psycopg2 does not accept the driver name of an SQLAlchemy URL.
            url.replace("+psycopg2", ""),
            connect_timeout=2,
            options="-c lock_timeout=500 -c statement_timeout=20000",
        )

    def micros(self, column: str) -> str:
        """The expression of a time as microseconds since 1970."""
        return f"(extract(epoch FROM {column}) * 1000000)::bigint"

    def cut_connections(self, server: PostgresServer) -> None:
        """Terminate the handler's connections."""
        self._run(
            server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sparkle'",
        )

    def lock(self, table: str) -> str:
        """Until the end of the transaction."""
        return f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"

    def fill_disk(self) -> Iterable[str]:
        """A trigger that raises the error of PostgreSQL."""
        yield (
            f"CREATE FUNCTION {_FULL_DISK}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
        )
        for table in _TABLES:
            yield (f"CREATE TRIGGER {_FULL_DISK} BEFORE INSERT ON {table} EXECUTE FUNCTION {_FULL_DISK}()")

    def free_disk(self) -> Iterable[str]:
        """Drops the triggers."""
        return [f"DROP TRIGGER {_FULL_DISK} ON {table}" for table in _TABLES]

    def reject(self, value: float) -> str:
        """A constraint that existing rows need not fulfil."""
        return (
            f"ALTER TABLE temperature_readings_data ADD CONSTRAINT reject CHECK (value <> {value}) NOT VALID"
        )

    def writing(self, server: PostgresServer) -> bool:
        """Whether a transaction of the handler has lasted for more than a second."""
        return bool(
            self._run(
                server,
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sparkle'"
                " AND now() - xact_start > interval '1 s'",
            )
        )

    def _run(self, server: PostgresServer, statement: str) -> list[Any]:
        return execute(self.connect(server.url(DATABASE)), statement, {})


class MariaDb:
    """MariaDB."""

    id = "lower(hex(id))"
    random = "rand()"

    def server(self, folder: Path) -> MariadbServer:
        """A server, not started."""
        return MariadbServer(folder)

    def connect(self, url: str) -> Any:
        """A connection with a limit of 20 s for a statement, and 1 s for a lock."""
        parsed = make_url(url)
        return pymysql.connect(
            host=parsed.host,
            port=parsed.port or 3306,
            user=parsed.username,
            password=parsed.password or "",
            database=parsed.database,
            charset="utf8mb4",
            connect_timeout=2,
            read_timeout=25,
            init_command="SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+00:00', lock_wait_timeout = 1,"
            " innodb_lock_wait_timeout = 1, max_statement_time = 20",
        )

    def micros(self, column: str) -> str:
        """The expression of a time as microseconds since 1970."""
        return f"timestampdiff(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {column})"

    def cut_connections(self, server: MariadbServer) -> None:
        """Terminate the handler's connections."""
        server.end_sessions(DATABASE)

    def lock(self, table: str) -> str:
        """Until the connection ends."""
        return f"LOCK TABLES {table} WRITE"

    def fill_disk(self) -> Iterable[str]:
        """A trigger that raises the error of InnoDB."""
        for table in _TABLES:
            yield (
                f"CREATE TRIGGER {_FULL_DISK}_{table} BEFORE INSERT ON {table} FOR EACH ROW"
                f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table ''{table}'' is full'"
            )

    def free_disk(self) -> Iterable[str]:
        """Drops the triggers."""
        return [f"DROP TRIGGER {_FULL_DISK}_{table}" for table in _TABLES]

    def reject(self, value: float) -> str:
        """A constraint."""
        return f"ALTER TABLE temperature_readings_data ADD CONSTRAINT reject CHECK (value <> {value})"

    def writing(self, server: MariadbServer) -> bool:
        """False: SET GLOBAL read_only waits for statements, and what has not been committed by then cannot be."""
        return False


DATABASES: Mapping[str, ChaosDatabase] = {"postgresql": PostgreSql(), "mariadb": MariaDb()}


def execute(connection: Any, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Execute a statement, commit, and close the connection; returns its rows."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
        return rows
    finally:
        connection.close()
