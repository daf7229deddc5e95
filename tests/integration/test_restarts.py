"""Workers are killed while they process a backlog: each record becomes one row and is counted once."""

import random
import sys
from collections import Counter

import pytest
from confluent_kafka.admin import AdminClient

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.produce import consume_all, produce
from tests.support.worker import Worker, Workspace

pytestmark = pytest.mark.kafka
Sent = Counter[tuple[str, str]]
EACH = 600


def records(collector: Collector, number: int, sent: Sent) -> list[bytes]:
    chance = random.Random(number + sent.total())
    made = []
    for _ in range(number):
        host, metric = f"host-{chance.randrange(40)}", f"core/{chance.randrange(4)}"
        sent[host, metric] += 1
        made.append(collector.record(host, "Temperature", metric, 20.0))
    return made


def counted(url: str) -> Sent:
    statement = (
        'SELECT hostname, metric, sum("count") AS n FROM temperature_aggregates GROUP BY hostname, metric'
    )
    return Counter({(row["hostname"], row["metric"]): int(row["n"]) for row in query(url, statement)})


def answered(worker: Worker) -> Sent:
    """The counts that the worker returns for all hosts."""
    found: Sent = Counter()
    for number in range(40):
        status, answer = worker.get(f"/api/v1/plugins/Temperature/hosts/host-{number}?window=1h")
        for metric, statistics in answer["metrics"].items() if status == 200 else ():
            found[f"host-{number}", metric] = statistics["count"]
    return found


def test_repeated_kills_lose_no_reading_and_count_none_twice(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    sent: Sent = Counter()
    worker = start_worker()
    for _ in range(4):
        produce(broker.bootstrap, workspace.topic, records(collector, EACH, sent))
        eventually(
            lambda: count(database_url, "temperature_readings"),
            lambda found: found > sent.total() - EACH,
            90,
        )
        # More than the fastest machine can store before the kill.
        produce(broker.bootstrap, workspace.topic, records(collector, 4 * EACH, sent))
        worker.kill()
        assert count(database_url, "temperature_readings") < sent.total(), "nothing was left to do"
        worker = start_worker(ready=False)
    worker.wait_ready()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= sent.total(), 90)
    assert eventually(lambda: counted(database_url), lambda found: found.total() >= sent.total()) == sent
    assert answered(worker) == sent
    assert count(database_url, "temperature_readings") == sent.total()
    assert consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters") == []


def before_restart(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, url: str
) -> tuple[Collector, Sent]:
    """A collector, and what a worker has stored and counted of its records before it stopped."""
    collector = Collector(workspace.certs)
    sent: Sent = Counter()
    worker = start_worker()
    produce(broker.bootstrap, workspace.topic, records(collector, EACH, sent))
    eventually(lambda: counted(url), lambda found: found.total() >= sent.total())
    assert worker.terminate() == 0
    return collector, sent


@pytest.fixture
def admin(broker: Broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_table_is_restored_from_sql_when_its_changelog_topic_is_lost(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str, admin: AdminClient
) -> None:
    collector, sent = before_restart(broker, workspace, start_worker, database_url)
    changelog = f"{workspace.app_id}-Temperature-60s-changelog"
    assert consume_all(broker.bootstrap, changelog)
    admin.delete_topics([changelog])[changelog].result(20)
    eventually(lambda: changelog in admin.list_topics(timeout=5).topics, lambda there: not there)
    worker = start_worker()
    assert answered(worker) == sent
    produce(broker.bootstrap, workspace.topic, records(collector, EACH, sent))
    assert eventually(lambda: counted(database_url), lambda found: found.total() >= sent.total()) == sent
    assert eventually(lambda: answered(worker), lambda found: found.total() >= sent.total()) == sent


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_changelog_records_that_were_fetched_and_discarded_are_read_again(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    _, sent = before_restart(broker, workspace, start_worker, database_url)
    environment = workspace.environment(broker.bootstrap, database_url)
    command = [sys.executable, "-m", "tests.support.discarding_worker", "-A", "sparkle_app", "worker"]
    worker = Worker(environment, workspace.folder / "worker-discarding.log", command=command)
    worker.start()
    try:
        worker.wait_ready()
        assert "were fetched and discarded: reading them again" in worker.process.log.read_text()
        assert answered(worker) == sent
    finally:
        worker.close()
