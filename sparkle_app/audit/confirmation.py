"""Distinguishes persistent differences from those that running workers are about to resolve."""

import itertools
import time
from collections.abc import Iterable, Sequence

from sparkle_app.audit.auditor import Auditor
from sparkle_app.audit.differences import Difference, statistics_equal
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.model.buckets import Statistics

_MAX_CHECKS = 5
_INTERVAL_SECONDS = 2.0
# After a crash: the broker ends the worker's session, then another worker recovers its tables.
_TAKEOVER_SECONDS = 2 * SESSION_SECONDS


def confirmed(auditor: Auditor, chunks: Iterable[Sequence[Difference]]) -> list[Difference]:
    """The differences that persist while workers run.

    Workers store readings shortly before they count them. If a worker is killed in between, another one counts them
    after it has taken over the partitions. So an aggregate that lags behind its readings is confirmed only after no
    lagging aggregate has advanced for as long as a takeover lasts. Any other difference is confirmed when the next
    check finds it unchanged.
    """
    chunks = [chunk for chunk in chunks if chunk]
    goals = {each.key: _count(each.computed) for chunk in chunks for each in chunk if each.lagging}
    persistent: list[Difference] = []
    advanced_at = time.monotonic()
    for check in itertools.count(1):
        if not chunks:
            break
        time.sleep(_INTERVAL_SECONDS)
        any_advanced = False
        unresolved: list[list[Difference]] = []
        for chunk in chunks:
            found = auditor.recheck(chunk)
            unresolved.append([])
            for before in chunk:
                now = found.get(before.key)
                if now and now.lagging:
                    advanced = not statistics_equal(now.stored, before.stored)
                    any_advanced |= advanced
                    # A bucket that receives readings all the time may always lag. It is correct once it has counted
                    # those that were stored at the first check.
                    if not advanced or _count(now.stored) < goals.setdefault(now.key, _count(now.computed)):
                        unresolved[-1].append(now)
                elif now and now.unchanged_since(before):
                    persistent.append(now)
                elif now and check < _MAX_CHECKS:
                    unresolved[-1].append(now)
                else:
                    any_advanced |= before.lagging
        if any_advanced:
            advanced_at = time.monotonic()
        elif time.monotonic() - advanced_at >= _TAKEOVER_SECONDS:
            persistent += [each for chunk in unresolved for each in chunk if each.lagging]
            unresolved = [[each for each in chunk if not each.lagging] for chunk in unresolved]
        chunks = [chunk for chunk in unresolved if chunk]
    return sorted(persistent, key=lambda each: each.key)


def _count(statistics: Statistics | None) -> int:
    return statistics.count if statistics else 0
