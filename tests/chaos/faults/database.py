"""Faults of the database."""

import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import psycopg2

from tests.chaos.sending import REJECTED_VALUE, Sent
from tests.chaos.world import DATABASE, World


def cut_connections(world: World) -> Iterator[float]:
    """Terminate the handler's connections to the database, repeatedly."""
    for _ in range(12):
        world.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %(name)s",
            name="sparkle",
        )
        yield world.rng.uniform(0.2, 1)


def stop_database(world: World) -> Iterator[float]:
    """Kill the database with SIGKILL, and start it again after 60 s."""
    world.postgres.kill()
    yield 60
    world.postgres.start()


def suspend_database(world: World) -> Iterator[float]:
    """Suspend the database for 30 s: connections are accepted, but no statement returns."""
    signal_postgres(world, signal.SIGSTOP)
    yield 30
    signal_postgres(world, signal.SIGCONT)


def signal_postgres(world: World, number: int) -> None:
    """Send a signal to all processes of PostgreSQL."""
    server = psutil.Process(world.postgres.process.pid)
    for process in [server, *server.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def fail_over(world: World) -> Iterator[float]:
    """Make the server read-only, copy it to another one, and lead new connections there 20 s later."""
    old, new = world.postgres, world.standby
    old.make_read_only()
    yield 1
    # Transactions that had begun may still write.
    while world.sql(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = %(name)s"
        " AND now() - xact_start > interval '1 s'",
        name="sparkle",
    ):
        yield 0.2
    new.start()
    new.copy_database(DATABASE, old)
    yield 20
    world.database.target = f"127.0.0.1:{new.port}"
    world.postgres, world.standby = new, old
    yield 0


def lock_table(world: World) -> Iterator[float]:
    """Lock a table for 20 s."""
    connection = psycopg2.connect(world.database_url.replace("+psycopg2", ""))
    with connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE temperature_readings IN ACCESS EXCLUSIVE MODE")
        yield 20
    connection.close()


def fill_disk(world: World) -> Iterator[float]:
    """Let every insert fail with "No space left on device"."""
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


def reject_one_row(world: World) -> Iterator[float]:
    """Let the database reject one row among 500 valid ones."""
    world.sql(
        f"ALTER TABLE temperature_readings ADD CONSTRAINT reject CHECK (value <> {REJECTED_VALUE}) NOT VALID"
    )
    records = [world.sender.make(plugin="Temperature", value=30.0) for _ in range(500)]
    rejected = world.sender.make(plugin="Temperature", value=REJECTED_VALUE)
    records.insert(250, Sent(rejected.value, rejected.timestamp, None, "refused_by_database"))
    world.sender.send(*records)
    yield 5
