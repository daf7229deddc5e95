"""Completeness of readings, measured by a host's own interval."""

import random

import msgspec
import pytest

from sparkle_app.model.completeness import Gap, completeness

SECOND, MINUTE = 1_000_000, 60_000_000
INTERVAL = 5 * MINUTE


def buckets(times: list[int], size: int = MINUTE) -> list[int]:
    return sorted({at - at % size for at in times})


@pytest.mark.parametrize("drift", [0, SECOND, 17 * SECOND, -20 * SECOND])
@pytest.mark.parametrize("phase", [0, 59 * SECOND, 4 * MINUTE])
def test_a_host_that_sends_all_the_time_is_complete_whatever_its_drift(drift: int, phase: int) -> None:
    times = list(range(phase, 1000 * MINUTE, INTERVAL + drift))
    found = completeness(buckets(times), MINUTE, INTERVAL, 0, 1000 * MINUTE)
    assert (found.gaps, found.missing, found.ratio) == ([], 0, 1.0)
    assert found.expected == 200


@pytest.mark.parametrize("bucket", [2, 3, 5, 15, 60])
@pytest.mark.parametrize("drift", [0, SECOND, 17 * SECOND, -20 * SECOND])
@pytest.mark.parametrize("phase", [0, 59 * SECOND])
def test_such_a_host_is_complete_if_buckets_are_longer_than_its_interval(
    bucket: int, drift: int, phase: int
) -> None:
    size = bucket * MINUTE
    times = list(range(phase, 1440 * MINUTE, MINUTE + drift))
    found = completeness(buckets(times, size), size, MINUTE, 0, 1440 * MINUTE)
    assert (found.gaps, found.expected, found.ratio) == ([], 1440, 1.0)


@pytest.mark.parametrize("bucket", [2, 3, 5, 15])
def test_whole_buckets_without_readings_are_missing_if_they_are_longer_than_the_interval(bucket: int) -> None:
    size = bucket * MINUTE
    times = [at for at in range(0, 40 * size, MINUTE) if not 3 * size <= at < 5 * size and at // size != 20]
    found = completeness(buckets(times, size), size, MINUTE, 0, 40 * size)
    assert found.gaps == [Gap(3 * size, 5 * size, 2 * bucket), Gap(20 * size, 21 * size, bucket)]
    assert found.ratio == 1 - 3 / 40


def test_a_range_that_begins_within_a_bucket_has_its_readings() -> None:
    found = completeness([0, INTERVAL], INTERVAL, MINUTE, 4 * MINUTE, 2 * INTERVAL)
    assert (found.gaps, found.expected) == ([], 6)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_left_out_is_missing(seed: int) -> None:
    chance = random.Random(seed)
    times = [number * INTERVAL + chance.randrange(10 * SECOND) for number in range(200)]
    lost = {number for number in range(1, 199) if chance.random() < 0.2}
    kept = [at for number, at in enumerate(times) if number not in lost]
    found = completeness(buckets(kept), MINUTE, INTERVAL, 0, 200 * INTERVAL)
    assert found.missing == len(lost)
    assert found.ratio == 1 - len(lost) / 200
    assert [gap.start for gap in found.gaps] == sorted(gap.start for gap in found.gaps)
    assert all(gap.end - gap.start > INTERVAL for gap in found.gaps)


def test_the_ends_of_the_range_count() -> None:
    found = completeness([20 * MINUTE, 25 * MINUTE], MINUTE, INTERVAL, 0, 60 * MINUTE)
    assert found.gaps == [Gap(0, 20 * MINUTE, 4), Gap(26 * MINUTE, 60 * MINUTE, 6)]
    assert (found.expected, found.missing) == (12, 10)
    found = completeness([], MINUTE, INTERVAL, 0, 60 * MINUTE)
    assert (found.gaps, found.ratio) == ([Gap(0, 60 * MINUTE, 12)], 0.0)
    assert completeness([], MINUTE, INTERVAL, 0, MINUTE).ratio == 1.0


def test_a_range_may_begin_at_any_time() -> None:
    start, end = 1000 * MINUTE, 1060 * MINUTE
    found = completeness([1020 * MINUTE, 1025 * MINUTE], MINUTE, INTERVAL, start, end)
    assert found.gaps == [Gap(start, 1020 * MINUTE, 4), Gap(1026 * MINUTE, end, 6)]
    assert found.expected == 12
    assert completeness([], MINUTE, INTERVAL, start, end).gaps == [Gap(start, end, 12)]


def test_a_reading_is_missing_if_the_next_one_is_half_an_interval_late() -> None:
    # A reading is anywhere in its bucket: at half a minute on average, so from 8 minutes between their starts.
    found = completeness([0, 8 * MINUTE - 1], MINUTE, INTERVAL, 0, 8 * MINUTE)
    assert (found.gaps, found.expected) == ([], 2)
    found = completeness([0, 8 * MINUTE], MINUTE, INTERVAL, 0, 9 * MINUTE)
    # Whole numbers, also in JSON.
    assert msgspec.json.encode(found) == (
        b'{"expected":2,"gaps":[{"start":60000000,"end":480000000,"missing":1}]}'
    )


@pytest.mark.parametrize(("end", "expected"), [(450 * SECOND - 1, 1), (450 * SECOND, 2)])
def test_as_many_readings_are_expected_as_intervals_to_the_nearest(end: int, expected: int) -> None:
    assert completeness([0], MINUTE, INTERVAL, 0, end).expected == expected
