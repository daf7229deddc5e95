"""What watermarks mean."""

import random

import pytest

from sparkle_app.model.buckets import bucket_start
from sparkle_app.model.retention import (
    DAY,
    HOUR,
    READINGS,
    ExpiredReason,
    Retention,
    Watermark,
    Watermarks,
    merged_resolutions,
)
from sparkle_app.model.time import span

MIDNIGHT = 1_764_028_800_000_000
"""2025-11-25, 00:00 UTC."""


def day(number: int) -> int:
    return MIDNIGHT + number * span(DAY)


def hour(number: int) -> int:
    return MIDNIGHT + number * span(HOUR)


@pytest.mark.parametrize(
    ("bucket_size", "merged"),
    [(60, (HOUR, DAY)), (7, ()), (2400, (DAY,)), (3600, (DAY,)), (7200, (DAY,)), (86_400, ())],
)
def test_hours_and_days_are_merged_from_buckets_that_divide_them(
    bucket_size: int, merged: tuple[int, ...]
) -> None:
    assert merged_resolutions(bucket_size) == merged
    assert Watermarks(bucket_size, {}).resolutions == (bucket_size, *merged)


def test_a_plugin_without_watermarks_keeps_all_and_merges_nothing() -> None:
    marks = Watermarks(60, {})
    assert marks[READINGS] == Watermark(0, 0, 0, 0, 0, 0)
    assert marks.accepts(0)
    assert marks.keeps(60, 0)
    assert marks.source(HOUR, 0) == 60
    assert marks.to_merge_again(MIDNIGHT) == []


def test_the_time_of_rebuilds_stands_with_the_readings() -> None:
    assert Watermarks(60, {}).rebuilt_at == 0
    known = {READINGS: Watermark(rebuilt_at=3), HOUR: Watermark(merged_until=day(0))}
    assert Watermarks(60, known).rebuilt_at == 3


def test_rows_that_begin_at_the_watermark_are_kept() -> None:
    marks = Watermarks(60, {READINGS: Watermark(kept_since=day(0)), 60: Watermark(kept_since=day(1))})
    assert (marks.accepts(day(0)), marks.accepts(day(0) - 1)) == (True, False)
    assert (marks.keeps(60, day(1)), marks.keeps(60, day(1) - 1)) == (True, False)
    assert marks.keeps(HOUR, 0)


def test_an_hour_is_merged_from_buckets_if_all_are_kept_and_complete_else_from_readings_if_these_are_kept() -> (
    None
):
    marks = Watermarks(60, {READINGS: Watermark(kept_since=day(-2)), 60: Watermark(kept_since=day(-1))})
    assert marks.source(HOUR, day(-1)) == 60
    assert marks.source(HOUR, hour(-25)) == READINGS
    assert marks.source(HOUR, day(-2)) == READINGS
    assert marks.source(HOUR, hour(-49)) is None
    assert marks.source(DAY, day(-3)) == HOUR
    of_other_size = Watermarks(60, {READINGS: Watermark(), 60: Watermark(complete_since=day(1))})
    assert of_other_size.source(HOUR, hour(23)) == READINGS
    assert of_other_size.source(HOUR, day(1)) == 60
    # Hours of any time are complete.
    assert of_other_size.source(DAY, day(0)) == HOUR


def test_incomplete_buckets_are_a_source_beside_readings() -> None:
    marks = Watermarks(60, {READINGS: Watermark(kept_since=day(0)), 60: Watermark(complete_since=day(1))})
    assert marks.sources(HOUR, day(1)) == (60,)
    assert marks.sources(HOUR, day(0)) == (60, READINGS)
    assert marks.sources(HOUR, day(-1)) == (60,)
    expired = Watermarks(60, {60: Watermark(kept_since=day(0))})
    assert expired.sources(HOUR, day(-1)) == (READINGS,)
    gone = Watermarks(60, {READINGS: Watermark(kept_since=day(0)), 60: Watermark(kept_since=day(0))})
    assert gone.sources(HOUR, day(-1)) == ()


def test_days_are_merged_from_buckets_if_these_do_not_divide_hours() -> None:
    marks = Watermarks(2400, {2400: Watermark(kept_since=day(0)), DAY: Watermark(merging_until=day(2))})
    assert marks.source(DAY, day(0)) == 2400
    assert marks.source(DAY, day(-1)) == READINGS
    assert marks.to_merge_again(day(1) + span(2400)) == [(DAY, day(1))]


def test_what_was_merged_and_is_kept_is_merged_again() -> None:
    marks = Watermarks(
        60,
        {
            HOUR: Watermark(kept_since=day(0), merging_until=hour(49)),
            DAY: Watermark(merging_until=day(2)),
        },
    )
    assert marks.to_merge_again(hour(-1)) == [(DAY, day(-1))]
    assert marks.to_merge_again(hour(3) + span(60)) == [(HOUR, hour(3)), (DAY, day(0))]
    assert marks.to_merge_again(hour(48)) == [(HOUR, hour(48))]
    assert marks.to_merge_again(hour(49)) == []


@pytest.mark.parametrize("seed", range(30))
def test_the_hours_of_a_day_have_the_same_source_and_it_is_one_that_is_kept(seed: int) -> None:
    chance = random.Random(seed)
    marks = Watermarks(
        chance.choice([2, 60, 1800]),
        {
            each: Watermark(
                complete_since=day(chance.randrange(-5, 2)) if each not in (READINGS, HOUR, DAY) else 0,
                kept_since=day(chance.randrange(-5, 2)),
            )
            for each in (READINGS, 2, 60, 1800, HOUR, DAY)
        },
    )
    for number in range(-5, 3):
        sources = {marks.source(HOUR, day(number) + each * span(HOUR)) for each in range(24)}
        assert len(sources) == 1
        (source,) = sources
        if source is None:
            assert not marks.accepts(day(number))
        else:
            # The first and the last row of the day.
            last = day(number + 1) - 1
            assert marks.keeps(source, day(number))
            assert marks.keeps(source, bucket_start(last, source) if source else last)


KEPT = Retention(90 * DAY, 30 * DAY, 1000 * DAY, None)


def test_days_are_merged_once_their_hours_are() -> None:
    marks = Watermarks(60, {HOUR: Watermark(merged_until=hour(49)), DAY: Watermark(merged_until=day(1))})
    assert marks.may_be_merged_until(HOUR, hour(50) - 1) == hour(49)
    assert marks.may_be_merged_until(HOUR, hour(50)) == hour(50)
    assert marks.may_be_merged_until(DAY, hour(100)) == day(2)
    assert marks.may_be_merged_until(DAY, hour(47)) == day(1)
    assert Watermarks(2400, {}).may_be_merged_until(DAY, hour(47)) == day(1)
    assert Watermarks(3600, {}).may_be_merged_until(DAY, hour(48)) == day(2)
    then = marks.as_if_merged(hour(100) + 5)
    assert (then[HOUR].merged_until, then[DAY].merged_until) == (hour(100), day(4))
    earlier = marks.as_if_merged(day(-3))
    assert (earlier[HOUR].merged_until, earlier[DAY].merged_until) == (hour(49), day(1))


def test_what_is_being_merged_can_be_taken_for_merged() -> None:
    marks = Watermarks(60, {READINGS: Watermark(rebuilt_at=7), HOUR: Watermark(3, 2, 1, hour(9), hour(5))})
    found = marks.as_if_all_merged()
    assert found.known == {READINGS: Watermark(rebuilt_at=7), HOUR: Watermark(3, 2, 1, hour(9), hour(9))}
    assert found.bucket_size == 60


def test_rows_expire_at_midnight_when_what_is_merged_from_them_has_been_merged() -> None:
    merged = {HOUR: Watermark(merged_until=hour(24 * 200 + 5)), DAY: Watermark(merged_until=day(200))}
    marks = Watermarks(60, merged)
    now = day(150) + 7
    assert marks.expires_before(READINGS, KEPT, now) == day(60)
    assert marks.expires_before(READINGS, KEPT, day(151) - 1) == day(60)
    assert marks.expires_before(READINGS, KEPT, day(151)) == day(61)
    assert marks.expires_before(60, KEPT, now) == day(120)
    assert marks.expires_before(HOUR, KEPT, now) == day(-850)
    assert marks.expires_before(DAY, KEPT, now) == 0
    # Nothing is merged from days: they expire by their age alone.
    assert marks.expires_before(DAY, Retention(None, None, None, 30 * DAY), day(300)) == day(270)
    # Retention has not run for long.
    assert [marks.expires_before(each, KEPT, day(5000)) for each in (READINGS, 60, HOUR)] == [day(200)] * 3
    assert Watermarks(60, {}).expires_before(60, KEPT, now) == 0
    assert Watermarks(7, {}).expires_before(7, KEPT, now) == day(120)
    # Buckets of an hour are hours, too, which may have been merged from shorter ones: the longer time counts.
    assert Watermarks(3600, merged).expires_before(3600, KEPT, now) == day(-850)
    short = Retention(90 * DAY, 30 * DAY, 7 * DAY, None)
    assert Watermarks(3600, merged).expires_before(3600, short, now) == day(120)
    for one in (Retention(DAY, None, DAY, DAY), Retention(DAY, DAY, None, DAY)):
        assert Watermarks(3600, merged).expires_before(3600, one, now) == 0
    assert Watermarks(60, merged).expires_before(READINGS, Retention(None, None, None, None), now) == 0


def test_reasons_are_words_of_metrics() -> None:
    assert [str(each) for each in ExpiredReason] == ["late", "clock", "replay", "uncounted"]
