"""Which aggregates serve for a time range: the coarsest that are exact, and finer ones for the rest."""

from collections.abc import Iterator, Sequence

import msgspec

from sparkle_app.model.retention import Watermarks
from sparkle_app.model.time import span


class Coverage(msgspec.Struct, frozen=True):
    """A time range with aggregates of one resolution; microseconds since the epoch."""

    resolution: int
    """Bucket size, seconds."""
    start: int
    end: int


def stored_resolutions(marks: Watermarks, start: int, end: int) -> list[Coverage]:
    """For each resolution, the part of a time range of which all aggregates are stored. At most one for each.

    Every query of a series takes what it reads from here.

    Arguments:
        marks: of the plugin, from the snapshot that is queried.
    """
    found = []
    for resolution in marks.resolutions:
        mark = marks[resolution]
        until = end if resolution == marks.bucket_size else min(end, mark.merged_until)
        if (since := max(start, mark.kept_since)) < until:
            found.append(Coverage(resolution, since, until))
    return found


def finest_resolution(marks: Watermarks, start: int) -> int:
    """The finest resolution that is kept since a time, or the one that is kept longest; in seconds."""
    kept = (each for each in marks.resolutions if marks.keeps(each, start))
    return next(kept, min(marks.resolutions, key=lambda each: marks[each].kept_since))


def sources(stored: Sequence[Coverage], start: int, end: int, step: int) -> list[Coverage]:
    """Ranges, in order of time, that together have what is stored of a time range, each bucket in one of them.

    Arguments:
        stored: as :func:`stored_resolutions`.
        step: seconds. Buckets that are no part of a single step do not serve.
    """
    exact = [each for each in stored if step % each.resolution == 0]
    return _covering(sorted(exact, key=lambda each: -each.resolution), start, end)


def by_steps(found: Sequence[Coverage], step: int) -> Iterator[list[Coverage]]:
    """The ranges of :func:`sources`, divided at bounds of steps: each step is in one list, with all it is read from.

    Only the few steps in which a source begins are read from several.
    """
    width = span(step)
    shared = sorted({each.start // width for each in found if each.start % width})
    for each in found:
        first = -(-each.start // width) * width
        last = each.end // width * width if each.end // width in shared else each.end
        if first < last:
            yield [Coverage(each.resolution, first, last)]
    for number in shared:
        bounds = [
            (each, max(each.start, number * width), min(each.end, (number + 1) * width)) for each in found
        ]
        yield [Coverage(each.resolution, first, last) for each, first, last in bounds if first < last]


def _covering(coarsest_first: Sequence[Coverage], start: int, end: int) -> list[Coverage]:
    if not coarsest_first or start >= end:
        return []
    coarsest, *finer = coarsest_first
    width = span(coarsest.resolution)
    # Whole buckets only.
    first = -(-max(start, coarsest.start) // width) * width
    last = min(end, coarsest.end) // width * width
    if first >= last:
        return _covering(finer, start, end)
    within = Coverage(coarsest.resolution, first, last)
    return [*_covering(finer, start, first), within, *_covering(finer, last, end)]
