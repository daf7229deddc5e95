"""Batches of a Faust stream whose records are acknowledged by hand."""

from collections.abc import AsyncIterator
from typing import Any, cast

from faust import Stream
from faust.types import StreamT

from sparkle_app.kafka.record_batches import MAX_BUFFERED_BATCHES, Events, in_batches


def batches(stream: StreamT[Any], max_size: int, within: float) -> AsyncIterator[Events]:
    """The stream's events, in order; each must be acknowledged with ``stream.ack`` once its work is durable.

    All other ways to iterate over a stream acknowledge records when the body raises, and this one does not deliver a
    batch again: the body has to repeat its work until it is done.

    Arguments:
        max_size: events in a batch.
        within: how long a batch waits to be full, seconds.
    """
    # Faust declares that it yields values; it yields events.
    return cast(AsyncIterator[Events], cast("Stream[Any]", stream).noack_take(max_size, within=within))


async def batches_of_records(stream: StreamT[Any], max_size: int, within: float) -> AsyncIterator[Events]:
    """As :func:`batches`, of a stream of bundles.

    Arguments:
        max_size: records in a batch.
        within: how long the first bundle waits for others, seconds.
    """
    async for events in batches(stream, MAX_BUFFERED_BATCHES, within):
        for batch in in_batches(events, max_size):
            yield batch
