"""Forwards samples of stored readings: one sealed message for each plugin and partition of its samples topic."""

import asyncio
from collections.abc import Iterable, Mapping

from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.sample import Sample, Samples
from sparkle_app.plugin_api import Plugin, StoredReading
from sparkle_app.plugin_api.numeric import stored_number
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.samples import pack_within

# Of encryption, and of a record batch.
_OVERHEAD_BYTES = 1024


class Forwarder:
    """Produces samples of stored readings to the samples topics.

    Arguments:
        publishers: publishers of the samples topics, by NAME of the plugin.
        plugins: the server halves of the installed plugins, by NAME.
        cipher: encrypts the messages.
        partitions: number of partitions of every samples topic.
    """

    def __init__(
        self,
        publishers: Mapping[str, TopicPublisher],
        plugins: Mapping[str, Plugin],
        cipher: Cipher,
        partitions: int,
    ) -> None:
        self._publishers = publishers
        self._plugins = plugins
        self._cipher = cipher
        self._partitions = partitions

    async def forward(self, stored: Mapping[str, Iterable[StoredReading]]) -> None:
        """Produce the samples of stored readings, and wait for the broker's acknowledgement.

        Arguments:
            stored: stored readings by NAME of the plugin.

        Raises:
            TransientError: if the broker did not acknowledge all messages; some may have been written.
        """
        await asyncio.gather(*(self._forward(*item) for item in stored.items()))

    async def _forward(self, name: str, readings: Iterable[StoredReading]) -> None:
        publisher, plugin = self._publishers[name], self._plugins[name]
        by_partition: dict[int, Samples] = {}
        for reading in readings:
            if (value := stored_number(plugin, reading)) is not None:
                samples = by_partition.setdefault(partition_of(reading.hostname, self._partitions), {})
                samples.setdefault(reading.hostname, []).append(Sample.of(reading, value))
        topic = publisher.name.encode()
        await publisher.publish(
            Message(self._cipher.encrypt(packed, topic), partition=partition)
            for partition, samples in by_partition.items()
            for packed in pack_within(samples, publisher.max_message_bytes - _OVERHEAD_BYTES)
        )
