"""A worker with some hosts, for tests of the page: some hot, some busy, one silent."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Self

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace

SILENT_SECONDS = 40 * 60
"""How long ago the silent host sent its last reading."""


class Fleet:
    """A running worker, and what it needs to get readings.

    Arguments:
        folder: an empty folder.
        settings: of the worker.
    """

    def __init__(self, broker: Broker, folder: Path, **settings: object) -> None:
        self.workspace = Workspace(folder)
        self.collector = Collector(self.workspace.certs)
        self._broker = broker
        self.database = f"sqlite:///{folder / 'readings.sqlite3'}"
        environment = self.workspace.environment(broker.bootstrap, self.database, **settings)
        self.worker = Worker(environment, folder / "worker-1.log")

    def __enter__(self) -> Self:
        try:
            self.worker.start()
            self.worker.wait_ready()
        except BaseException:
            self.worker.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.close()

    def send(self, plugin: str, metric: str, values: dict[str, object], at: float | None = None) -> None:
        """Send one reading of each host.

        Arguments:
            values: by hostname.
            at: when, in seconds since 1970; now by default.
        """
        self.send_all([(time.time() if at is None else at, plugin, metric, values)])

    def send_all(
        self, readings: Iterable[tuple[float, str, str, dict[str, object]]], delay: float = 0.0
    ) -> None:
        """Send readings: time, plugin, metric and values, as of :meth:`send`.

        Arguments:
            delay: seconds after which they are produced.
        """
        records, times = [], []
        for at, plugin, metric, values in readings:
            when = datetime.fromtimestamp(at)
            records += [
                self.collector.record(host, plugin, metric, value, when) for host, value in values.items()
            ]
            times += [int((at + delay) * 1000)] * len(values)
        produce(self._broker.bootstrap, self.workspace.topic, records, times)

    def wait_for(self, hosts: int) -> None:
        """Wait until the overview has so many hosts."""
        # The overview reads the hosts that SQL knows once a minute: it is not asked before they are there.
        eventually(
            lambda: self.worker.get("/api/v1/hosts?limit=1000"),
            lambda found: found[0] == 200 and len(found[1]["hosts"]) == hosts,
        )
        eventually(
            lambda: self.worker.get("/api/v1/overview"),
            lambda found: found[0] == 200 and sum(found[1]["states"].values()) == hosts,
        )


@contextmanager
def small_fleet(broker: Broker, folder: Path) -> Iterator[Fleet]:
    """Twelve hosts: one silent, one critical, two in a state of warning."""
    with Fleet(broker, folder) as fleet:
        for seconds in (SILENT_SECONDS + 60, SILENT_SECONDS):
            fleet.send("Temperature", "coretemp/Core 0", {"host-12": 40.0}, time.time() - seconds)
        temperatures = {"host-01": 97.0, "host-02": 85.0, **{f"host-{n:02}": 40.0 + n for n in range(3, 12)}}
        loads = {"host-03": 90, **{f"host-{n:02}": 5 * n for n in range(4, 12)}}
        fleet.send("Temperature", "coretemp/Core 0", dict(temperatures))
        fleet.send("PU_Workload", "CPU/total", dict(loads))
        fleet.wait_for(12)
        yield fleet
