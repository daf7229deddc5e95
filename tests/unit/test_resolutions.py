"""Which aggregates serve for a time range."""

import random

import pytest

from sparkle_app.model.retention import READINGS, Watermark, Watermarks
from sparkle_app.storage.resolutions import Coverage, by_steps, finest_resolution, sources, stored_resolutions
from sparkle_app.web.api.steps import STEPS, step_for

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000


def test_the_coarsest_that_divides_the_step_serves_and_finer_ones_fill_the_ends() -> None:
    stored = [
        Coverage(60, 10 * DAY, 40 * DAY),
        Coverage(86_400, 0, 39 * DAY + HOUR),
        Coverage(3600, HOUR // 2, 40 * DAY - 1),
    ]
    assert sources(stored, 0, 40 * DAY, 86_400) == [
        Coverage(86_400, 0, 39 * DAY),
        Coverage(3600, 39 * DAY, 40 * DAY - HOUR),
        Coverage(60, 40 * DAY - HOUR, 40 * DAY),
    ]
    assert sources(stored, 0, 12 * DAY, 3600) == [Coverage(3600, HOUR, 12 * DAY)]
    assert sources(stored, 5 * DAY, 12 * DAY, 300) == [Coverage(60, 10 * DAY, 12 * DAY)]
    assert sources(stored, 0, DAY, 90) == []
    assert sources([], 0, DAY, 60) == []


@pytest.mark.parametrize("seed", range(20))
def test_each_minute_is_in_one_source_if_any_has_it(seed: int) -> None:
    chance = random.Random(seed)
    stored = [
        Coverage(resolution, begin := chance.randrange(3 * DAY), begin + chance.randrange(3 * DAY))
        for resolution in (60, 300, 3600)
    ]
    step = chance.choice([60, 300, 3600, 7200])
    start = chance.randrange(2) * DAY
    end = start + 3 * DAY
    found = sources(stored, start, end, step)
    assert [(each.start, each.end) for each in found] == sorted((each.start, each.end) for each in found)
    for at in range(start, end, 7 * MINUTE):
        having = [each for each in found if each.start <= at < each.end]
        able = [
            each.resolution
            for each in stored
            for width in (each.resolution * 1_000_000,)
            if step % each.resolution == 0
            and max(start, each.start) <= at - at % width
            and at - at % width + width <= min(end, each.end)
        ]
        assert [each.resolution for each in having] == ([max(able)] if able else [])
    for each in found:
        assert each.start % (each.resolution * 1_000_000) == each.end % (each.resolution * 1_000_000) == 0
    parts = list(by_steps(found, step))
    for at in range(start, end, 7 * MINUTE):
        having = [each for each in found if each.start <= at < each.end]
        in_parts = [each for part in parts for each in part if each.start <= at < each.end]
        assert [each.resolution for each in in_parts] == [each.resolution for each in having]
    steps = [
        {at // (step * 1_000_000) for each in part for at in range(each.start, each.end, MINUTE)}
        for part in parts
    ]
    assert sum(map(len, steps)) == len(set().union(*steps))
    assert all(len(part) == 1 or len(within) == 1 for part, within in zip(parts, steps, strict=True))


def test_what_is_stored_is_what_is_kept_and_merged() -> None:
    marks = Watermarks(
        60,
        {
            READINGS: Watermark(kept_since=5 * DAY),
            60: Watermark(kept_since=10 * DAY),
            3600: Watermark(kept_since=2 * DAY, merging_until=13 * DAY, merged_until=12 * DAY + HOUR),
            86_400: Watermark(merged_until=12 * DAY),
        },
    )
    assert stored_resolutions(marks, 0, 20 * DAY) == [
        Coverage(60, 10 * DAY, 20 * DAY),
        Coverage(3600, 2 * DAY, 12 * DAY + HOUR),
        Coverage(86_400, 0, 12 * DAY),
    ]
    assert stored_resolutions(marks, 12 * DAY, 13 * DAY) == [
        Coverage(60, 12 * DAY, 13 * DAY),
        Coverage(3600, 12 * DAY, 12 * DAY + HOUR),
    ]
    assert stored_resolutions(Watermarks(60, {}), 0, DAY) == [Coverage(60, 0, DAY)]
    kept = {start: finest_resolution(marks, start * DAY) for start in (11, 10, 9, 2, 1)}
    assert kept == {11: 60, 10: 60, 9: 3600, 2: 3600, 1: 86_400}
    limited = Watermarks(
        60, {each: Watermark(kept_since=at * DAY) for each, at in ((60, 9), (3600, 8), (86_400, 7))}
    )
    assert finest_resolution(limited, 0) == 86_400


def test_the_step_is_the_shortest_usual_one_that_gives_so_few_points() -> None:
    assert step_for(DAY, 1440, 60) == 60
    assert step_for(DAY, 1439, 60) == 120
    assert step_for(DAY, 10_000, 60) == 60
    assert step_for(365 * DAY, 400, 60) == 86_400
    assert step_for(DAY, 100, 3600) == 3600
    # With odd buckets there is no usual step.
    assert step_for(DAY, 100, 7) == 868
    assert tuple(sorted(STEPS)) == STEPS
