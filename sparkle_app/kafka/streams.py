"""Batches of a Faust stream, with explicit acknowledgement."""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from faust import Stream
from faust.types import StreamT

from sparkle_app.kafka.record_batches import MAX_BUFFERED_BATCHES, Events, in_batches


def batches(stream: StreamT[Any], max_size: int, within: float) -> AsyncIterator[Events]:
    """The stream's events, in order, in batches. Acknowledge each with ``stream.ack`` once its work is durable.

    Every other way to iterate over a stream acknowledges events even if the loop body raises. This one does not
    redeliver a batch either: the loop body has to retry until it succeeds.

    Arguments:
        max_size: maximum number of events in a batch.
        within: how long a batch waits for further events, in seconds.
    """
    # Faust declares that it yields values; it yields events.
    return cast(AsyncIterator[Events], cast("Stream[Any]", stream).noack_take(max_size, within=within))


async def batches_of_records(
    stream: StreamT[Any], max_size: Callable[[], int], within: float
) -> AsyncIterator[Events]:
    """As :func:`batches`, for a stream of record batches.

    Arguments:
        max_size: returns the maximum number of records in the next batch.
        within: how long the first record batch waits for others, in seconds.
    """
    async for events in batches(stream, MAX_BUFFERED_BATCHES, within):
        for batch in in_batches(events, max_size):
            yield batch
