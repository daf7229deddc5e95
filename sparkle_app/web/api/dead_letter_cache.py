"""What a worker knows of the dead letters: their topic is read while somebody asks."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from aiokafka.errors import KafkaError

from sparkle_app.dead_letters.message import DeadLetter
from sparkle_app.dead_letters.reader import Position, open_dead_letters
from sparkle_app.dead_letters.selection import Fields, fields_of
from sparkle_app.model.time import from_seconds, rfc3339
from sparkle_app.web.api.responses import Time
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import unavailable
from sparkle_app.web.single_flight import SingleFlight

CACHE_SECONDS = 5.0
MAX_KEPT = 50_000
"""Of more dead letters, those of the oldest records are left out."""
MAX_LEFT_OUT = 500_000
"""Of so many, the keys are kept: a tombstone may follow, also when the whole topic is read for the first time."""
_TIMEOUT_SECONDS = 20.0
_READ_AT_ONCE = 2


class DeadLetterInfo(msgspec.Struct, kw_only=True):
    """A record, or one of its readings, that could not be stored."""

    key: str
    """Identifies it, also for the commands `dead-letters` and `replay`."""
    reason: str
    detail: str | None
    """null: an earlier version produced it, or the internal key is another one; so are plugin and metric."""
    plugin: str | None
    metric: str | None
    host: str
    """As the record says, at most 60 characters; - if it does not."""
    config: str
    """The config id, likewise."""
    topic: str
    """Of the record, with `partition` and `offset`."""
    partition: int
    offset: int
    index: int | None
    """Which reading of the record; null: the whole record."""
    received_at: Time
    """Timestamp of the record."""
    size: int
    """Bytes of the record's value."""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """A dead letter without its value."""

    position: Position
    fields: Fields
    info: DeadLetterInfo


class DeadLetterCache:
    """Reads the dead-letter topic: after the first time, only what was produced since."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._running: SingleFlight[None] = SingleFlight(finish=True)
        self.read_at = 0.0
        """When the topic was read last, in seconds of the monotonic clock."""
        self.made_at = 0
        """When this began, microseconds since the epoch."""
        self._ends: dict[int, int] = {}
        self._by_key: dict[bytes, Summary] = {}
        self.newest_first: Sequence[Summary] = ()
        """Replaced when it changes, never modified."""
        self._is_sorted = True
        self._left_out: set[bytes] = set()
        self.left_out = 0
        """How many old ones are not kept, at most MAX_LEFT_OUT. It changes with ``newest_first``."""
        self._reading: SingleFlight[DeadLetter | None] = SingleFlight()
        self._turns = asyncio.Semaphore(_READ_AT_ONCE)

    async def update(self) -> None:
        """Read what was produced since, unless that was done some seconds ago.

        Raises:
            Problem: 503, when the broker does not answer.
        """
        if time.monotonic() - self.read_at >= CACHE_SECONDS:
            await self._running.run("", self._read)

    def get(self, key: bytes) -> Summary | None:
        """The dead letter with this key."""
        return self._by_key.get(key)

    async def whole(self, position: Position) -> DeadLetter | None:
        """Read a dead letter; None: it has been replayed or discarded.

        Raises:
            Problem: 503, when the broker does not answer.
        """
        return await self._reading.run(position, lambda: self._read_one(position))

    async def _read(self) -> None:
        made_at = from_seconds(self._parts.clock.now())
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                open_dead_letters(self._parts.settings, self._parts.cipher) as reader,
            ):
                if any(end < self._ends.get(partition, 0) for partition, end in reader.ends.items()):
                    # The topic was deleted and created again.
                    self._ends, self._by_key, self._left_out = {}, {}, set()
                    self.newest_first, self.left_out = (), 0
                async for (partition, offset), key, dead_letter in reader.messages(self._ends):
                    self._is_sorted = False
                    self._by_key.pop(key, None)
                    self._left_out.discard(key)
                    if dead_letter:
                        self._by_key[key] = _summary((partition, offset), key, dead_letter)
                        # Some more, because those to leave out are found by sorting.
                        if len(self._by_key) > MAX_KEPT * 5 // 4:
                            self._keep_newest()
                    self._ends[partition] = offset + 1
                self._ends.update(reader.ends)
                if not self._is_sorted:
                    # Replaced: pages of the earlier ones may be in progress.
                    self.newest_first, self.left_out = self._keep_newest(), len(self._left_out)
                    self._is_sorted = True
        except (TimeoutError, KafkaError, OSError) as error:
            raise unavailable(f"broker: the dead-letter topic cannot be read: {error!r}") from error
        self.read_at, self.made_at = time.monotonic(), made_at

    def _keep_newest(self) -> list[Summary]:
        """Leave out the oldest if there are too many; returns the others, the newest first."""
        newest = sorted(self._by_key.items(), key=lambda each: each[1].fields.received_at, reverse=True)
        for key, _ in newest[MAX_KEPT:]:
            del self._by_key[key]
            if len(self._left_out) < MAX_LEFT_OUT:
                self._left_out.add(key)
        return [each for _, each in newest[:MAX_KEPT]]

    async def _read_one(self, position: Position) -> DeadLetter | None:
        try:
            async with (
                self._turns,
                asyncio.timeout(_TIMEOUT_SECONDS),
                open_dead_letters(self._parts.settings, self._parts.cipher) as reader,
            ):
                return await reader.at(position)
        except (TimeoutError, KafkaError, OSError) as error:
            raise unavailable(f"broker: the dead-letter topic cannot be read: {error!r}") from error


def _summary(position: Position, key: bytes, dead_letter: DeadLetter) -> Summary:
    record, cause, fields = dead_letter.record, dead_letter.cause, fields_of(dead_letter)
    info = DeadLetterInfo(
        key=key.decode("utf-8", "replace"),
        reason=fields.reason,
        detail=cause.detail if cause else None,
        plugin=cause.plugin if cause else None,
        metric=cause.metric if cause else None,
        host=fields.host,
        config=fields.config,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        index=dead_letter.index,
        received_at=rfc3339(record.received_at),
        size=dead_letter.size,
    )
    return Summary(position, fields, info)
