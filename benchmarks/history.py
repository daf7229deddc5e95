"""Prepares the database: generates stored readings of earlier days in SQL, and slows down inserts."""

from collections.abc import Callable

from sqlalchemy import Connection, text

_COLUMNS = (
    "id, config_id, hostname, metric, value, observed_at, received_at, clock_trusted, topic,"
    ' "partition", "offset"'
)
# Ids in ascending order build an even index fast. The ids of new readings are distributed over the whole range.
_SQLITE = """
WITH RECURSIVE old (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM old WHERE n + 1 < :number)
SELECT printf('%08x', n * 4294967295 / :number) || lower(hex(randomblob(12))), 1, 'old-' || (n % 5000),
  'core/' || (n / 5000 % 16), 40.5, strftime('%Y-%m-%d %H:%M:%S.000000', 1700000000 + n / 100, 'unixepoch'),
  strftime('%Y-%m-%d %H:%M:%S.000000', 1700000000 + n / 100, 'unixepoch'), 1, 'telemetry', n % 8, n FROM old
"""
_POSTGRESQL = """
SELECT (lpad(to_hex(n * 4294967295 / :number), 8, '0') || substr(md5(n::text), 1, 24))::uuid, 1, 'old-' || (n % 5000),
  'core/' || (n / 5000 % 16), 40.5, to_timestamp(1700000000 + n / 100), to_timestamp(1700000000 + n / 100), true,
  'telemetry', n % 8, n FROM generate_series(0::bigint, :number - 1) AS old (n)
"""


def raw_rows(number: int) -> Callable[[Connection], None]:
    """A function that inserts ``number`` readings of 5,000 other hosts into the table of Temperature."""

    def fill(connection: Connection) -> None:
        table, index = "temperature_readings", "ix_temperature_readings_hostname_observed_at"
        select = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
        # Creating the index afterwards is faster.
        connection.execute(text(f"DROP INDEX {index}"))
        connection.execute(text(f"INSERT INTO {table} ({_COLUMNS}) {select}"), {"number": number})
        connection.execute(text(f"CREATE INDEX {index} ON {table} (hostname, observed_at)"))
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
        text("CREATE TRIGGER slow BEFORE INSERT ON temperature_readings EXECUTE FUNCTION sleep()")
    )
    connection.commit()
