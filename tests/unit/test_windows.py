"""Rolling windows: which buckets they touch, and what these merge into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.aggregate.table import BucketTable
from sparkle_app.aggregate.windows import host_window, window_bounds
from sparkle_app.model.buckets import Bucket, Statistics
from sparkle_app.model.sample import Sample

SECOND = 1_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize(
    ("now", "seconds", "bounds"),
    [
        # The bucket of `now`, as far as it has come, and every bucket that the window touches.
        (600 * SECOND, 60, (540 * SECOND, 660 * SECOND)),
        (600 * SECOND, 61, (480 * SECOND, 660 * SECOND)),
        (600 * SECOND, 1, (540 * SECOND, 660 * SECOND)),
        (659 * SECOND, 59, (600 * SECOND, 660 * SECOND)),
        (659_999_999, 60, (540 * SECOND, 660 * SECOND)),
        (660 * SECOND, 900, (-240 * SECOND, 720 * SECOND)),
    ],
)
def test_a_window_is_all_buckets_that_it_touches(now: int, seconds: int, bounds: tuple[int, int]) -> None:
    assert window_bounds(now, seconds, 60) == bounds


@given(st.integers(0, 4_000_000_000_000_000), st.integers(1, 86_400), st.sampled_from([1, 10, 60, 300, 3600]))
def test_a_window_is_whole_buckets_and_none_too_many(now: int, seconds: int, bucket_size: int) -> None:
    start, end = window_bounds(now, seconds, bucket_size)
    length = bucket_size * SECOND
    assert start % length == end % length == 0
    assert start <= now - seconds * SECOND < start + length
    assert end - length <= now < end


class Table(BucketTable):
    """A host's packed buckets by their start; without Faust."""

    def __init__(self, **hosts: dict[int, Bucket]) -> None:
        self._hosts = hosts
        self._starts = {host: list(buckets) for host, buckets in hosts.items()}

    @property
    def data(self) -> dict[tuple[str, int], bytes]:  # type: ignore[override]
        return {
            (host, at): bucket.pack()
            for host, buckets in self._hosts.items()
            for at, bucket in buckets.items()
        }


def bucket(*samples: Sample) -> Bucket:
    made = Bucket()
    for sample in samples:
        made.add(sample)
    return made


def test_a_hosts_window_merges_the_buckets_that_begin_in_it() -> None:
    table = Table(
        one={
            0: bucket(Sample(b"a" * 8, "core", 100.0, 5)),
            MINUTE: bucket(Sample(b"b" * 8, "core", 1.0, MINUTE), Sample(b"c" * 8, "gpu", 7.0, MINUTE + 1)),
            2 * MINUTE: bucket(Sample(b"d" * 8, "core", 2.0, 3 * MINUTE - 1)),
            3 * MINUTE: bucket(Sample(b"e" * 8, "core", 200.0, 3 * MINUTE)),
        },
        other={MINUTE: bucket(Sample(b"f" * 8, "core", 300.0, MINUTE))},
    )
    assert host_window(table, "one", MINUTE, 3 * MINUTE) == {
        "core": Statistics(2, 3.0, 1.0, 2.0, 2.0, 3 * MINUTE - 1),
        "gpu": Statistics(1, 7.0, 7.0, 7.0, 7.0, MINUTE + 1),
    }
    assert host_window(table, "one", 4 * MINUTE, 9 * MINUTE) == {}
    assert host_window(table, "none", 0, 9 * MINUTE) == {}
