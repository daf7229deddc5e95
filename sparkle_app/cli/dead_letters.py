"""``faust -A sparkle_app dead-letters``: what could not become a reading, and why."""

import base64
import re
from collections import Counter
from itertools import islice
from typing import Any

import msgspec
from faust.cli.base import option

from sparkle_app.cli.base import JSON, SparkleCommand
from sparkle_app.cli.dead_letter_filters import FILTERS, Filter, matching
from sparkle_app.dead_letters.message import DeadLetter, dead_letter_key
from sparkle_app.dead_letters.reader import DeadLetterReader, open_dead_letters
from sparkle_app.model.record import Record
from sparkle_app.model.time import moment

_MAX_HOSTS = 20


class dead_letters(SparkleCommand):
    """List and count dead letters by reason, config and host.

    Example: faust -A sparkle_app dead-letters --reason unknown_config --config 7
    One in full: faust -A sparkle_app dead-letters --show telemetry/3/1205
    """

    options = [  # noqa: RUF012 - as Faust declares it
        *FILTERS,
        option("--list", "each", is_flag=True, help="a line for each letter instead of counts"),
        option("--show", metavar="TOPIC/PARTITION/OFFSET", help="one letter in full"),
        JSON,
    ]

    async def run(self, each: bool, show: str | None, as_json: bool, **filters: Any) -> int:
        """Print what there is."""
        if show and not re.fullmatch(r".+/[0-9]+/[0-9]+(/[0-9]+)?", show):
            self.fault(f"--show: expected TOPIC/PARTITION/OFFSET, as --list shows it, found {show!r}")
            return 2
        async with self.broker(), open_dead_letters(self.handler.settings) as letters:
            wanted = Filter(**filters)
            if show:
                return await self._show(letters, show, as_json)
            if each:
                lines = [
                    (_order(letter.record), _json(letter) if as_json else _line(letter))
                    async for _, letter in matching(letters, wanted)
                ]
                for _, line in sorted(lines):
                    self.say(line)
                return 0
            counters: dict[str, Counter[str]] = {"reason": Counter(), "config": Counter(), "host": Counter()}
            async for _, letter in matching(letters, wanted):
                counters["reason"][letter.reason.value] += 1
                counters["config"][_text(letter.sender.config_id)] += 1
                counters["host"][_text(letter.sender.hostname)] += 1
        total = counters["reason"].total()
        counts = {
            what: dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))
            for what, found in counters.items()
        }
        if as_json:
            self.say(msgspec.json.encode({"topic": letters.name, "letters": total, **counts}).decode())
            return 0
        self.say(f"{total} dead letters in {letters.name}")
        for what, found in counts.items():
            for value, number in islice(found.items(), _MAX_HOSTS):
                self.say(f"  {what:6} {value:40} {number:>9}")
            if len(found) > _MAX_HOSTS:
                self.say(f"  {what:6} and {len(found) - _MAX_HOSTS} more; --json has them all")
        return 0

    async def _show(self, letters: DeadLetterReader, key: str, as_json: bool) -> int:
        found = None
        async for other, letter in matching(letters, Filter()):
            if other.decode() == key:
                found = letter
        if found is None:
            self.fault(f"--show: expected the key of a dead letter in {letters.name}, found no letter {key}")
            return 1
        if as_json:
            self.say(_json(found))
            return 0
        for name, value in _fields(found).items():
            self.say(f"{name:10} {'-' if value is None else value}")
        return 0


def _fields(letter: DeadLetter) -> dict[str, Any]:
    record = letter.record
    try:
        value = record.value.decode()
    except UnicodeDecodeError:
        value = "base64:" + base64.b64encode(record.value).decode()
    if not letter.whole:
        value = f"{letter.size} bytes, too large to keep here; see its topic"
    return {
        "reason": letter.reason.value,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        **({} if letter.index is None else {"index": letter.index}),
        "received": moment(record.received_at).isoformat(),
        "config": letter.sender.config_id,
        "host": letter.sender.hostname,
        "record": value,
    }


def _order(record: Record) -> tuple[int, str, int, int]:
    return record.received_at, record.topic, record.partition, record.offset


def _json(letter: DeadLetter) -> str:
    return msgspec.json.encode(_fields(letter)).decode()


def _line(letter: DeadLetter) -> str:
    fields = _fields(letter)
    place = dead_letter_key(letter.record, letter.index).decode()
    sender = f"config={_text(fields['config'])} host={_text(fields['host'])}"
    return f"{place} {fields['received']} {fields['reason']} {sender}"


def _text(value: Any) -> str:
    # What a bad record says may be anything, of any length, with control characters in it.
    return "-" if value is None else ascii(value)[:60] if not str(value).isprintable() else str(value)[:60]
