"""Connections that a proxy forgets without closing them: nothing waits for them longer than half a minute."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from sparkle_app.config.sections import BrokerSettings
from sparkle_app.kafka.connection import security_arguments
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.produce import produce
from tests.support.proxy import Proxy
from tests.support.worker import Worker, Workspace, run_command

SECONDS = 30
"""Until the next record is stored and counted."""
NOT_READY_SECONDS = 10
"""A worker that needs longer is not ready meanwhile."""


def counted(url: str) -> int:
    return int(query(url, 'SELECT coalesce(sum("count"), 0) AS n FROM temperature_aggregates')[0]["n"])


class Watched:
    """A worker, the records sent to it, and when it was ready."""

    def __init__(self, worker: Worker, bootstrap: str, workspace: Workspace, url: str) -> None:
        self.worker = worker
        self.bootstrap = bootstrap
        self.workspace = workspace
        self.url = url
        self.collector = Collector(workspace.certs)
        self.sent = 0

    def send(self) -> None:
        """Send a record, and wait until it is stored and counted."""
        self.sent += 1
        began = time.monotonic()
        value = self.collector.record("host-1", "Temperature", f"k/{self.sent}", 20.0)
        produce(self.bootstrap, self.workspace.topic, [value])
        late: set[bool] = set()

        def done() -> tuple[int, int]:
            if time.monotonic() - began > NOT_READY_SECONDS + 2:
                late.add(self.worker.ready())
            return count(self.url, "temperature_readings"), counted(self.url)

        eventually(done, lambda found: found == (self.sent, self.sent), SECONDS)
        taken = time.monotonic() - began
        # The last answer may belong to the moment when all was done.
        assert not late or False in late, f"ready, although nothing was counted for {taken:.0f} s"


@pytest.mark.kafka
@pytest.mark.parametrize("pause", [2, 45])
def test_connections_to_the_broker_that_are_forgotten_are_renewed(
    proxy: Proxy,
    make_broker: Callable[[Path], KafkaBroker],
    workspace: Workspace,
    postgres: PostgresServer,
    tmp_path: Path,
    pause: float,
) -> None:
    (tmp_path / "kafka").mkdir()
    broker = make_broker(tmp_path / "kafka")
    proxy.target = broker.addresses["EXTERNAL"]
    broker.advertise("EXTERNAL", proxy.address)
    url = postgres.create_database(workspace.app_id)
    environment = workspace.environment(proxy.address, url)
    with ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        worker = Worker(environment, workspace.folder / "worker-1.log")
        stack.callback(worker.close)
        watched = Watched(worker, broker.bootstrap, workspace, url)
        worker.start()
        worker.wait_ready()
        watched.send()
        time.sleep(pause)
        proxy.forget()
        watched.send()
        log = worker.process.log.read_text()
        assert f"the broker at {proxy.address} did not respond to " in log
        worker.wait_ready(10)
        proxy.forget()
        done = run_command(environment, "check")
        assert done.returncode == 0, done.stdout


@pytest.mark.any_broker
def test_connections_to_the_database_that_are_forgotten_are_renewed(
    proxy: Proxy, broker: Broker, workspace: Workspace, postgres: PostgresServer
) -> None:
    url = postgres.create_database(workspace.app_id)
    proxy.target = f"127.0.0.1:{postgres.port}"
    environment = workspace.environment(
        broker.bootstrap, url.replace(f":{postgres.port}/", f":{proxy.port}/")
    )
    worker = Worker(environment, workspace.folder / "worker-1.log")
    watched = Watched(worker, broker.bootstrap, workspace, url)
    with ExitStack() as stack:
        stack.callback(worker.close)
        worker.start()
        worker.wait_ready()
        watched.send()
        proxy.forget()
        watched.send()
        assert f"the database at {proxy.address} did not respond to a ping" in worker.process.log.read_text()
        worker.wait_ready(10)


async def test_connections_to_brokers_are_probed(broker: Broker) -> None:
    settings = BrokerSettings(url=broker.bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.url, **security_arguments(settings))
    await admin.start()
    try:
        await admin.list_topics()
        (connection,) = admin._client._conns.values()
        assert connection._writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    finally:
        await admin.close()
