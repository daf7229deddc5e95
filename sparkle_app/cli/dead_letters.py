"""``faust -A sparkle_app dead-letters``: lists and discards dead letters."""

import asyncio
import base64
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from faust.cli.base import option

from sparkle_app.cli.base import SparkleCommand, UsageError
from sparkle_app.cli.dead_letter_filters import ALL, FILTERS, selection
from sparkle_app.cli.options import JSON, TEXT, check_confirmation, is_confirmed
from sparkle_app.dead_letters.message import DeadLetter, dead_letter_key, key_without_timestamp, quoted
from sparkle_app.dead_letters.reader import DeadLetterReader, Position, open_dead_letters
from sparkle_app.dead_letters.selection import Filter, matching
from sparkle_app.kafka.connection import open_producer
from sparkle_app.model.record import Record
from sparkle_app.model.time import rfc3339
from sparkle_app.runtime.terminal import counted, json_line, printable
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import existing_internal_key

_MAX_VALUES = 20
_BATCH_SIZE = 500
Target = tuple[Position, bytes]
"""Where a dead letter is, and its key."""


class dead_letters(SparkleCommand):
    """Count dead letters by reason, config and host, list them, or discard them.

    Example: faust -A sparkle_app dead-letters --reason not_json --host web-1

    All fields of one: faust -A sparkle_app dead-letters --show telemetry/3/1205

    Delete those whose records nobody needs: faust -A sparkle_app dead-letters --discard --until 2026-11-01
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *FILTERS,
        option("--list", "each", is_flag=True, help="list the dead letters instead of counting them"),
        option(
            "--show",
            type=TEXT,
            metavar="TOPIC/PARTITION/OFFSET[@TIMESTAMP]",
            help="show all fields of one dead letter",
        ),
        option(
            "--discard", is_flag=True, help="delete the dead letters: their records can no longer be replayed"
        ),
        ALL,
        option("--yes", is_flag=True, help="do not ask for confirmation"),
        JSON,
    ]

    async def run(
        self,
        each: bool,
        show: str | None,
        discard: bool,
        everything: bool,
        yes: bool,
        as_json: bool,
        **filters: Any,
    ) -> int:
        """Print counts, a list, or one dead letter; or discard dead letters."""
        if show and not re.fullmatch(r".+/[0-9]+/[0-9]+(@-?[0-9]+)?(/[0-9]+)?", show):
            self.error(f"--show: expected TOPIC/PARTITION/OFFSET, found {show!r}; --list shows the keys")
            return 2
        selected = Filter(**filters)
        if discard:
            if each or show is not None:
                raise UsageError(
                    "dead-letters --discard",
                    expected="filters only",
                    found="--list or --show",
                    hint="list them first, without --discard",
                )
            selection("dead-letters --discard", everything, selected)
            check_confirmation("dead-letters --discard", yes, as_json)
        settings = self.handler.settings
        # Without the internal key the causes remain unreadable; this command creates none.
        key = existing_internal_key(settings.certs)
        cipher = Cipher(key) if key else None
        async with self.broker_errors(), open_dead_letters(settings, cipher) as reader:
            if show:
                return await self._show(reader, show, as_json)
            if each:
                lines = [
                    (
                        _order(dead_letter.record),
                        json_line(_fields(dead_letter)) if as_json else _line(dead_letter),
                    )
                    async for _, _, dead_letter in matching(reader, selected)
                ]
                for _, line in sorted(lines):
                    self._write(line)
                return 0
            counters: dict[str, Counter[str]] = {"reason": Counter(), "config": Counter(), "host": Counter()}
            targets: list[Target] = []
            async for position, key, dead_letter in matching(reader, selected):
                if discard:
                    targets.append((position, key))
                counters["reason"][dead_letter.reason.value] += 1
                counters["config"][quoted(dead_letter.sender.config_id)] += 1
                counters["host"][quoted(dead_letter.sender.hostname)] += 1
        total = counters["reason"].total()
        counts = {
            field: dict(sorted(numbers.items(), key=lambda each: (-each[1], each[0])))
            for field, numbers in counters.items()
        }
        if as_json:
            if discard:
                await self._discard(reader.name, targets)
            discarded = {"discarded": total} if discard else {}
            self.say_json({"topic": reader.name, "letters": total, **counts, **discarded})
            return 0
        self.say(f"{counted(total, 'dead letter')} in {reader.name}")
        for field, numbers in counts.items():
            for value, number in islice(numbers.items(), _MAX_VALUES):
                self.say(f"  {field:6} {value:40} {number:>9}")
            if len(numbers) > _MAX_VALUES:
                self.say(f"  {field:6} {len(numbers) - _MAX_VALUES} more; use --json for all")
        if not targets:
            return 0
        if not yes:
            with self.interruptible():
                question = (
                    f"Delete {counted(total, 'dead letter')}? The records cannot be replayed afterwards."
                )
                confirmed = is_confirmed(question)
            if not confirmed:
                self.say("Nothing was discarded.")
                return 1
        await self._discard(reader.name, targets)
        self.say(f"{counted(total, 'dead letter')} discarded")
        return 0

    async def _discard(self, topic: str, targets: Sequence[Target]) -> None:
        """Produce a tombstone for each dead letter, to its partition: compaction works by partition."""
        if not targets:
            return
        async with self.broker_errors(), open_producer(self.handler.settings.broker) as producer:
            with self.progress(len(targets), "dead letters") as progress:
                for start in range(0, len(targets), _BATCH_SIZE):
                    batch = targets[start : start + _BATCH_SIZE]
                    await asyncio.gather(
                        *[
                            await producer.send(topic, None, key=key, partition=partition)
                            for (partition, _), key in batch
                        ]
                    )
                    progress.update(len(batch))

    async def _show(self, reader: DeadLetterReader, key: str, as_json: bool) -> int:
        # Without a timestamp, several match if the topic was deleted and created again.
        found = {
            other: dead_letter
            async for _, other, dead_letter in matching(reader, Filter())
            if key.encode() in (other, key_without_timestamp(other))
        }
        if not found:
            self.error(
                f"--show: expected the key of a dead letter in {reader.name}, found {key}; --list shows the keys"
            )
            return 1
        for dead_letter in found.values():
            if as_json:
                self.say_json(_fields(dead_letter))
                continue
            for name, value in _fields(dead_letter).items():
                self.say(f"{name:10} {'-' if value is None else value}")
        return 0


def _fields(dead_letter: DeadLetter) -> dict[str, Any]:
    record = dead_letter.record
    try:
        value = record.value.decode()
    except UnicodeDecodeError:
        value = "base64:" + base64.b64encode(record.value).decode()
    if not dead_letter.whole and dead_letter.size:
        value = f"{dead_letter.size} bytes, too large for a dead letter; see the original topic"
    return {
        "reason": dead_letter.reason.value,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        **({} if dead_letter.index is None else {"index": dead_letter.index}),
        "received": rfc3339(record.received_at),
        "config": dead_letter.sender.config_id,
        "host": dead_letter.sender.hostname,
        "plugin": dead_letter.cause and dead_letter.cause.plugin,
        "metric": dead_letter.cause and dead_letter.cause.metric,
        "detail": dead_letter.cause and dead_letter.cause.detail,
        "record": value,
    }


def _order(record: Record) -> tuple[int, str, int, int]:
    return record.received_at, record.topic, record.partition, record.offset


def _line(dead_letter: DeadLetter) -> str:
    fields = _fields(dead_letter)
    key = dead_letter_key(dead_letter.record, dead_letter.index).decode()
    names = " ".join(f"{name}={quoted(fields[name])}" for name in ("config", "host", "plugin", "metric"))
    return printable(f"{key} {fields['received']} {fields['reason']} {names} {quoted(fields['detail'])}")
