"""Workers that get SIGTERM in the middle of a batch exit with 0, and lose or double nothing."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from sparkle_app.worker.shutdown import SHUTDOWN_SECONDS
from tests.integration.conftest import StartWorker
from tests.support.broker import Broker, EmbeddedBroker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.produce import consume_all, produce
from tests.support.worker import Worker, Workspace, faust

EACH = 3_000
FORCED = f"not stopped after {SHUTDOWN_SECONDS} s"


class Pipeline:
    """Sends readings, and checks what has become of them."""

    def __init__(self, broker: Broker, workspace: Workspace, url: str) -> None:
        self._broker, self._workspace, self._url = broker, workspace, url
        self._collector = Collector(workspace.certs)
        self.sent = 0

    def send(self, number: int) -> None:
        hosts = [f"host-{n % 40}" for n in range(number)]
        records = [self._collector.record(host, "Temperature", "k", 20.0 + self.sent % 9) for host in hosts]
        produce(self._broker.bootstrap, self._workspace.topic, records)
        self.sent += number

    def stored(self) -> int:
        return count(self._url, "temperature_readings")

    def counted(self) -> int:
        return int(query(self._url, 'SELECT sum("count") AS n FROM temperature_aggregates')[0]["n"] or 0)

    def verify_complete(self) -> None:
        eventually(self.stored, lambda found: found >= self.sent, 90)
        eventually(self.counted, lambda found: found >= self.sent, 90)
        assert (self.stored(), self.counted()) == (self.sent, self.sent)
        assert consume_all(self._broker.bootstrap, f"{self._workspace.app_id}-dead-letters") == []


def terminate(worker: Worker) -> str:
    """Send SIGTERM to a worker that is to exit with 0; returns what it has logged."""
    code = worker.terminate()
    log = worker.process.log.read_text()
    assert code == 0, worker.process.tail()
    return log


def test_sigterm_in_the_middle_of_a_batch(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    pipeline = Pipeline(broker, workspace, database_url)
    chance = random.Random(1)
    worker = start_worker()
    # With the embedded broker, a worker needs half a minute to join the group again.
    for _ in range(1 if isinstance(broker, EmbeddedBroker) else 4):
        before = pipeline.sent
        # At once: the worker could have stored a first part before the test had sent a second.
        pipeline.send(2 * EACH)
        eventually(lambda: pipeline.stored() > before, bool, 90)  # noqa: B023 - called at once
        time.sleep(chance.uniform(0, 0.3))
        assert FORCED not in terminate(worker)
        assert pipeline.stored() < pipeline.sent, "nothing was left to do"
        worker = start_worker()
    pipeline.verify_complete()


@contextlib.contextmanager
def locked(server: PostgresServer, url: str) -> Iterator[None]:
    """Nobody can write readings; at the end, everybody can."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE temperature_readings_data, temperature_aggregates_data"))
        yield


@contextlib.contextmanager
def suspended(server: PostgresServer, url: str) -> Iterator[None]:
    """No statement returns."""
    processes = [psutil.Process(server.process.pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        # A backend ends with its connection.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    yield
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@contextlib.contextmanager
def killed(server: PostgresServer, url: str) -> Iterator[None]:
    """The server does not run."""
    server.kill()
    yield
    server.start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A database server of its own."""
    folder = tmp_path / "database"
    folder.mkdir()
    server = PostgresServer(folder)
    server.start()
    yield server
    server.remove()


def storing(worker: Worker) -> bool:
    """Whether a batch waits for the database."""
    return "store" in [each["stage"] for each in worker.get("/api/v1/pipeline")[1]["workers"][0]["stages"]]


@contextlib.contextmanager
def relieved(
    broker: Broker, workspace: Workspace, url: str, command: Sequence[str] | None = None
) -> Iterator[tuple[Worker, Pipeline]]:
    """A worker that runs, and its pipeline; afterwards, another worker finishes what it has left."""
    environment = workspace.environment(broker.bootstrap, url)
    first = Worker(environment, workspace.folder / "worker-1.log", command=command)
    second = Worker(environment, workspace.folder / "worker-2.log")
    pipeline = Pipeline(broker, workspace, url)
    try:
        first.start()
        first.wait_ready()
        yield first, pipeline
        second.start()
        second.wait_ready()
        pipeline.verify_complete()
    finally:
        first.close()
        second.close()


@pytest.mark.kafka
@pytest.mark.parametrize("fault", [locked, suspended, killed])
def test_sigterm_while_the_database_does_not_work(
    broker: Broker,
    workspace: Workspace,
    server: PostgresServer,
    fault: Callable[[PostgresServer, str], AbstractContextManager[None]],
) -> None:
    url = server.create_database("readings")
    with relieved(broker, workspace, url) as (worker, pipeline):
        pipeline.send(100)
        eventually(pipeline.counted, lambda found: found == 100)
        with fault(server, url):
            pipeline.send(EACH)
            eventually(lambda: storing(worker), bool)
            # Only a call that does not return keeps a worker: it cannot be interrupted.
            terminate(worker)


def test_a_batch_that_is_stored_while_the_producer_stops(
    broker: Broker, workspace: Workspace, server: PostgresServer
) -> None:
    url = server.create_database("readings")
    command = faust("worker", "--loglevel", "INFO")
    with relieved(broker, workspace, url, command) as (worker, pipeline):
        pipeline.send(100)
        eventually(pipeline.counted, lambda found: found == 100)
        with locked(server, url):
            pipeline.send(100)
            eventually(lambda: storing(worker), bool)
            worker.process.send_only(signal.SIGTERM)
            worker.process.wait_until(
                lambda: "Producer]: Stopping" in worker.process.log.read_text(), "end of the producer", 15
            )
        assert FORCED not in terminate(worker)


@pytest.mark.kafka
def test_sigterm_while_the_broker_is_down(
    make_broker: Callable[[Path], Broker], workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    own = make_broker(folder)
    own.start()
    try:
        with relieved(own, workspace, f"sqlite:///{tmp_path / 'readings.sqlite3'}") as (worker, pipeline):
            pipeline.send(EACH)
            eventually(pipeline.stored, lambda found: found > 0)
            own.kill()
            terminate(worker)
            own.start()
    finally:
        own.kill()
