"""Producing to the handler's own topics."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError
from faust.types import TopicT

from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.errors import TransientError
from sparkle_app.runtime.process import exit_process

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
    """Produces to one topic, and waits until the broker has acknowledged.

    Arguments:
        max_message_bytes: the topic's ``max.message.bytes``, as of the start of the worker.
    """

    def __init__(self, topic: TopicT, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._topic = topic
        self.max_message_bytes = max_message_bytes

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
        except MessageSizeTooLargeError:
            exit_process(
                f"topic {self.name}: expected max.message.bytes={self.max_message_bytes}, as when the worker started,"
                " but the broker refuses a message of this size; restart the worker to split messages further: nothing"
                " is lost"
            )
        except BROKER_ERRORS as error:
            raise TransientError(f"broker: {error!r}") from error
