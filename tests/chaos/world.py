"""What is broken: Kafka, PostgreSQL and three workers, each started again by its supervisor when it ends."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2

from tests.chaos.sending import Reading, Sender, Sent
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.produce import create_topic
from tests.support.worker import Worker, Workspace

PARTITIONS = 4
WORKERS = 3
_RESTART_SECONDS = 1.0
READINGS = ("temperature_readings", "pu_workload_readings")


class World:
    """All processes of one run. Processes are started by the thread that made it, which must live as long as they.

    Arguments:
        folder: an empty one.
        chance: decides everything that is decided by chance.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        for name in ("broker", "postgres", "workspace"):
            (folder / name).mkdir()
        self.broker = KafkaBroker(folder / "broker")
        self.postgres = PostgresServer(folder / "postgres")
        self.workspace = Workspace(folder / "workspace")
        self.chance = chance
        self.wanted = [True] * WORKERS
        """Which workers their supervisors keep running."""
        self.restarts = 0
        """How often a supervisor had to start a worker that ended by itself."""
        self.mended = False
        """Whether the key that some records lacked was put in its place."""
        self._ended: dict[int, float] = {}
        self._done = 0

    def start(self) -> None:
        """Start everything, and wait until all workers work."""
        self.broker.start()
        self.postgres.start()
        # The collectors' time or, as the handler itself makes such topics, the broker's.
        kind = self.chance.choice(("CreateTime", "LogAppendTime"))
        create_topic(self.broker.bootstrap, self.workspace.topic, PARTITIONS, message_timestamp_type=kind)
        self.database_url = self.postgres.create_database("readings")
        self.environment = self.workspace.environment(
            self.broker.bootstrap, self.database_url, dead_letters__per_minute=1_000_000
        )
        self.sender = Sender(
            self.broker.bootstrap, self.workspace.topic, Collector(self.workspace.certs), self.chance
        )
        self.workers = [
            Worker(self.environment, self.workspace.folder / f"worker-{number}.log")
            for number in range(WORKERS)
        ]
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.wait_ready(90)

    def stop(self) -> list[str]:
        """End everything; the names of workers that did not leave by themselves within 15 s."""
        stuck = []
        self.wanted = [False] * WORKERS
        for worker in self.workers:
            worker.process.send_only(15)
        for worker in self.workers:
            try:
                worker.process.wait(15)
            except AssertionError:
                stuck.append(worker.process.name)
        self.kill()
        return stuck

    def kill(self) -> None:
        """SIGKILL to all that is left."""
        for worker in getattr(self, "workers", ()):
            worker.kill()
        self.broker.kill()
        self.postgres.remove()

    def pause(self, seconds: float) -> None:
        """Let time pass, in which supervisors look after their workers."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            self.supervise()
            time.sleep(min(0.2, deadline - now))

    def supervise(self) -> None:
        """Start the workers that ended a second ago and should be running."""
        for number, worker in enumerate(self.workers):
            if worker.process.running or not self.wanted[number]:
                self._ended.pop(number, None)
            elif time.monotonic() - self._ended.setdefault(number, time.monotonic()) >= _RESTART_SECONDS:
                del self._ended[number]
                self.restarts += 1
                worker.start()

    def done(self) -> int:
        """Raw rows and dead letters so far; the number last seen while the database does not answer."""
        try:
            counts = self.sql(" UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in READINGS))
        except psycopg2.Error:
            return self._done
        self._done = sum(int(count) for (count,) in counts)
        return self._done

    def becomes(self, sent: Sent) -> Reading | None:
        """What a record has to be a row of; None: it has to be a dead letter."""
        return sent.reading or (sent.once_mended if self.mended else None)

    def left(self) -> int:
        """Readings that the broker has acknowledged and that are no rows yet."""
        wanted = {record.value for record in self.sender.acknowledged().values() if self.becomes(record)}
        return len(wanted) - self.done()

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run a statement, without waiting for locks for long."""
        connection = psycopg2.connect(
            # psycopg2 knows no name of SQLAlchemy's drivers.
            self.database_url.replace("+psycopg2", ""),
            connect_timeout=2,
            options="-c lock_timeout=500 -c statement_timeout=20000",
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


Fault = Callable[[World], Iterator[float]]
"""Does something to a world, yields how many seconds that lasts, and goes on."""
