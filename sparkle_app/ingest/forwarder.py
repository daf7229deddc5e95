"""Telling the aggregate stage what was stored: one sealed message for each plugin and partition of hosts."""

import asyncio
from collections.abc import Iterable, Mapping

from sparkle_app.kafka.publisher import Message, TopicPublisher
from sparkle_app.kafka.topology import partition_of
from sparkle_app.model.sample import SAMPLE_ID_BYTES, Sample, Samples
from sparkle_app.plugin_api import Plugin, Reading
from sparkle_app.sealed.cipher import Sealer
from sparkle_app.sealed.samples import pack_samples


class Forwarder:
    """Sends samples of stored readings to the samples topics.

    Arguments:
        publishers: write to the samples topic of each plugin, by NAME.
        plugins: the server halves of the installed plugins, by NAME.
        sealer: seals each message for its topic.
        partitions: of every samples topic.
    """

    def __init__(
        self,
        publishers: Mapping[str, TopicPublisher],
        plugins: Mapping[str, Plugin],
        sealer: Sealer,
        partitions: int,
    ) -> None:
        self._publishers = publishers
        self._plugins = plugins
        self._sealer = sealer
        self._partitions = partitions

    async def forward(self, readings: Iterable[Reading]) -> None:
        """Send the samples of stored readings, and wait for the broker's acknowledgement.

        Raises:
            TransientFault: when the broker did not acknowledge; some messages may have been sent.
        """
        by_plugin: dict[str, dict[int, Samples]] = {}
        for reading in readings:
            value = self._plugins[reading.plugin].measure(reading)
            if value is None:
                continue
            partition = partition_of(reading.hostname, self._partitions)
            samples = by_plugin.setdefault(reading.plugin, {}).setdefault(partition, {})
            sample = Sample(reading.id[:SAMPLE_ID_BYTES], reading.key, value, reading.observed_at)
            samples.setdefault(reading.hostname, []).append(sample)
        await asyncio.gather(*(self._publish(*item) for item in by_plugin.items()))

    async def _publish(self, plugin: str, by_partition: Mapping[int, Samples]) -> None:
        publisher = self._publishers[plugin]
        topic = publisher.name.encode()
        await publisher.publish(
            Message(self._sealer.seal(pack_samples(samples), topic), partition=partition)
            for partition, samples in by_partition.items()
        )
