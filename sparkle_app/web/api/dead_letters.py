"""Dead letters: counts, lists, and one with what would become of its record now."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from aiokafka.errors import KafkaError

from sparkle_app.dead_letters.message import DeadLetter, quoted
from sparkle_app.dead_letters.reader import Position, open_dead_letters
from sparkle_app.envelope.rsa import decrypt_each
from sparkle_app.ingest.decryption_pool import decrypt_readings
from sparkle_app.model.record import Record
from sparkle_app.model.time import from_seconds, rfc3339, span
from sparkle_app.web.api.responses import Time
from sparkle_app.web.conditional import Tagged
from sparkle_app.web.parts import WebParts
from sparkle_app.web.problems import Problem, unavailable
from sparkle_app.web.single_flight import SingleFlight
from sparkle_app.web.snapshots.pages import Pages

CACHE_SECONDS = 5.0
MAX_KEPT = 50_000
"""Of more dead letters, the oldest are left out."""
_LISTED_HOSTS = 50
_HOURS = 48
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


class DeadLettersResponse(msgspec.Struct, kw_only=True):
    """Counts of the chosen dead letters, and a page of them, those of the newest records first."""

    total: int
    left_out: int
    """How many old ones are neither counted nor listed, because there are too many."""
    by_reason: dict[str, int]
    by_host: dict[str, int]
    """The hosts with the most."""
    by_config: dict[str, int]
    by_hour: dict[str, int]
    """Of the last two days, by the hour in which the record was received."""
    dead_letters: list[DeadLetterInfo]


class DeadLetterResponse(msgspec.Struct, kw_only=True):
    """One dead letter."""

    dead_letter: DeadLetterInfo
    value: str
    """The value of the record as it was received, at most 20,000 characters. Its payload is encrypted."""
    would_be_stored: bool | None
    """Whether `replay` would store it now, as far as it is known before it is written to the database; null: the dead
    letter does not contain the value."""
    obstacle: str | None
    """Why it would not be stored."""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """A dead letter without its value."""

    position: Position
    reason: str
    host: str
    config: str
    topic: str
    received_at: int
    info: DeadLetterInfo


class DeadLetterFilter(msgspec.Struct, frozen=True):
    """Which dead letters; None: all."""

    reason: str | None
    host: str | None
    config: int | None
    topic: str | None


class DeadLetters:
    """Reads the dead-letter topic while somebody asks: after the first time, only what was produced since."""

    def __init__(self, parts: WebParts) -> None:
        self._parts = parts
        self._running: SingleFlight[None] = SingleFlight()
        self._read_at = 0.0
        self._ends: dict[int, int] = {}
        self._by_key: dict[bytes, Summary] = {}
        self._newest_first: Sequence[Summary] = ()
        self._is_sorted = True
        self._left_out = 0
        self._pages = Pages(parts.slices)
        self._reading: SingleFlight[DeadLetter | None] = SingleFlight()
        self._turns = asyncio.Semaphore(_READ_AT_ONCE)

    async def page(self, chosen: DeadLetterFilter, limit: int, offset: int) -> Tagged:
        """Counts of the chosen dead letters, and one page, the newest first.

        Raises:
            Problem: 503, when the broker does not answer.
        """
        await self._update()
        return await self._pages.get(
            self._read_at, (chosen, limit, offset), lambda: self._page(chosen, limit, offset)
        )

    async def _page(self, chosen: DeadLetterFilter, limit: int, offset: int) -> Tagged:
        left_out = self._left_out
        found = []
        reasons: Counter[str] = Counter()
        hosts: Counter[str] = Counter()
        configs: Counter[str] = Counter()
        hours: Counter[int] = Counter()
        since = from_seconds(self._parts.clock.now()) - span(_HOURS * 3600)
        async with self._parts.slices.computation() as computation:
            for each, is_chosen in self._chosen(chosen):
                await computation.pause()
                if not is_chosen:
                    continue
                found.append(each)
                reasons[each.reason] += 1
                hosts[each.host] += 1
                configs[each.config] += 1
                if each.received_at >= since:
                    hours[each.received_at - each.received_at % span(3600)] += 1
        return Tagged(
            DeadLettersResponse(
                total=len(found),
                left_out=left_out,
                by_reason=dict(reasons.most_common()),
                by_host=dict(hosts.most_common(_LISTED_HOSTS)),
                by_config=dict(configs.most_common(_LISTED_HOSTS)),
                by_hour={rfc3339(at): number for at, number in sorted(hours.items())},
                dead_letters=[each.info for each in found[offset : offset + limit]],
            )
        )

    async def one(self, key: str) -> DeadLetterResponse:
        """One dead letter, and whether its record would be stored now.

        Raises:
            Problem: 404, when there is none with this key; 503, when the broker does not answer.
        """
        await self._update()
        summary = self._by_key.get(key.encode("utf-8", "surrogateescape"))
        if summary is None:
            raise Problem(404, f"key: expected that of a dead letter, found {key[:300]!r}")
        position = summary.position
        dead_letter = await self._reading.run(position, lambda: self._read_one(position))
        if dead_letter is None:
            raise Problem(404, f"key: the dead letter {key[:300]!r} has been replayed or discarded")
        stored, why = None, "the dead letter does not contain the value of its record"
        if dead_letter.whole:
            stored, why = await asyncio.get_running_loop().run_in_executor(
                self._parts.readers, self._attempt, dead_letter.record, dead_letter.index
            )
        return DeadLetterResponse(
            dead_letter=summary.info,
            value=dead_letter.record.value.decode("utf-8", "replace")[:20_000],
            would_be_stored=stored,
            obstacle=why or None,
        )

    def _attempt(self, record: Record, index: int | None) -> tuple[bool, str]:
        plugins = {name: each.plugin for name, each in self._parts.plugins.items()}
        (outcome,) = decrypt_readings([record], self._parts.keyring, plugins, decrypt_each)
        errors = [error for error in outcome.errors if error.index in {None, index}]
        return not errors, "; ".join(str(error) for error in errors)

    def _chosen(self, chosen: DeadLetterFilter) -> Iterator[tuple[Summary, bool]]:
        config = None if chosen.config is None else str(chosen.config)
        for each in self._newest_first:
            yield (
                each,
                chosen.reason in {None, each.reason}
                and chosen.host in {None, each.host}
                and config in {None, each.config}
                and chosen.topic in {None, each.topic},
            )

    async def _update(self) -> None:
        if time.monotonic() - self._read_at >= CACHE_SECONDS:
            await self._running.run("", self._read)

    async def _read(self) -> None:
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                open_dead_letters(self._parts.settings, self._parts.cipher) as reader,
            ):
                if any(end < self._ends.get(partition, 0) for partition, end in reader.ends.items()):
                    # The topic was deleted and created again.
                    self._ends, self._by_key, self._left_out = {}, {}, 0
                    self._newest_first = ()
                async for (partition, offset), key, dead_letter in reader.messages(self._ends):
                    self._is_sorted = False
                    self._by_key.pop(key, None)
                    if dead_letter:
                        self._by_key[key] = _summary((partition, offset), key, dead_letter)
                        if len(self._by_key) > MAX_KEPT:
                            del self._by_key[next(iter(self._by_key))]
                            self._left_out += 1
                    self._ends[partition] = offset + 1
                self._ends.update(reader.ends)
                if not self._is_sorted:
                    # Replaced: pages of the earlier ones may be in progress.
                    self._newest_first = sorted(
                        self._by_key.values(), key=lambda each: each.received_at, reverse=True
                    )
                    self._is_sorted = True
        except (TimeoutError, KafkaError, OSError) as error:
            raise unavailable(f"broker: the dead-letter topic cannot be read: {error!r}") from error
        self._read_at = time.monotonic()

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
    record, cause, host = dead_letter.record, dead_letter.cause, quoted(dead_letter.sender.hostname)
    config = quoted(dead_letter.sender.config_id)
    info = DeadLetterInfo(
        key=key.decode("utf-8", "replace"),
        reason=dead_letter.reason.value,
        detail=cause.detail if cause else None,
        plugin=cause.plugin if cause else None,
        metric=cause.metric if cause else None,
        host=host,
        config=config,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        index=dead_letter.index,
        received_at=rfc3339(record.received_at),
        size=dead_letter.size,
    )
    return Summary(position, dead_letter.reason.value, host, config, record.topic, record.received_at, info)
