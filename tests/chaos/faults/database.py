"""Faults of the database."""

import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import psycopg2

from tests.chaos.sending import REFUSED_VALUE, Sent
from tests.chaos.world import World


def cut_connections(world: World) -> Iterator[float]:
    """Connections to the database that end in the middle of what they do."""
    for _ in range(12):
        world.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %(name)s",
            name="sparkle",
        )
        yield world.chance.uniform(0.2, 1)


def database_away(world: World) -> Iterator[float]:
    """No database for 60 s."""
    world.postgres.kill()
    yield 60
    world.postgres.start()


def database_hangs(world: World) -> Iterator[float]:
    """A database that takes connections and answers nothing for 30 s."""
    signal_postgres(world, signal.SIGSTOP)
    yield 30
    signal_postgres(world, signal.SIGCONT)


def signal_postgres(world: World, number: int) -> None:
    """Send a signal to all processes of PostgreSQL."""
    server = psutil.Process(world.postgres.process.pid)
    for process in [server, *server.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def table_locked(world: World) -> Iterator[float]:
    """Somebody locks a table for 20 s."""
    connection = psycopg2.connect(world.database_url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE temperature_readings IN ACCESS EXCLUSIVE MODE")
        yield 20
    connection.close()


def disk_full(world: World) -> Iterator[float]:
    """A database that answers every insert with: no space left on device."""
    world.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
    )
    for table in ("temperature_readings", "temperature_aggregates"):
        world.sql(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    yield 15
    for table in ("temperature_readings", "temperature_aggregates"):
        world.sql(f"DROP TRIGGER full_disk ON {table}")
    yield 0


def one_row_refused(world: World) -> Iterator[float]:
    """One row that the database refuses among 500 good ones."""
    world.sql(
        f"ALTER TABLE temperature_readings ADD CONSTRAINT refuse CHECK (value <> {REFUSED_VALUE}) NOT VALID"
    )
    records = [world.sender.make(plugin="Temperature", value=30.0) for _ in range(500)]
    refused = world.sender.make(plugin="Temperature", value=REFUSED_VALUE)
    records.insert(250, Sent(refused.value, refused.timestamp, None, "refused_by_database"))
    world.sender.send(*records)
    yield 5
