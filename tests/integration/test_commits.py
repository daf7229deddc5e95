"""Workers commit the offset after the last record, also if offsets have gaps and after a rebalance."""

from functools import partial
from operator import le

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Message, Producer
from confluent_kafka.admin import AdminClient

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.worker import Workspace

pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
EACH = 12


def test_committed_offsets_follow_the_last_stored_records(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    """Transactions of the producer cause the gaps: each ends with a marker, which occupies an offset."""
    collector = Collector(workspace.certs)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": workspace.app_id})
    after: dict[int, int] = {}

    def note(error: object, message: Message) -> None:
        assert not error
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        after[partition] = offset + 1

    start_worker()
    producer.init_transactions(30)
    for workers in range(1, 4):
        for _ in range(3):
            producer.begin_transaction()
            for number in range(EACH):
                record = collector.record(f"host-{number}", "Temperature", "cpu", 20.0)
                producer.produce(workspace.topic, record, partition=number % 4, on_delivery=note)
            producer.commit_transaction(30)
        wanted = workers * 3 * EACH
        stored = eventually(lambda: count(database_url, "temperature_readings"), partial(le, wanted), 60)
        assert stored == wanted
        assert eventually(lambda: committed(broker, workspace), lambda found: found == after, 30) == after
        if workers < 3:
            start_worker()


def committed(broker: Broker, workspace: Workspace) -> dict[int, int]:
    """The committed offset of each partition of the plugin topic."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    group = ConsumerGroupTopicPartitions(workspace.app_id)
    answer = admin.list_consumer_group_offsets([group])[workspace.app_id].result(10)
    return {at.partition: at.offset for at in answer.topic_partitions if at.topic == workspace.topic}
