"""The system under test: Kafka, a database, and three workers, which a supervisor restarts."""

import random
import time
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

from tests.chaos.databases import DATABASE, DATABASE_ERRORS, DATABASES, ChaosDatabase, execute
from tests.chaos.sending import Place, Reading, Sender, Sent
from tests.support import stepping_worker
from tests.support.collector import Collector
from tests.support.faults import faults_of
from tests.support.kafka import KafkaBroker
from tests.support.produce import create_topic
from tests.support.proxy import Proxy
from tests.support.worker import Worker, Workspace

PARTITIONS = 4
STORM = 5_000
_PER_CAUSE = 500
"""Limit of dead letters of one cause and worker in a minute: fewer than a storm has, more than other causes have."""
WORKERS = 3
_RESTART_SECONDS = 1.0
READINGS = ("temperature_readings", "pu_workload_readings")


class World:
    """All processes of one run. Use it from one thread: processes are killed when the thread that started them ends.

    Arguments:
        folder: an empty folder.
        rng: source of all random decisions.
        database: its kind.
        proxied: whether the workers reach the broker through a proxy. Everything else does not.
        stepping: whether the clocks of the workers can be changed.
    """

    def __init__(
        self,
        folder: Path,
        rng: random.Random,
        database: ChaosDatabase = DATABASES["postgresql"],
        *,
        proxied: bool = False,
        stepping: bool = False,
    ) -> None:
        for name in ("broker", "database", "standby", "workspace"):
            (folder / name).mkdir()
        self.broker = KafkaBroker(folder / "broker")
        self.bootstrap = Proxy(self.broker.bootstrap)
        """The address that stays when the broker moves."""
        self.database = database
        self.server = database.server(folder / "database")
        """The server to which new connections lead."""
        self.standby = database.server(folder / "standby")
        """Not started."""
        self.proxy = Proxy(f"127.0.0.1:{self.server.port}")
        """The address that stays when another server takes over."""
        self.workspace = Workspace(folder / "workspace")
        self.rng = rng
        self.folder = folder
        self.forgotten: Set[Place] = frozenset()
        """Records whose dead letters the broker has lost."""
        self.settings: dict[str, object] = {"dead_letters__per_cause": _PER_CAUSE}
        """Settings of the workers, in addition to those of the workspace."""
        self.should_run = [True] * WORKERS
        """For each worker, whether the supervisor restarts it."""
        self.listeners: list[Proxy] = []
        """The address that the broker advertises to the workers, if ``proxied``."""
        self.restarts = 0
        """How often the supervisor restarted a worker."""
        self.key_added = False
        """Whether the private key that some records need has been added."""
        self._proxied = proxied
        self._stepping = stepping
        self._exited_at: dict[int, float] = {}
        self._stored = 0

    def start(self) -> None:
        """Start all processes, and wait until all workers are ready."""
        broker_url = self.bootstrap.address
        if self._proxied:
            self.listeners = [Proxy(self.broker.addresses["EXTERNAL"])]
            broker_url = self.listeners[0].address
            self.broker.advertise("EXTERNAL", broker_url)
        self.broker.start()
        self.server.start()
        # The handler creates topics with LogAppendTime; CreateTime is supported as well.
        self.timestamp_type = self.rng.choice(("CreateTime", "LogAppendTime"))
        create_topic(
            self.broker.bootstrap,
            self.workspace.topic,
            PARTITIONS,
            message_timestamp_type=self.timestamp_type,
        )
        self.server.create_database(DATABASE)
        self.database_url = self.server.url(DATABASE, self.proxy.port)
        self.environment = self.workspace.environment(
            broker_url,
            self.database_url,
            **self.settings,
        )
        self.sender = Sender(
            self.bootstrap.address, self.workspace.topic, Collector(self.workspace.certs), self.rng
        )
        self.workers = [
            Worker(
                {**self.environment, "CLOCK_OFFSET": str(self.clock_offset(number))},
                self.workspace.folder / f"worker-{number}.log",
                command=stepping_worker.command() if self._stepping else None,
            )
            for number in range(WORKERS)
        ]
        for worker in self.workers:
            worker.start()
        for worker in self.workers:
            worker.wait_ready(90)

    def clock_offset(self, number: int) -> Path:
        """The file with the seconds by which the clock of a worker is wrong."""
        return self.workspace.folder / f"clock-{number}"

    def stop(self) -> list[str]:
        """Stop all processes; returns how workers exited that should not, and the defects that they have logged."""
        problems = []
        self.should_run = [False] * WORKERS
        for worker in self.workers:
            worker.process.send_only(15)
        for worker in self.workers:
            try:
                code = worker.process.wait(15)
            except AssertionError:
                problems.append(f"{worker.process.name} did not exit within 15 s")
            else:
                if code:
                    problems.append(f"{worker.process.name} exited with code {code} after SIGTERM")
        self.kill()
        logs = sorted(self.workspace.folder.glob("worker-*.log"))
        return problems + [f"{log.name}: {fault}" for log in logs for fault in faults_of(log)]

    def kill(self) -> None:
        """Send SIGKILL to all remaining processes."""
        for worker in getattr(self, "workers", ()):
            worker.kill()
        self.broker.kill()
        self.server.remove()
        self.standby.remove()
        for proxy in (self.bootstrap, self.proxy, *self.listeners):
            proxy.close()

    def pause(self, seconds: float) -> None:
        """Wait, and meanwhile restart workers that have exited."""
        deadline = time.monotonic() + seconds
        while (now := time.monotonic()) < deadline:
            self.supervise()
            time.sleep(min(0.2, deadline - now))

    def supervise(self) -> None:
        """Restart the workers that exited more than a second ago and should be running."""
        for number, worker in enumerate(self.workers):
            if worker.process.running or not self.should_run[number]:
                self._exited_at.pop(number, None)
            elif time.monotonic() - self._exited_at.setdefault(number, time.monotonic()) >= _RESTART_SECONDS:
                del self._exited_at[number]
                self.restarts += 1
                worker.start()

    def stored(self) -> int:
        """The number of stored readings; while the database is unreachable, the last known number."""
        try:
            counts = self.sql(" UNION ALL ".join(f"SELECT count(*) FROM {table}" for table in READINGS))
        except DATABASE_ERRORS:
            return self._stored
        self._stored = sum(int(count) for (count,) in counts)
        return self._stored

    def expected_reading(self, sent: Sent) -> Reading | None:
        """The reading as which a record must be stored; None if it must become a dead letter."""
        return sent.reading or (sent.reading_with_key if self.key_added else None)

    def pending(self) -> int:
        """The number of readings that the broker has acknowledged and that are not stored yet."""
        acknowledged = self.sender.acknowledged().values()
        expected = {record.value for record in acknowledged if self.expected_reading(record)}
        return len(expected) - self.stored()

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Execute a statement, with short timeouts."""
        return execute(self.database.connect(self.database_url), statement, values)


Fault = Callable[[World], Iterator[float]]
"""Injects a fault and yields the seconds to wait before it continues."""
