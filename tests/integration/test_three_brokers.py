"""One of three brokers is killed while a worker processes a backlog: no reading is lost or duplicated."""

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


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[KafkaBroker]]:
    folder = tmp_path / "brokers"
    folder.mkdir()
    three = cluster(folder, 3, REPLICATED)
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
        counted = 'SELECT sum("count") AS n FROM temperature_aggregates'
        eventually(lambda: query(url, counted)[0]["n"], lambda n: n and n >= BACKLOG)
        assert query(url, counted)[0]["n"] == BACKLOG
        stored = query(url, "SELECT metric FROM temperature_readings")
        assert Counter(row["metric"] for row in stored) == Counter(f"k/{n}" for n in range(BACKLOG))
        left = ",".join(broker.bootstrap for broker in brokers if broker.process.running)
        assert len(left.split(",")) == 2
        assert consume_all(left, f"{workspace.app_id}-dead-letters") == []
        assert worker.process.running
    finally:
        worker.kill()
