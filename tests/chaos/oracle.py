"""What must be true afterwards, by what the broker acknowledged and what is in SQL; nothing here is the handler's."""

import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import requests

from tests.chaos.sending import HOSTS
from tests.chaos.world import READINGS, World
from tests.support.produce import Record, consume_all

PLUGIN_OF = {"temperature_readings": "Temperature", "pu_workload_readings": "PU_Workload"}
BUCKET = 60_000_000
WINDOW = 15 * BUCKET
QUARTER = 15 * BUCKET
_EXAMPLES = 3
_NUMBERS = ("count", "average", "minimum", "maximum", "last")
Aggregate = tuple[int, float, float, float, float, int]
"""Count, sum, minimum, maximum, last, event time of last."""


@dataclass
class Verdict:
    """What is wrong, each with an example; everything zero is what is promised."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    """Rows whose content is not what was sent, letters with another reason."""
    aggregates: int = 0
    """Aggregates in SQL that differ from those computed here from the raw rows."""
    http: int = 0
    """Answers that differ from SQL."""
    letters_again: int = 0
    """Letters that are there more than once, with the same key: allowed, and told."""
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all that is promised is true."""
        return not (self.lost or self.doubled or self.wrong or self.aggregates or self.http)

    def note(self, kind: str, number: int, example: object) -> None:
        """Count a kind of mistake, and keep the first examples."""
        if number:
            before = getattr(self, kind)
            setattr(self, kind, before + number)
            if before < _EXAMPLES:
                self.examples.append(f"{kind}: {number}, such as {example!r:.300}")


def judge(world: World) -> Verdict:
    """Compare everything."""
    verdict = Verdict()
    _records(world, verdict)
    _aggregates(world, verdict)
    _answers(world, verdict)
    return verdict


def _records(world: World, verdict: Verdict) -> None:
    """Each acknowledged record is one row or one dead letter, and nothing else is there."""
    ledger = world.sender.acknowledged()
    wanted = {sent.id: reading for sent in ledger.values() if (reading := world.becomes(sent))}
    topic = consume_all(world.broker.bootstrap, world.workspace.topic)
    received = {(record.partition, record.offset): record.timestamp * 1000 for record in topic}
    found = set()
    for table in READINGS:
        statement = (
            "SELECT replace(id::text, '-', ''), hostname, metric, value,"
            " (extract(epoch FROM observed_at) * 1000000)::bigint, clock_trusted,"
            f' partition, "offset" FROM {table}'
        )
        for id_, hostname, metric, value, *when, partition, offset in world.sql(statement):
            verdict.note("doubled", int(id_ in found), id_)
            found.add(id_)
            source = ledger.get((partition, offset))
            if source is None or not world.becomes(source) or source.id != id_:
                verdict.note("wrong", 1, (table, partition, offset))
                continue
            content = (PLUGIN_OF[table], hostname, metric, value, *when)
            right = (*wanted[id_], *resolved(source.local_time, received[partition, offset]))
            verdict.note("wrong", int(content != right), (right, content))
    verdict.note("lost", len(wanted.keys() - found), [wanted[id_] for id_ in list(wanted.keys() - found)[:2]])
    verdict.note("doubled", len(found - wanted.keys()), list(found - wanted.keys())[:2])
    _letters(world, verdict)


def _letters(world: World, verdict: Verdict) -> None:
    bad = {
        f"{world.workspace.topic}/{partition}/{offset}": sent
        for (partition, offset), sent in world.sender.acknowledged().items()
        if not world.becomes(sent)
    }
    written = letters(world)
    verdict.note("lost", len(bad.keys() - written.keys()), list(bad.keys() - written.keys())[:2])
    for key, messages in written.items():
        sent, last = bad.get(key), messages[-1]
        if sent is None:
            # What became a row after all is withdrawn.
            verdict.note("doubled", int(last.value is not None), key)
            continue
        reason = dict(last.headers).get("sparkle-reason", b"").decode()
        verdict.note(
            "wrong", int((reason, last.value) != (sent.reason, sent.value)), (key, reason, sent.reason)
        )
        verdict.letters_again += len(messages) - 1


def letters(world: World) -> dict[str, list[Record]]:
    """All messages of the dead-letter topic, in order, by their keys."""
    found: dict[str, list[Record]] = defaultdict(list)
    for message in consume_all(world.broker.bootstrap, f"{world.workspace.app_id}-dead-letters"):
        found[(message.key or b"").decode()].append(message)
    return found


@cache
def _offsets_on_earth() -> set[int]:
    """Offsets from UTC that were somebody's local time since 2000, microseconds."""
    zones = [ZoneInfo(name) for name in available_timezones()]
    months = [
        datetime(year, month, 1) for year in range(2000, datetime.now().year + 1) for month in (1, 4, 7, 10)
    ]
    offsets = {month.replace(tzinfo=zone).utcoffset() or timedelta() for zone in zones for month in months}
    return {offset // timedelta(microseconds=1) for offset in offsets}


def resolved(local: datetime, received: int) -> tuple[int, bool]:
    """Event time in microseconds, and whether the host's clock is believed, by docs/wire-format.md."""
    says = micros(local.replace(tzinfo=UTC))
    offset = round((says - received) / QUARTER) * QUARTER
    return (says - offset, True) if offset in _offsets_on_earth() else (received, False)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def recomputed(rows: Iterable[tuple[str, str, float, int]]) -> dict[tuple[str, str, int], Aggregate]:
    """Aggregates by hostname, metric and bucket's start, of rows with their event times in microseconds."""
    groups: dict[tuple[str, str, int], list[tuple[int, float]]] = defaultdict(list)
    for hostname, metric, value, at in rows:
        groups[hostname, metric, at - at % BUCKET].append((at, value))
    return {
        key: (
            len(pairs),
            math.fsum(value for _, value in pairs),
            min(value for _, value in pairs),
            max(value for _, value in pairs),
            max(pairs)[1],
            max(pairs)[0],
        )
        for key, pairs in groups.items()
    }


def differences(world: World, readings: str) -> list[object]:
    """Where the aggregates in SQL differ from those of the raw rows."""
    microseconds = "(extract(epoch FROM {}) * 1000000)::bigint"
    wanted = recomputed(
        world.sql(f"SELECT hostname, metric, value, {microseconds.format('observed_at')} FROM {readings}")  # type: ignore[arg-type]
    )
    found = {
        (hostname, metric, start): tuple(rest)
        for hostname, metric, start, *rest in world.sql(
            f"SELECT hostname, metric, {microseconds.format('bucket_start')}, count, sum, minimum, maximum, last,"
            f" {microseconds.format('last_at')} FROM {readings.replace('_readings', '_aggregates')}"
        )
    }
    return [
        (key, wanted.get(key), found.get(key))
        for key in wanted.keys() | found.keys()
        if not _same(wanted.get(key), found.get(key))
    ]


def _same(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> bool:
    if one is None or other is None:
        return False
    # The order in which floating-point numbers are added is not promised.
    return math.isclose(one[1], other[1], rel_tol=1e-9) and one[:1] + one[2:] == other[:1] + other[2:]


def _aggregates(world: World, verdict: Verdict) -> None:
    for table in READINGS:
        found = differences(world, table)
        verdict.note("aggregates", len(found), found[:1])


def _answers(world: World, verdict: Verdict) -> None:
    """Every worker answers for every host what SQL holds for the last 15 minutes."""
    for table in READINGS:
        for number in range(HOSTS):
            for worker in world.workers:
                path = f"/api/v1/plugins/{PLUGIN_OF[table]}/hosts/host-{number}?window=15m"
                windows = [_window()]
                try:
                    status, answer = worker.get(path)
                except requests.RequestException as error:
                    verdict.note("http", 1, (path, error))
                    continue
                if status != 200:
                    verdict.note("http", 1, (path, status, answer))
                    continue
                # A minute may have ended while it was asked.
                windows.append(_window())
                window = tuple(micros(datetime.fromisoformat(answer[end])) for end in ("from", "to"))
                if window not in windows:
                    verdict.note("http", 1, (path, windows, window))
                    continue
                wanted = _merged(world, table, f"host-{number}", window)
                found = {
                    metric: (
                        *(each[name] for name in _NUMBERS),
                        micros(datetime.fromisoformat(each["last_at"])),
                    )
                    for metric, each in answer["metrics"].items()
                }
                same = all(_same(wanted.get(name), found.get(name)) for name in wanted.keys() | found.keys())
                verdict.note("http", int(not same), (path, wanted, found))


def _window() -> tuple[int, ...]:
    """The whole minutes that the last 15 minutes touch, microseconds."""
    now = time.time_ns() // 1000
    return now - WINDOW - (now - WINDOW) % BUCKET, now - now % BUCKET + BUCKET


def _merged(world: World, table: str, hostname: str, window: tuple[int, ...]) -> dict[str, tuple[Any, ...]]:
    """Count, average, minimum, maximum, last and event time of last, by metric, of aggregates in SQL."""
    by_metric: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for metric, *row in world.sql(
        "SELECT metric, count, sum, minimum, maximum, last, (extract(epoch FROM last_at) * 1000000)::bigint"
        f" FROM {table.replace('_readings', '_aggregates')} WHERE hostname = %(host)s"
        " AND bucket_start >= to_timestamp(%(start)s) AND bucket_start < to_timestamp(%(end)s)",
        host=hostname,
        start=window[0] // 1_000_000,
        end=window[1] // 1_000_000,
    ):
        by_metric[metric].append(tuple(row))
    merged = {}
    for metric, rows in by_metric.items():
        counts, sums, minima, maxima, lasts, times = zip(*rows, strict=True)
        last_at, last = max(zip(times, lasts, strict=True))
        merged[metric] = (sum(counts), math.fsum(sums) / sum(counts), min(minima), max(maxima), last, last_at)
    return merged
