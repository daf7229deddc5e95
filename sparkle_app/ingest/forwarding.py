"""Telling the aggregate stage what was stored: one sealed message for each plugin and partition of hosts."""

import asyncio
from collections.abc import Iterable, Mapping

from faust.types import TopicT

from sparkle_app.errors import TransientFault
from sparkle_app.plugin_api import Plugin, Reading
from sparkle_app.retry import BROKER_ERRORS
from sparkle_app.topics import partition_of
from sparkle_app.wire.messages import SAMPLE_ID_BYTES, Sample, Samples, pack_samples
from sparkle_app.wire.sealing import Sealer


class Forwarder:
    """Sends samples of stored readings to the samples topics.

    Arguments:
        topics: the samples topic of each plugin, by NAME.
        plugins: the server halves of the installed plugins, by NAME.
        sealer: seals each message for its topic.
        partitions: of every samples topic.
    """

    def __init__(
        self, topics: Mapping[str, TopicT], plugins: Mapping[str, Plugin], sealer: Sealer, partitions: int
    ) -> None:
        self._topics = topics
        self._plugins = plugins
        self._sealer = sealer
        self._partitions = partitions

    async def forward(self, readings: Iterable[Reading]) -> None:
        """Send the samples of stored readings, and wait for the broker's acknowledgement.

        Raises:
            TransientFault: when the broker did not acknowledge; some messages may have been sent.
        """
        messages: dict[tuple[str, int], Samples] = {}
        for reading in readings:
            value = self._plugins[reading.plugin].measure(reading)
            if value is None:
                continue
            partition = partition_of(reading.hostname, self._partitions)
            samples = messages.setdefault((reading.plugin, partition), {})
            sample = Sample(reading.id[:SAMPLE_ID_BYTES], reading.key, value, reading.observed_at)
            samples.setdefault(reading.hostname, []).append(sample)
        try:
            sent = [await self._send(plugin, at, samples) for (plugin, at), samples in messages.items()]
            await asyncio.gather(*sent)
        except BROKER_ERRORS as error:
            raise TransientFault(f"broker: {error!r}") from error

    async def _send(self, plugin: str, partition: int, samples: Samples) -> "asyncio.Future[object]":
        topic = self._topics[plugin]
        value = self._sealer.seal(pack_samples(samples), topic.get_topic_name().encode())
        # send() only puts the message in line; the future that it returns is done when the broker has it.
        return await topic.send(value=value, partition=partition)  # type: ignore[return-value]
