"""Prepares the database: generates stored readings of earlier days in SQL, and slows down inserts."""

from collections.abc import Callable

from sqlalchemy import Connection, text

from sparkle_app.model.retention import READINGS
from sparkle_app.storage.names import create_series, create_sources

_HOSTS, _METRICS = 5000, 16
_COLUMNS = 'id, observed_at, received_at, "offset", value, series_id, source_id'
# Ids in ascending order build an even index fast. The ids of new readings are distributed over the whole range.
_SQLITE = """
WITH RECURSIVE old (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM old WHERE n + 1 < :number)
SELECT sparkle_unhex(printf('%08x', n * 4294967295 / :number) || lower(hex(randomblob(12)))),
  1700000000000000 + n * 10000, 1700000000000000 + n * 10000, n, 40.5, s.id, c.id
FROM old JOIN sparkle_series s ON s.hostname = 'old-' || (n % 5000) AND s.metric = 'core/' || (n / 5000 % 16)
  JOIN sparkle_sources c ON c.topic = 'old' AND c.partition = n % 8
"""
_POSTGRESQL = """
SELECT (lpad(to_hex(n * 4294967295 / :number), 8, '0') || substr(md5(n::text), 1, 24))::uuid,
  to_timestamp(1700000000 + n / 100.0), to_timestamp(1700000000 + n / 100.0), n, 40.5, s.id, c.id
FROM generate_series(0::bigint, :number - 1) AS old (n)
  JOIN sparkle_series s ON s.hostname = 'old-' || (n % 5000) AND s.metric = 'core/' || (n / 5000 % 16)
  JOIN sparkle_sources c ON c.topic = 'old' AND c.partition = n % 8
"""


def raw_rows(number: int) -> Callable[[Connection], None]:
    """A function that inserts ``number`` readings of 5,000 other hosts into the table of Temperature."""

    def fill(connection: Connection) -> None:
        table = "temperature_readings_data"
        index = f"ix_{table}_series_id"
        names = [(f"old-{host}", f"core/{metric}") for host in range(_HOSTS) for metric in range(_METRICS)]
        create_series(connection, names, READINGS)
        create_sources(connection, [(1, "old", partition, True) for partition in range(8)])
        select = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
        # Creating the index afterwards is faster.
        connection.execute(text(f"DROP INDEX {index}"))
        connection.execute(text(f"INSERT INTO {table} ({_COLUMNS}) {select}"), {"number": number})
        connection.execute(text(f"CREATE INDEX {index} ON {table} (series_id, observed_at)"))
        connection.commit()
        if connection.dialect.name == "postgresql":
            # As autovacuum would have done.
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text(f"VACUUM ANALYZE {table}")
            )

    return fill


def slow_inserts(connection: Connection) -> None:
    """Delay each statement that inserts readings of Temperature into PostgreSQL by half a second."""
    connection.execute(
        text(
            "CREATE FUNCTION sleep() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(0.5); RETURN NULL; END $$"
        )
    )
    connection.execute(
        text("CREATE TRIGGER slow BEFORE INSERT ON temperature_readings_data EXECUTE FUNCTION sleep()")
    )
    connection.commit()
