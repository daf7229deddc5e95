"""Producing to the handler's own topics."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from functools import cache

import msgspec
from aiokafka.errors import InvalidTimestampError, KafkaError, MessageSizeTooLargeError
from faust.exceptions import NotReady, ProducerSendError
from faust.types import TopicT

from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.errors import TransientError
from sparkle_app.model.time import from_millis, to_seconds
from sparkle_app.runtime.process import exit_process

logger = logging.getLogger(__name__)

BROKER_ERRORS = (KafkaError, ProducerSendError, NotReady)
"""Exceptions that sending can raise: those of aiokafka, the one in which Faust wraps those raised immediately, and that
of a producer that is not started, or stopped."""


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
        all_messages = list(messages)
        try:
            try:
                await self._send(all_messages)
            except InvalidTimestampError:
                await self._send(all_messages, to_seconds(from_millis(without_timestamp(self.name))))
        except MessageSizeTooLargeError:
            exit_process(
                f"topic {self.name}: expected max.message.bytes={self.max_message_bytes}, as when the worker started,"
                " but the broker refuses a message of this size; restart the worker to split messages further: nothing"
                " is lost"
            )
        except BROKER_ERRORS as error:
            raise TransientError(f"broker: {error!r}") from error

    async def _send(self, messages: Iterable[Message], timestamp: float | None = None) -> None:
        # send() only enqueues a message. The future that it returns completes with the acknowledgement.
        sent = [
            await self._topic.send(
                key=message.key,
                value=message.value,
                headers=dict(message.headers) if message.headers else None,
                partition=message.partition,
                timestamp=timestamp,
            )
            for message in messages
        ]
        await acknowledged(sent)


async def acknowledged(messages: Iterable[Awaitable[object]]) -> None:
    """Wait until the broker has acknowledged messages, which are the results of sending.

    Raises:
        KafkaError: if it has refused one, or does not answer.
    """
    all_of_them = asyncio.gather(*messages)
    try:
        await asyncio.shield(all_of_them)
    except asyncio.CancelledError:
        # The messages themselves are not cancelled: Faust would log an error for each. Nobody waits for their errors.
        all_of_them.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


@cache
def without_timestamp(topic: str) -> int:
    """The timestamp, in milliseconds, of a message without one, for a topic that refuses the time of this machine.

    Logs a line, once for each topic.
    """
    logger.warning(
        "topic %s: the broker rejected the timestamp of this machine's clock, so messages are sent without one; check"
        " the time synchronization (NTP) of this machine, or set message.timestamp.type=LogAppendTime",
        topic,
    )
    return -1
