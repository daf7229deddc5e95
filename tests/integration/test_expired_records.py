"""Records that retention deleted before they were read are counted and reported."""

import signal

import pytest
import requests
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.produce import create_topic, produce
from tests.support.worker import Worker, Workspace

pytestmark = pytest.mark.kafka


def delete_records(broker: Broker, topic: str, before: int) -> None:
    """Delete the records of the first partition below an offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, before)]).values()
    deleted.result(20)


def expired(worker: Worker) -> dict[str, float]:
    """The samples of the metric."""
    lines = requests.get(f"{worker.url}/metrics", timeout=10).text.splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line.startswith("sparkle_records_expired_total"))
    return {labels.split('"')[1]: float(value) for labels, value in samples if float(value)}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_records_that_retention_deleted_before_they_were_read_are_reported(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    topic = workspace.topic
    create_topic(broker.bootstrap, topic, 4)
    collector = Collector(workspace.certs)
    records = [collector.record(f"host-{n}", "Temperature", "k", 20.0) for n in range(60)]
    worker = start_worker()
    produce(broker.bootstrap, topic, records[:10], partition=0)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 10)
    assert worker.terminate() == 0
    produce(broker.bootstrap, topic, records[10:30], partition=0)
    delete_records(broker, topic, 25)
    worker = start_worker()
    line = (
        f"topic {topic}, partition 0: Kafka deleted 15 records (offsets 10 to 24) before the worker read them"
    )
    # After the positions are known, not necessarily before the worker is ready.
    eventually(worker.process.log.read_text, lambda log: line in log)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 15)
    assert expired(worker) == {topic: 15}
    # While it runs, but does not fetch.
    worker.process.send(signal.SIGSTOP)
    produce(broker.bootstrap, topic, records[30:60], partition=0)
    delete_records(broker, topic, 50)
    worker.process.send(signal.SIGCONT)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= 25)
    # A fetch that was waiting at the broker may have got the first of these records.
    assert count(database_url, "temperature_readings") + expired(worker)[topic] == 60
