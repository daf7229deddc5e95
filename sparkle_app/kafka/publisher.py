"""Writing to one of the handler's own topics."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from sparkle_app.model.errors import TransientError

BROKER_ERRORS = (KafkaError, ProducerSendError)
"""What sending may raise: aiokafka's own errors, which Faust hides in another where they come at once."""


class Message(msgspec.Struct, frozen=True):
    """A record to be written."""

    value: bytes | None
    """None: a tombstone."""
    key: bytes | None = None
    headers: Mapping[str, bytes] | None = None
    partition: int | None = None
    """None: the broker's client chooses, by the key."""


class TopicPublisher:
    """Writes to one topic, and waits for the broker's acknowledgement."""

    def __init__(self, topic: TopicT) -> None:
        self._topic = topic

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._topic.get_topic_name()

    async def publish(self, messages: Iterable[Message]) -> None:
        """Write messages; done when the broker has acknowledged every one.

        Raises:
            TransientError: when it did not; some of them may have been written.
        """
        try:
            # send() only puts a message in line; the future that it returns is done when the broker has it.
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
