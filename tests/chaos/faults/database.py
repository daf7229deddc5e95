"""Faults of the database."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from typing import Any, cast

import psutil

from tests.chaos.databases import DATABASE, DATABASE_ERRORS
from tests.chaos.sending import REJECTED_VALUE, Sent
from tests.chaos.world import World


def cut_connections(world: World) -> Iterator[float]:
    """Terminate the handler's connections to the database, repeatedly."""
    for _ in range(12):
        world.database.cut_connections(world.server)
        yield world.rng.uniform(0.2, 1)


def stop_database(world: World) -> Iterator[float]:
    """Kill the database with SIGKILL, and start it again after 60 s."""
    world.server.kill()
    yield 60
    world.server.start()


def suspend_database(world: World) -> Iterator[float]:
    """Suspend the database for 30 s: connections are accepted, but no statement returns."""
    signal_database(world, signal.SIGSTOP)
    yield 30
    signal_database(world, signal.SIGCONT)


def signal_database(world: World, number: int) -> None:
    """Send a signal to all processes of the database."""
    server = psutil.Process(world.server.process.pid)
    for process in [server, *server.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def fail_over(world: World) -> Iterator[float]:
    """Make the server read-only, copy it to another one, and lead new connections there 20 s later."""
    world.server.make_read_only()
    yield 1
    # Transactions that had begun may still write.
    while world.database.writing(world.server):
        yield 0.2
    world.standby.start()
    # Both are of one kind.
    world.standby.copy_database(DATABASE, cast(Any, world.server))
    yield 20
    world.proxy.target = f"127.0.0.1:{world.standby.port}"
    world.server, world.standby = world.standby, world.server
    yield 0


def lock_table(world: World) -> Iterator[float]:
    """Lock a table for 20 s."""
    with closing(world.database.connect(world.database_url)) as connection:
        while True:
            with suppress(*DATABASE_ERRORS), connection.cursor() as cursor:
                cursor.execute(world.database.lock("temperature_readings_data"))
                break
            # Others use it.
            connection.rollback()
            yield 0.2
        yield 20


def fill_disk(world: World) -> Iterator[float]:
    """Let every insert fail as on a full disk."""
    yield from _execute(world, world.database.fill_disk())
    yield 15
    yield from _execute(world, world.database.free_disk())


def _execute(world: World, statements: Iterable[str]) -> Iterator[float]:
    """Execute statements, each as soon as nobody uses the table."""
    for statement in statements:
        while True:
            with suppress(*DATABASE_ERRORS):
                world.sql(statement)
                break
            yield 0.2


def reject_one_row(world: World) -> Iterator[float]:
    """Let the database reject one row among 500 valid ones."""
    yield from _execute(world, [world.database.reject(REJECTED_VALUE)])
    records = [world.sender.make(plugin="Temperature", value=30.0) for _ in range(500)]
    rejected = world.sender.make(plugin="Temperature", value=REJECTED_VALUE)
    records.insert(250, Sent(rejected.value, rejected.timestamp, None, "refused_by_database"))
    world.sender.send(*records)
    yield 5
