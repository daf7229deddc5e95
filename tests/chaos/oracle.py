"""Checks the guarantees, from acknowledged records and the database. It does not use any code of the handler."""

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

from tests.chaos.sending import HOSTS, Place, Sent
from tests.chaos.world import READINGS, World
from tests.support.produce import Record, consume_all

PLUGIN_OF = {"temperature_readings": "Temperature", "pu_workload_readings": "PU_Workload"}
BUCKET = 60_000_000
WINDOW = 15 * BUCKET
QUARTER = 15 * BUCKET
_EXAMPLES = 3
_REPLAY_HEADER = "sparkle-replay"
_NUMBERS = ("count", "average", "minimum", "maximum", "last")
Aggregate = tuple[int, float, float, float, float, int]
"""Count, sum, minimum, maximum, last, event time of last."""


@dataclass
class Verdict:
    """The number of violations of each kind, with examples."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    """Rows that differ from the record, and dead letters with another reason."""
    aggregates: int = 0
    """Aggregates in SQL that differ from those computed here from stored readings."""
    http: int = 0
    """HTTP responses that differ from SQL."""
    rewritten: int = 0
    """Dead letters that were produced more than once, with the same key. This is allowed."""
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether no guarantee is violated."""
        return not (self.lost or self.duplicated or self.wrong or self.aggregates or self.http)

    def note(self, kind: str, number: int, example: object) -> None:
        """Count violations of a kind, and keep the first examples."""
        if number:
            before = getattr(self, kind)
            setattr(self, kind, before + number)
            if before < _EXAMPLES:
                self.examples.append(f"{kind}: {number}, such as {example!r:.300}")


def check(world: World) -> Verdict:
    """Check all guarantees."""
    verdict = Verdict()
    _records(world, verdict)
    _aggregates(world, verdict)
    _responses(world, verdict)
    return verdict


def _records(world: World, verdict: Verdict) -> None:
    """Each acknowledged record is one row or one dead letter, and there are no others."""
    topic = {
        Place(each.partition, each.offset, each.timestamp): each.value
        for each in consume_all(world.broker.bootstrap, world.workspace.topic)
        # Those that `replay` has produced are copies.
        if not any(name == _REPLAY_HEADER for name, _ in each.headers)
    }
    world.sender.locate(topic)
    ledger = world.sender.acknowledged()
    unknown = topic.keys() - ledger.keys()
    assert not unknown, f"the ledger of sent records lacks {len(unknown)} of the topic: {list(unknown)[:3]}"
    expected = {sent.id: reading for sent in ledger.values() if (reading := world.expected_reading(sent))}
    # A topic that was created again has had several records at an offset.
    sources: dict[tuple[int, int], dict[str, tuple[Sent, int]]] = defaultdict(dict)
    for place, sent in ledger.items():
        if world.expected_reading(sent):
            sources[place[:2]][sent.id] = sent, place.timestamp * 1000
    found = set()
    for table in READINGS:
        statement = (
            f"SELECT {world.database.id}, hostname, metric, value, {world.database.micros('observed_at')},"
            f' clock_trusted, "partition", "offset" FROM {table}'
        )
        for id_, hostname, metric, value, *when, partition, offset in world.sql(statement):
            verdict.note("duplicated", int(id_ in found), id_)
            found.add(id_)
            source, received = sources[partition, offset].get(id_, (None, 0))
            if source is None:
                verdict.note("wrong", 1, (table, partition, offset))
                continue
            content = (PLUGIN_OF[table], hostname, metric, value, *when)
            correct = (*expected[id_], *event_time(source.local_time, received))
            verdict.note("wrong", int(content != correct), (correct, content))
    lost = expected.keys() - found
    verdict.note("lost", len(lost), [expected[id_] for id_ in list(lost)[:2]])
    verdict.note("duplicated", len(found - expected.keys()), list(found - expected.keys())[:2])
    _dead_letters(world, verdict)


def _dead_letters(world: World, verdict: Verdict) -> None:
    expected = {
        _dead_letter_key(world, place): sent
        for place, sent in world.sender.acknowledged().items()
        if not world.expected_reading(sent)
    }
    written = dead_letters(world)
    forgotten = {_dead_letter_key(world, place) for place in world.forgotten}
    lost = {key for key in expected.keys() - written.keys() - forgotten if not expected[key].limited}
    verdict.note("lost", len(lost), list(lost)[:2])
    limited = {key for key, sent in expected.items() if sent.limited}
    verdict.note("lost", int(bool(limited) and limited.isdisjoint(written)), "all dead letters of a storm")
    verdict.note(
        "wrong", int(bool(limited) and limited <= written.keys()), "no dead letter of a storm left out"
    )
    for key, messages in written.items():
        sent, last = expected.get(key), messages[-1]
        if sent is None:
            # The record is stored, so a tombstone must have deleted the dead letter.
            verdict.note("duplicated", int(last.value is not None), key)
            continue
        reason = dict(last.headers).get("sparkle-reason", b"").decode()
        verdict.note(
            "wrong", int((reason, last.value) != (sent.reason, sent.value)), (key, reason, sent.reason)
        )
        verdict.rewritten += len(messages) - 1


def _dead_letter_key(world: World, place: Place) -> str:
    return f"{world.workspace.topic}/{place.partition}/{place.offset}@{place.timestamp}"


def dead_letters(world: World) -> dict[str, list[Record]]:
    """All messages of the dead-letter topic by key, in order."""
    found: dict[str, list[Record]] = defaultdict(list)
    for message in consume_all(world.broker.bootstrap, f"{world.workspace.app_id}-dead-letters"):
        found[(message.key or b"").decode()].append(message)
    return found


@cache
def _utc_offsets() -> set[int]:
    """All offsets from UTC that have been in use since 2000, in microseconds."""
    zones = [ZoneInfo(name) for name in available_timezones()]
    months = [
        datetime(year, month, 1) for year in range(2000, datetime.now().year + 1) for month in (1, 4, 7, 10)
    ]
    offsets = {month.replace(tzinfo=zone).utcoffset() or timedelta() for zone in zones for month in months}
    return {offset // timedelta(microseconds=1) for offset in offsets}


def event_time(local: datetime, received: int) -> tuple[int, bool]:
    """Event time in microseconds, and whether the host's clock is trusted, as docs/wire-format.md defines them."""
    local_micros = micros(local.replace(tzinfo=UTC))
    offset = round((local_micros - received) / QUARTER) * QUARTER
    return (local_micros - offset, True) if offset in _utc_offsets() else (received, False)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def recomputed(rows: Iterable[tuple[str, str, float, int]]) -> dict[tuple[str, str, int], Aggregate]:
    """Aggregates by hostname, metric and start of the bucket, of rows with event times in microseconds."""
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
    """The aggregates in SQL that differ from the stored readings."""
    micros_of = world.database.micros
    expected = recomputed(
        world.sql(f"SELECT hostname, metric, value, {micros_of('observed_at')} FROM {readings}")
    )
    found = {
        (hostname, metric, start): tuple(rest)
        for hostname, metric, start, *rest in world.sql(
            f"SELECT hostname, metric, {micros_of('bucket_start')}, count, sum, minimum, maximum, last,"
            f" {micros_of('last_at')} FROM {readings.replace('_readings', '_aggregates')} WHERE resolution = 60"
        )
    }
    return [
        (key, expected.get(key), found.get(key))
        for key in expected.keys() | found.keys()
        if not _equal(expected.get(key), found.get(key))
    ]


def _equal(one: tuple[Any, ...] | None, other: tuple[Any, ...] | None) -> bool:
    if one is None or other is None:
        return False
    # Floating-point sums depend on the order of addition, which is not defined.
    return math.isclose(one[1], other[1], rel_tol=1e-9) and one[:1] + one[2:] == other[:1] + other[2:]


def _aggregates(world: World, verdict: Verdict) -> None:
    for table in READINGS:
        found = differences(world, table)
        verdict.note("aggregates", len(found), found[:1])


def _responses(world: World, verdict: Verdict) -> None:
    """Every worker returns, for every host, the same statistics of the last 15 minutes as SQL."""
    for table in READINGS:
        for number in range(HOSTS):
            for worker in world.workers:
                path = f"/api/v1/plugins/{PLUGIN_OF[table]}/hosts/host-{number}?window=15m"
                windows = [_window()]
                try:
                    status, body = worker.get(path)
                except requests.RequestException as error:
                    verdict.note("http", 1, (path, error))
                    continue
                if status != 200:
                    verdict.note("http", 1, (path, status, body))
                    continue
                # The next minute may have begun during the request.
                windows.append(_window())
                window = tuple(micros(datetime.fromisoformat(body[end])) for end in ("from", "to"))
                if window not in windows:
                    verdict.note("http", 1, (path, windows, window))
                    continue
                expected = _merged(world, table, f"host-{number}", window)
                found = {
                    metric: (
                        *(each[name] for name in _NUMBERS),
                        micros(datetime.fromisoformat(each["last_at"])),
                    )
                    for metric, each in body["metrics"].items()
                }
                names = expected.keys() | found.keys()
                equal = all(_equal(expected.get(name), found.get(name)) for name in names)
                verdict.note("http", int(not equal), (path, expected, found))


def _window() -> tuple[int, ...]:
    """The bounds of the last 15 minutes, extended to whole minutes, in microseconds."""
    now = time.time_ns() // 1000
    return now - WINDOW - (now - WINDOW) % BUCKET, now - now % BUCKET + BUCKET


def _merged(world: World, table: str, hostname: str, window: tuple[int, ...]) -> dict[str, tuple[Any, ...]]:
    """Count, average, minimum, maximum, last and its event time by metric, from aggregates in SQL."""
    by_metric: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for metric, *row in world.sql(
        f"SELECT metric, count, sum, minimum, maximum, last, {world.database.micros('last_at')}"
        f" FROM {table.replace('_readings', '_aggregates')} WHERE hostname = %(host)s AND resolution = 60"
        f" AND {world.database.micros('bucket_start')} BETWEEN %(start)s AND %(end)s",
        host=hostname,
        start=window[0],
        end=window[1] - 1,
    ):
        by_metric[metric].append(tuple(row))
    merged = {}
    for metric, rows in by_metric.items():
        counts, sums, minima, maxima, lasts, times = zip(*rows, strict=True)
        last_at, last = max(zip(times, lasts, strict=True))
        merged[metric] = (sum(counts), math.fsum(sums) / sum(counts), min(minima), max(maxima), last, last_at)
    return merged
