"""What must be true afterwards, by what the broker acknowledged and what is in SQL; nothing here is the handler's."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.chaos.sending import HOSTS
from tests.chaos.world import READINGS, World
from tests.support.produce import consume_all

PLUGIN_OF = {"temperature_readings": "Temperature", "pu_workload_readings": "PU_Workload"}
BUCKET = 60_000_000
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
        """Count a kind of mistake."""
        if number:
            setattr(self, kind, getattr(self, kind) + number)
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
    wanted = {sent.id: sent.reading for sent in ledger.values() if sent.reading}
    found: dict[str, tuple[Any, ...]] = {}
    for table in READINGS:
        statement = (
            "SELECT replace(id::text, '-', ''), hostname, metric, value,"
            f' (extract(epoch FROM observed_at) * 1000000)::bigint, partition, "offset" FROM {table}'
        )
        for id_, *content, partition, offset in world.sql(statement):
            verdict.note("doubled", int(id_ in found), id_)
            found[id_] = (PLUGIN_OF[table], *content)
            source = ledger.get((partition, offset))
            verdict.note("wrong", int(source is None or source.id != id_), (table, partition, offset))
    lost, strange = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    verdict.note("lost", len(lost), [wanted[id_] for id_ in list(lost)[:2]])
    verdict.note("doubled", len(strange), list(strange)[:2])
    changed = [(wanted[id_], found[id_]) for id_ in wanted.keys() & found.keys() if wanted[id_] != found[id_]]
    verdict.note("wrong", len(changed), changed[:1])
    bad = {
        f"{world.workspace.topic}/{partition}/{offset}": sent
        for (partition, offset), sent in ledger.items()
        if not sent.reading
    }
    letters = consume_all(world.broker.bootstrap, f"{world.workspace.app_id}-dead-letters")
    keys = Counter((letter.key or b"").decode() for letter in letters)
    verdict.note("lost", len(bad.keys() - keys.keys()), list(bad.keys() - keys.keys())[:2])
    verdict.note("doubled", len(keys.keys() - bad.keys()), list(keys.keys() - bad.keys())[:2])
    verdict.letters_again = sum(keys.values()) - len(keys)
    for letter in letters:
        sent, reason = bad.get((letter.key or b"").decode()), dict(letter.headers).get("sparkle-reason")
        if sent and ((reason or b"").decode(), letter.value) != (sent.reason, sent.value):
            verdict.note("wrong", 1, (letter.key, reason, sent.reason))


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
    """Every worker answers for every host what SQL holds for the same window."""
    for table in READINGS:
        for number in range(HOSTS):
            for worker in world.workers:
                path = f"/api/v1/plugins/{PLUGIN_OF[table]}/hosts/host-{number}?window=15m"
                try:
                    status, answer = worker.get(path)
                except requests.RequestException as error:
                    verdict.note("http", 1, (path, error))
                    continue
                if status != 200:
                    verdict.note("http", 1, (path, status, answer))
                    continue
                rows = world.sql(
                    f"SELECT metric, sum(count)::bigint, max(maximum) FROM {table.replace('_readings', '_aggregates')}"
                    " WHERE hostname = %(host)s AND bucket_start >= %(start)s AND bucket_start < %(end)s"
                    " GROUP BY metric",
                    host=f"host-{number}",
                    start=answer["from"],
                    end=answer["to"],
                )
                wanted = {metric: (count, maximum) for metric, count, maximum in rows}
                found = {
                    metric: (statistics["count"], statistics["maximum"])
                    for metric, statistics in answer["metrics"].items()
                }
                verdict.note("http", int(wanted != found), (path, wanted, found))
