"""Which differences are there to stay, while workers run."""

import itertools
import time
from collections.abc import Iterable, Sequence

from sparkle_app.audit.auditor import Auditor, Difference, same
from sparkle_app.kafka.consumer import SESSION_SECONDS
from sparkle_app.model.buckets import Statistics

_LOOKS = 5
_SECONDS_BETWEEN = 2.0
# Kafka notices that a worker is gone; then another recovers its tables.
_TAKEN_OVER_SECONDS = 2 * SESSION_SECONDS


def confirmed(auditor: Auditor, pages: Iterable[Sequence[Difference]]) -> list[Difference]:
    """Those of some pages' differences that are there to stay, while workers run.

    Of readings that were stored a moment ago the aggregates come a moment later; where their worker was killed, once
    another has taken over. So an aggregate that is behind is certain when for so long none of them has moved. Any other
    difference is certain when it is the same a moment later.
    """
    pages = [page for page in pages if page]
    goals = {each.key: _count(each.computed) for page in pages for each in page if each.behind}
    certain: list[Difference] = []
    moved_at = time.monotonic()
    for look in itertools.count(1):
        if not pages:
            break
        time.sleep(_SECONDS_BETWEEN)
        moved = False
        left: list[list[Difference]] = []
        for page in pages:
            found = auditor.recheck(page)
            left.append([])
            for before in page:
                now = found.get(before.key)
                if now and now.behind:
                    advanced = not same(now.stored, before.stored)
                    moved |= advanced
                    # A bucket that readings still come to is never at rest, and at work once it has counted the first.
                    if not advanced or _count(now.stored) < goals.setdefault(now.key, _count(now.computed)):
                        left[-1].append(now)
                elif now and now.same_as(before):
                    certain.append(now)
                elif now and look < _LOOKS:
                    left[-1].append(now)
                else:
                    moved |= before.behind
        if moved:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at >= _TAKEN_OVER_SECONDS:
            certain += [each for page in left for each in page if each.behind]
            left = [[each for each in page if not each.behind] for page in left]
        pages = [page for page in left if page]
    return sorted(certain, key=lambda each: each.key)


def _count(statistics: Statistics | None) -> int:
    return statistics.count if statistics else 0
