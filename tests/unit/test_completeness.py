"""Completeness of readings, measured by a host's own interval."""

import random

import pytest

from sparkle_app.model.completeness import Gap, completeness

SECOND, MINUTE = 1_000_000, 60_000_000
INTERVAL = 5 * MINUTE


def buckets(times: list[int]) -> list[int]:
    return sorted({at - at % MINUTE for at in times})


@pytest.mark.parametrize("drift", [0, SECOND, 17 * SECOND, -20 * SECOND])
@pytest.mark.parametrize("phase", [0, 59 * SECOND, 4 * MINUTE])
def test_a_host_that_sends_all_the_time_is_complete_whatever_its_drift(drift: int, phase: int) -> None:
    times = list(range(phase, 1000 * MINUTE, INTERVAL + drift))
    found = completeness(buckets(times), MINUTE, INTERVAL, 0, 1000 * MINUTE)
    assert (found.gaps, found.missing, found.ratio) == ([], 0, 1.0)
    assert found.expected == 200


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
