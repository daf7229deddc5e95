"""The faults. Each is a generator: it does something, yields how many seconds it lasts, and goes on.

So one thread can interleave two of them, while supervisors restart what ends.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import psutil
import psycopg2
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos import commands
from tests.chaos.crashing_worker import POINTS
from tests.chaos.sending import REFUSED_VALUE, Sent
from tests.chaos.world import PARTITIONS, WORKERS, World
from tests.support.processes import Process
from tests.support.produce import consume_all
from tests.support.worker import PROJECT

Fault = Callable[[World], Iterator[float]]
LONGER_THAN_A_SESSION = 20
"""Workers' sessions with the broker last 15 s."""


def kill_one_after_another(world: World) -> Iterator[float]:
    """Kill -9 of one worker of three, in turn."""
    first = world.chance.randrange(WORKERS)
    for number in range(WORKERS):
        world.workers[(first + number) % WORKERS].kill()
        yield 4


def kill_all(world: World) -> Iterator[float]:
    """Kill -9 of all workers at once."""
    for worker in world.workers:
        worker.kill()
    yield 0


def kill_a_decrypting_process(world: World) -> Iterator[float]:
    """Kill -9 of a process that decrypts for a worker, which then has to end by itself."""
    worker = world.chance.choice(world.workers).process
    before = worker.pid
    world.chance.choice(psutil.Process(before).children()).kill()
    for _ in range(60):
        yield 0.25
        if worker.pid != before:
            return
    raise AssertionError(f"{worker.name} goes on without a process that decrypts; {worker.tail()}")


def suspend(world: World) -> Iterator[float]:
    """A worker that sleeps for longer than its session, and then writes what it was about to."""
    victim = world.chance.choice(world.workers).process
    victim.send(signal.SIGSTOP)
    yield LONGER_THAN_A_SESSION
    victim.send(signal.SIGCONT)
    yield 0


def churn(world: World) -> Iterator[float]:
    """Workers that leave and join every 2 to 4 s."""
    for turn in range(8):
        number = turn % WORKERS
        world.wanted[number] = False
        world.workers[number].process.send_only(signal.SIGTERM)
        yield world.chance.uniform(2, 4)
        world.wanted[number] = True
    yield 0


def _terminate(world: World) -> Iterator[float]:
    number = world.chance.randrange(WORKERS)
    victim = world.workers[number]
    world.wanted[number] = False
    victim.process.send_only(signal.SIGTERM)
    for _ in range(15):
        yield 1
        if not victim.process.running:
            break
    assert not victim.process.running, f"{victim.process.name} did not leave within 15 s of SIGTERM"
    world.wanted[number] = True


def terminate(world: World) -> Iterator[float]:
    """SIGTERM with records waiting."""
    yield from _terminate(world)


def terminate_while_the_database_hangs(world: World) -> Iterator[float]:
    """SIGTERM while no statement returns."""
    _signal_postgres(world, signal.SIGSTOP)
    yield 3
    try:
        yield from _terminate(world)
    finally:
        _signal_postgres(world, signal.SIGCONT)


def _crash_after(point: str) -> Fault:
    def crash(world: World) -> Iterator[float]:
        number = world.chance.randrange(WORKERS)
        usual = world.workers[number].process
        world.wanted[number] = False
        usual.send_only(signal.SIGTERM)
        while usual.running:
            yield 0.2
        doomed = Process(
            f"the worker that ends after: {point}",
            [sys.executable, "-m", "tests.chaos.crashing_worker", "-A", "sparkle_app", "worker"],
            usual.log.with_suffix(".doomed.log"),
            environment={
                **world.environment,
                "SPARKLE_WEB__PORT": str(world.workers[number].port),
                "CRASH_AFTER": point,
                "CRASH_TIMES": str(world.chance.randint(1, 4)),
            },
            folder=PROJECT,
        )
        doomed.start()
        try:
            # Its partner may keep the database away for 60 s.
            for _ in range(600):
                yield 0.25
                if not doomed.running:
                    break
            assert doomed.exit_code == -signal.SIGKILL, f"{doomed.name} did not; {doomed.tail()}"
        finally:
            doomed.kill()
            world.wanted[number] = True

    crash.__doc__ = f"A worker that is killed right after: {point}."
    return crash


def restart_broker(world: World) -> Iterator[float]:
    """The broker ends and starts again, five times."""
    for _ in range(5):
        world.broker.stop()
        yield 1
        world.broker.start()
        yield 3


def kill_broker(world: World) -> Iterator[float]:
    """Kill -9 of the broker."""
    world.broker.kill()
    yield 2
    world.broker.start()


def broker_away(world: World) -> Iterator[float]:
    """No broker for 60 s."""
    world.broker.stop()
    yield 60
    world.broker.start()


def more_partitions(world: World) -> Iterator[float]:
    """The collectors' topic gets more partitions than before."""
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    topic = world.workspace.topic
    admin.create_partitions([NewPartitions(topic, PARTITIONS + 3)])[topic].result(20)
    for _ in range(60):
        yield 1
        if any(partition >= PARTITIONS for partition, _ in world.sender.acknowledged()):
            return
    raise AssertionError("nothing was sent to the new partitions within 60 s")


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
    _signal_postgres(world, signal.SIGSTOP)
    yield 30
    _signal_postgres(world, signal.SIGCONT)


def _signal_postgres(world: World, number: int) -> None:
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


def replay_of_everything(world: World) -> Iterator[float]:
    """A captured topic that is sent again, as a whole."""
    world.sender.flush()
    known = world.sender.acknowledged()
    captured = consume_all(world.broker.bootstrap, world.workspace.topic)
    world.sender.send(
        *(
            known[record.partition, record.offset]
            for record in captured
            if (record.partition, record.offset) in known
        )
    )
    yield 0


def state_lost(world: World) -> Iterator[float]:
    """The tables' changelogs and the workers' data are deleted while no worker runs."""
    world.wanted = [False] * WORKERS
    for worker in world.workers:
        worker.kill()
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    changelogs = [name for name in admin.list_topics(timeout=10).topics if name.endswith("-changelog")]
    assert changelogs, "there is no changelog to delete"
    for future in admin.delete_topics(changelogs).values():
        future.result(20)
    for path in sorted(world.workspace.data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    yield 2
    world.wanted = [True] * WORKERS


CRASHES = {f"killed after {point}": _crash_after(point) for point in POINTS}
FAULTS: dict[str, Fault] = {
    "workers killed in turn": kill_one_after_another,
    "all workers killed": kill_all,
    "a decrypting process killed": kill_a_decrypting_process,
    "a worker suspended 20 s": suspend,
    "workers come and go": churn,
    "SIGTERM": terminate,
    "SIGTERM, database hangs": terminate_while_the_database_hangs,
    **CRASHES,
    "broker restarted 5 times": restart_broker,
    "broker killed": kill_broker,
    "broker away 60 s": broker_away,
    "more partitions": more_partitions,
    "connections cut": cut_connections,
    "database away 60 s": database_away,
    "database hangs 30 s": database_hangs,
    "table locked 20 s": table_locked,
    "disk full": disk_full,
    "a row refused": one_row_refused,
    "everything sent again": replay_of_everything,
    "state lost": state_lost,
    "rebuild while working": commands.rebuild,
    "replay while working": commands.replay,
}

_BROKER = {"broker restarted 5 times", "broker killed", "broker away 60 s", "more partitions"}
_DATABASE = {
    "SIGTERM, database hangs", "connections cut", "database away 60 s", "database hangs 30 s", "table locked 20 s",
    "disk full", "a row refused",
}  # fmt: skip
_LEAVING = {
    "SIGTERM", "SIGTERM, database hangs", "workers come and go", "a worker suspended 20 s",
    "a decrypting process killed",
}  # fmt: skip
_STARTING = {"state lost", "workers come and go", *CRASHES}


def clash(names: Sequence[str]) -> bool:
    """Whether two faults work on the same part in ways that make no sense together, such as to lock a table of a
    database that is away."""
    return any(len(part & set(names)) > 1 for part in (_BROKER, _DATABASE, _LEAVING, _STARTING))
