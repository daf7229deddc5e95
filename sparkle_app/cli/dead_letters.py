"""``faust -A sparkle_app dead-letters``: lists dead letters."""

import base64
import re
from collections import Counter
from itertools import islice
from typing import Any

from faust.cli.base import option

from sparkle_app.cli.base import JSON, SparkleCommand, counted
from sparkle_app.cli.dead_letter_filters import FILTERS, Filter, matching
from sparkle_app.dead_letters.message import DeadLetter, dead_letter_key, key_without_timestamp, quoted
from sparkle_app.dead_letters.reader import DeadLetterReader, open_dead_letters
from sparkle_app.model.record import Record
from sparkle_app.model.time import moment
from sparkle_app.runtime.terminal import json_line, printable
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import existing_internal_key

_MAX_VALUES = 20


class dead_letters(SparkleCommand):
    """Count dead letters by reason, config and host, or list them.

    Example: faust -A sparkle_app dead-letters --reason unknown_config --config 7

    All fields of one: faust -A sparkle_app dead-letters --show telemetry/3/1205
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *FILTERS,
        option("--list", "each", is_flag=True, help="list the dead letters instead of counting them"),
        option(
            "--show", metavar="TOPIC/PARTITION/OFFSET[@TIMESTAMP]", help="show all fields of one dead letter"
        ),
        JSON,
    ]

    async def run(self, each: bool, show: str | None, as_json: bool, **filters: Any) -> int:
        """Print counts, a list, or one dead letter."""
        if show and not re.fullmatch(r".+/[0-9]+/[0-9]+(@-?[0-9]+)?(/[0-9]+)?", show):
            self.error(f"--show: expected TOPIC/PARTITION/OFFSET, found {show!r}; --list shows the keys")
            return 2
        settings = self.handler.settings
        # Without the internal key the causes remain unreadable; this command creates none.
        key = existing_internal_key(settings.certs)
        cipher = Cipher(key) if key else None
        async with self.broker_errors(), open_dead_letters(settings, cipher) as reader:
            selected = Filter(**filters)
            if show:
                return await self._show(reader, show, as_json)
            if each:
                lines = [
                    (
                        _order(dead_letter.record),
                        json_line(_fields(dead_letter)) if as_json else _line(dead_letter),
                    )
                    async for _, dead_letter in matching(reader, selected)
                ]
                for _, line in sorted(lines):
                    self._write(line)
                return 0
            counters: dict[str, Counter[str]] = {"reason": Counter(), "config": Counter(), "host": Counter()}
            async for _, dead_letter in matching(reader, selected):
                counters["reason"][dead_letter.reason.value] += 1
                counters["config"][quoted(dead_letter.sender.config_id)] += 1
                counters["host"][quoted(dead_letter.sender.hostname)] += 1
        total = counters["reason"].total()
        counts = {
            field: dict(sorted(numbers.items(), key=lambda each: (-each[1], each[0])))
            for field, numbers in counters.items()
        }
        if as_json:
            self.say_json({"topic": reader.name, "letters": total, **counts})
            return 0
        self.say(f"{counted(total, 'dead letter')} in {reader.name}")
        for field, numbers in counts.items():
            for value, number in islice(numbers.items(), _MAX_VALUES):
                self.say(f"  {field:6} {value:40} {number:>9}")
            if len(numbers) > _MAX_VALUES:
                self.say(f"  {field:6} {len(numbers) - _MAX_VALUES} more; use --json for all")
        return 0

    async def _show(self, reader: DeadLetterReader, key: str, as_json: bool) -> int:
        # Without a timestamp, several match if the topic was deleted and created again.
        found = {
            other: dead_letter
            async for other, dead_letter in matching(reader, Filter())
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
    if not dead_letter.whole:
        value = f"{dead_letter.size} bytes, too large for the dead-letter topic; see the original topic"
    return {
        "reason": dead_letter.reason.value,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        **({} if dead_letter.index is None else {"index": dead_letter.index}),
        "received": moment(record.received_at).isoformat(),
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
