"""Produces dead letters back to their topics. Workers delete those that become stored readings.

A replay can be interrupted and repeated: no reading is stored or counted twice, and a record that is still invalid
remains one dead letter. Replayed records do not open the circuit breaker.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aiokafka import AIOKafkaProducer

from sparkle_app.dead_letters.message import REPLAY_HEADER, dead_letter_key, make_replay_token
from sparkle_app.dead_letters.reader import DeadLetterReader
from sparkle_app.dead_letters.selection import Filter, matching
from sparkle_app.model.record import Record
from sparkle_app.model.time import to_millis
from sparkle_app.sealed.cipher import Cipher

_BATCH_SIZE = 500
NOTHING_EXPIRED: Mapping[str, int] = MappingProxyType({})


@dataclass
class ReplayProgress:
    """What a replay has done so far."""

    replayable: int = 0
    """Selected dead letters that contain their record."""
    empty: int = 0
    """Selected dead letters without a value, as of a record that was too large; they are skipped."""
    expired: int = 0
    """Replayable dead letters that are older than the retention period: workers count them as expired."""
    replayed: int = 0
    """Dead letters whose records were produced."""
    sent: int = 0
    """Records that were produced: a record has a dead letter for each reading that was rejected."""


async def count_replayable(
    reader: DeadLetterReader,
    selected: Filter,
    progress: ReplayProgress,
    limit: int | None = None,
    kept_since: Mapping[str, int] = NOTHING_EXPIRED,
) -> None:
    """Count the selected dead letters.

    Arguments:
        kept_since: since when readings are kept, by topic; microseconds since the epoch.

    Raises:
        TooManyDeadLettersError: if there are more than ``limit``, selected or not.
        KafkaError: if the broker does not answer.
    """
    async for _, _, dead_letter in matching(reader, selected, limit):
        progress.replayable += dead_letter.whole
        progress.empty += not dead_letter.whole
        record = dead_letter.record
        progress.expired += dead_letter.whole and record.received_at < kept_since.get(record.topic, 0)


async def replay_selected(
    reader: DeadLetterReader,
    selected: Filter,
    producer: AIOKafkaProducer,
    cipher: Cipher,
    progress: ReplayProgress,
    on_progress: Callable[[int], None] = lambda _number: None,
) -> None:
    """Produce the records of the selected dead letters, and wait until the broker has them.

    Arguments:
        cipher: encrypts the replay tokens.
        on_progress: called with the number of dead letters since the last call.

    Raises:
        KafkaError: if the broker does not answer.
    """
    origins: set[bytes] = set()
    batch: list[Record] = []
    pending = 0

    async def send() -> None:
        nonlocal pending
        await _send(producer, cipher, batch)
        progress.sent += len(batch)
        progress.replayed += pending
        on_progress(pending)
        batch.clear()
        pending = 0

    async for _, _, dead_letter in matching(reader, selected):
        if not dead_letter.whole:
            continue
        pending += 1
        origin = dead_letter_key(dead_letter.record)
        # A record has a dead letter for each reading that was rejected, and is produced once.
        if origin not in origins:
            origins.add(origin)
            batch.append(dead_letter.record)
        if len(batch) == _BATCH_SIZE:
            await send()
    await send()


async def _send(producer: AIOKafkaProducer, cipher: Cipher, records: list[Record]) -> None:
    futures = [
        await producer.send(
            record.topic,
            record.value,
            timestamp_ms=to_millis(record.received_at),
            headers=[(REPLAY_HEADER, make_replay_token(record, cipher))],
        )
        for record in records
    ]
    await asyncio.gather(*futures)
