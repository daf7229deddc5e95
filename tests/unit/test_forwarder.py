"""The forwarder: produces the samples of stored readings."""

import math
from decimal import Decimal
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NotEnoughReplicasError

from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.errors import TransientError
from sparkle_app.model.sample import Sample, Samples
from sparkle_app.plugin_api import Plugin, StoredReading
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.samples import unpack_samples
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp

PARTITIONS = 4
CIPHER = Cipher(bytes(32))


class OnlyPositive(Plugin):
    """Aggregates twice the value of positive readings."""

    def numeric_value(self, reading: StoredReading) -> float | None:
        return 2 * reading.value if reading.value > 0 else None


@pytest.fixture
async def broker() -> MemoryBroker:
    """The samples topics of two plugins."""
    broker = MemoryBroker()
    for name in ("one", "two"):
        await broker.create_topic(name, PARTITIONS)
    return broker


def forwarder(broker: MemoryBroker) -> Forwarder:
    app = MemoryApp(broker, "ingest")
    publishers = {name: app.publisher(name) for name in ("one", "two")}
    return Forwarder(publishers, {"one": Plugin(), "two": OnlyPositive()}, CIPHER, PARTITIONS)


def reading(number: int, hostname: str, value: float) -> StoredReading:
    id_ = number.to_bytes(8) + b"the rest"
    return StoredReading(id_, 1, hostname, f"k{number}", value, 1000 + number, 2000, True, "t", 0, number)


def sent(broker: MemoryBroker, topic: str) -> dict[int, list[Samples]]:
    """The messages of a topic, decrypted, by partition."""
    return {
        at.partition: [
            unpack_samples(CIPHER.decrypt(record.value, topic.encode())) for record in broker.records(at)
        ]
        for at in broker.partitions(topic)
        if broker.records(at)
    }


async def test_each_partition_receives_the_samples_of_its_hosts_in_one_message(broker: MemoryBroker) -> None:
    hosts = [f"host-{number}" for number in range(20)]
    readings = [reading(number, host, float(number)) for number, host in enumerate(hosts * 2)]
    await forwarder(broker).forward({"one": readings})
    found = sent(broker, "one")
    assert set(found) == set(range(PARTITIONS))
    assert all(len(messages) == 1 for messages in found.values())
    for partition, (samples,) in found.items():
        assert {partition_of(hostname, PARTITIONS) for hostname in samples} == {partition}
    together = {hostname: of for (samples,) in found.values() for hostname, of in samples.items()}
    assert together == {
        host: [Sample(each.id[:8], each.key, each.value, each.observed_at) for each in readings[number::20]]
        for number, host in enumerate(hosts)
    }


async def test_samples_have_the_numeric_values_of_the_plugin(broker: MemoryBroker) -> None:
    await forwarder(broker).forward({"two": [reading(1, "host", 3.0), reading(2, "host", -3.0)]})
    ((samples,),) = sent(broker, "two").values()
    assert [(each.metric, each.value) for each in samples["host"]] == [("k1", 6.0)]


async def test_samples_are_floats_and_a_reading_without_a_number_is_left_out(broker: MemoryBroker) -> None:
    class Numbers(Plugin):
        def numeric_value(self, reading: StoredReading) -> Any:
            return [True, Decimal("1.5"), 2, "3", math.nan][int(reading.value)]

    app = MemoryApp(broker, "ingest")
    of_numbers = Forwarder({"one": app.publisher("one")}, {"one": Numbers()}, CIPHER, PARTITIONS)
    # As a duplicate of a reading that an earlier version stored, the last raises an IndexError.
    await of_numbers.forward({"one": [reading(number, "host", float(number)) for number in range(6)]})
    ((samples,),) = sent(broker, "one").values()
    found = [each.value for each in samples["host"]]
    assert [(type(value), value) for value in found] == [(float, 1.0), (float, 1.5), (float, 2.0)]


async def test_each_plugin_has_its_own_topic_and_no_empty_messages_are_produced(broker: MemoryBroker) -> None:
    await forwarder(broker).forward({"one": [reading(1, "host", 1.0)], "two": [reading(2, "host", -1.0)]})
    assert len(sent(broker, "one")) == 1
    assert sent(broker, "two") == {}
    await forwarder(broker).forward({})


async def test_a_missing_acknowledgement_is_a_transient_error(broker: MemoryBroker) -> None:
    async def refuse(at: TopicPartition) -> None:
        raise NotEnoughReplicasError

    broker.before_append = refuse
    with pytest.raises(TransientError):
        await forwarder(broker).forward({"one": [reading(1, "host", 1.0)]})
