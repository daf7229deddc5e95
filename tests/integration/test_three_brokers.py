"""One of three brokers is killed, or hangs, while a worker processes a backlog: no reading is lost or duplicated."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker, cluster
from tests.support.postgres import PostgresServer
from tests.support.produce import consume_all, produce
from tests.support.worker import Worker, Workspace

pytestmark = pytest.mark.kafka
BACKLOG = 3000
REPLICATED = {
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    "min.insync.replicas": "2",
    # The principal of the brokers. Otherwise their requests to each other are denied until the ACLs are loaded.
    "super.users": "User:ANONYMOUS;User:admin",
}
"""The properties in docs/operations.md, section Three brokers."""
FROZEN_SECONDS = 40
"""Until everything is stored and counted although one broker has not answered since."""


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[KafkaBroker]]:
    folder = tmp_path / "brokers"
    folder.mkdir()
    # Kafka's own timeout for a broker that hangs; a broker that starts again in the tests does not wait for it.
    three = cluster(folder, 3, {**REPLICATED, "broker.session.timeout.ms": "9000"})
    try:
        for broker in three:
            broker.launch()
        for broker in three:
            broker.wait_ready()
        yield three
    finally:
        for broker in three:
            broker.kill()


def leaders(bootstrap: str, topic: str) -> Counter[int]:
    """How many partitions each broker leads."""
    found = AdminClient({"bootstrap.servers": bootstrap}).list_topics(topic, timeout=10).topics[topic]
    return Counter(partition.leader for partition in found.partitions.values())


def coordinator(bootstrap: str, group: str) -> int:
    """The broker that coordinates a consumer group."""
    # Keep a reference until the response arrives.
    admin = AdminClient({"bootstrap.servers": bootstrap})
    return int(admin.describe_consumer_groups([group])[group].result(20).coordinator.id)


def counted(url: str) -> int:
    """How many readings are in aggregates."""
    return int(query(url, 'SELECT coalesce(sum("count"), 0) AS n FROM temperature_aggregates')[0]["n"])


def wait_for_all(url: str, number: int, seconds: float) -> None:
    """Wait until this number of readings is stored and counted."""
    eventually(
        lambda: (count(url, "temperature_readings"), counted(url)),
        lambda found: found == (number, number),
        seconds,
    )


def test_no_reading_is_lost_or_duplicated_when_one_of_three_brokers_is_killed(
    brokers: list[KafkaBroker], workspace: Workspace, postgres: PostgresServer
) -> None:
    url = postgres.create_database(workspace.app_id)
    servers = ",".join(broker.bootstrap for broker in brokers)
    environment = workspace.environment(servers, url, broker__replication=3, ingest__batch_size=50)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    collector = Collector(workspace.certs)
    values = [collector.record(f"host-{n % 30}", "Temperature", f"k/{n}", 20.0) for n in range(BACKLOG)]
    try:
        # The first run creates the topics with their replicas.
        worker.start()
        worker.wait_ready()
        assert worker.terminate() == 0
        produce(servers, workspace.topic, values)
        worker.start()
        eventually(lambda: count(url, "temperature_readings"), bool)
        # Kill the broker that is the leader of the most partitions.
        [(victim, _)] = leaders(servers, workspace.topic).most_common(1)
        brokers[victim - 1].kill()
        assert count(url, "temperature_readings") < BACKLOG, "nothing was left to do"
        eventually(lambda: count(url, "temperature_readings"), lambda found: found >= BACKLOG, 90)
        eventually(lambda: counted(url), lambda n: n >= BACKLOG)
        assert counted(url) == BACKLOG
        stored = query(url, "SELECT metric FROM temperature_readings")
        assert Counter(row["metric"] for row in stored) == Counter(f"k/{n}" for n in range(BACKLOG))
        left = ",".join(broker.bootstrap for broker in brokers if broker.process.running)
        assert len(left.split(",")) == 2
        assert consume_all(left, f"{workspace.app_id}-dead-letters") == []
        assert worker.process.running
    finally:
        worker.close()


@pytest.mark.parametrize("coordinates", [False, True], ids=["another broker", "the coordinator"])
def test_a_frozen_broker_delays_readings_by_at_most_40_seconds(
    brokers: list[KafkaBroker], workspace: Workspace, postgres: PostgresServer, coordinates: bool
) -> None:
    url = postgres.create_database(workspace.app_id)
    servers = ",".join(broker.bootstrap for broker in brokers)
    environment = workspace.environment(servers, url, broker__replication=3, ingest__batch_size=50)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    collector = Collector(workspace.certs)
    number = BACKLOG + 200
    values = [collector.record(f"host-{n % 30}", "Temperature", f"k/{n}", 20.0) for n in range(number)]
    try:
        worker.start()
        worker.wait_ready()
        assert worker.terminate() == 0
        produce(servers, workspace.topic, values[:BACKLOG])
        first = coordinator(servers, workspace.app_id)
        worker.start()
        eventually(lambda: count(url, "temperature_readings"), bool)
        busy = leaders(servers, workspace.topic)
        victim = first if coordinates else max(busy.keys() - {first}, key=lambda number: busy[number])
        frozen = brokers[victim - 1]
        frozen.process.send(signal.SIGSTOP)
        began = time.monotonic()
        assert count(url, "temperature_readings") < BACKLOG, "nothing was left to do"
        live = ",".join(broker.bootstrap for broker in brokers if broker is not frozen)
        eventually(lambda: leaders(live, workspace.topic), lambda found: victim not in found, 20)
        produce(live, workspace.topic, values[BACKLOG : BACKLOG + 100])
        wait_for_all(url, BACKLOG + 100, FROZEN_SECONDS - (time.monotonic() - began))
        assert f"{frozen.bootstrap} did not respond to " in worker.process.log.read_text()
        worker.wait_ready(20)
        frozen.process.send(signal.SIGCONT)
        produce(servers, workspace.topic, values[BACKLOG + 100 :])
        wait_for_all(url, number, FROZEN_SECONDS)
        worker.wait_ready(20)
        stored = query(url, "SELECT metric FROM temperature_readings")
        assert Counter(row["metric"] for row in stored) == Counter(f"k/{n}" for n in range(number))
        assert consume_all(servers, f"{workspace.app_id}-dead-letters") == []
    finally:
        worker.close()
