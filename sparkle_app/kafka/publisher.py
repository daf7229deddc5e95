"""Producing to the handler's own topics."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from sparkle_app.model.errors import TransientError

BROKER_ERRORS = (KafkaError, ProducerSendError)
"""Exceptions that sending can raise: those of aiokafka, and the one in which Faust wraps those raised immediately."""


class Message(msgspec.Struct, frozen=True):
    """A record to produce."""

    value: bytes | None
    """None: a tombstone."""
    key: bytes | None = None
    headers: Mapping[str, bytes] | None = None
    partition: int | None = None
    """None: the producer chooses it by the key."""


class TopicPublisher:
    """Produces to one topic, and waits until the broker has acknowledged."""

    def __init__(self, topic: TopicT) -> None:
        self._topic = topic

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._topic.get_topic_name()

    async def publish(self, messages: Iterable[Message]) -> None:
        """Produce messages, and return when the broker has acknowledged all of them.

        Raises:
            TransientError: if it has not; some of them may have been written.
        """
        try:
            # send() only enqueues a message. The future that it returns completes with the acknowledgement.
            sent = [
                await self._topic.send(
                    key=message.key,
                    value=message.value,
                    headers=dict(message.headers) if message.headers else None,
                    partition=message.partition,
                )
                for message in messages
            ]
            await asyncio.gather(*sent)
        except BROKER_ERRORS as error:
            raise TransientError(f"broker: {error!r}") from error
