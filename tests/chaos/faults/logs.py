"""Faults that replace topics, and the records in them. Kafka keeps none that was acknowledged before.

Therefore the workers process all records first: no others can be stored.
"""

import shutil
from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos.world import PARTITIONS, World
from tests.support.kafka import KafkaBroker
from tests.support.produce import create_topic

_PROCESSED_SECONDS = 120


def recreate_topic(world: World) -> Iterator[float]:
    """Delete the plugin topic, and create it again."""
    yield from _process_all(world)
    topic = world.workspace.topic
    admin = AdminClient({"bootstrap.servers": world.broker.bootstrap})
    admin.delete_topics([topic])[topic].result(20)
    yield 2
    create_topic(world.broker.bootstrap, topic, PARTITIONS, message_timestamp_type=world.timestamp_type)
    world.sender.resume()
    yield 5


def restore_broker(world: World) -> Iterator[float]:
    """Replace the broker's files by a copy that is 10 s old."""
    folder = world.folder / "broker" / "data"
    copy = world.folder / "copy"
    yield from _process_all(world)
    before = world.sender.acknowledged().keys()
    world.broker.stop()
    shutil.copytree(folder, copy)
    world.broker.start()
    world.sender.resume()
    yield 10
    yield from _process_all(world)
    # Their dead letters exist in the newer files only.
    world.forgotten = world.sender.acknowledged().keys() - before
    world.broker.stop()
    shutil.rmtree(folder)
    copy.rename(folder)
    world.broker.start()
    world.sender.resume()
    yield 5


def move_broker(world: World) -> Iterator[float]:
    """Start the broker under other addresses, behind the same bootstrap address."""
    world.broker.stop()
    world.broker = KafkaBroker(world.folder / "broker")
    yield 1
    world.broker.start()
    world.bootstrap.target = world.broker.bootstrap


def _process_all(world: World) -> Iterator[float]:
    """Stop sending, and wait until the workers have committed the end of each partition."""
    world.sender.pause()
    consumer = Consumer({"bootstrap.servers": world.broker.bootstrap, "group.id": world.workspace.app_id})
    try:
        topic = world.workspace.topic
        for _ in range(_PROCESSED_SECONDS):
            yield 1
            metadata = consumer.list_topics(topic, timeout=10).topics[topic]
            committed = consumer.committed(
                [TopicPartition(topic, number) for number in metadata.partitions], 10
            )
            ends = [consumer.get_watermark_offsets(each, 10)[1] for each in committed]
            if [each.offset for each in committed] == ends and world.pending() <= 0:
                return
    finally:
        consumer.close()
    raise AssertionError(f"not all records were processed after {_PROCESSED_SECONDS} s")
