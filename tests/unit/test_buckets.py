"""Counting samples in buckets, and merging buckets into windows."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkle_app.config.sections import AggregatesSettings
from sparkle_app.envelope.v1 import KEY_MAX
from sparkle_app.kafka.topology import MAX_MESSAGE_BYTES
from sparkle_app.model.buckets import (
    LARGE,
    SCALE,
    AggregateRow,
    Bucket,
    Statistics,
    bucket_start,
    count_of,
    merge_packed,
    merged,
    rows_of,
)
from sparkle_app.model.sample import Sample
from sparkle_app.sealed.samples import pack_samples, unpack_samples

values = st.floats(-1e9, 1e9)
samples = st.builds(
    Sample,
    id=st.binary(min_size=8, max_size=8),
    metric=st.sampled_from(["a", "b"]),
    value=values,
    observed_at=st.integers(0, 59_999_999),
)
distinct = st.lists(samples, max_size=30, unique_by=lambda sample: sample.id)


def bucket_of(many: list[Sample]) -> Bucket:
    bucket = Bucket()
    for sample in many:
        bucket.add(sample)
    return bucket


@given(distinct)
def test_statistics_equal_those_of_the_samples(many: list[Sample]) -> None:
    bucket = bucket_of(many)
    for metric in {sample.metric for sample in many}:
        of_metric = [sample for sample in many if sample.metric == metric]
        found = bucket.metrics[metric]
        assert found.count == len(of_metric)
        assert math.isclose(found.sum, math.fsum(s.value for s in of_metric), rel_tol=1e-9, abs_tol=1e-3)
        assert found.minimum == min(s.value for s in of_metric)
        assert found.maximum == max(s.value for s in of_metric)
        assert (found.last_at, found.last) == max((s.observed_at, s.value) for s in of_metric)
    assert set(bucket.metrics) == {sample.metric for sample in many}


@given(distinct, st.data())
def test_repetition_and_order_do_not_matter(many: list[Sample], data: st.DataObject) -> None:
    repeated = many + data.draw(st.lists(st.sampled_from(many), max_size=10) if many else st.just([]))
    other = bucket_of(data.draw(st.permutations(repeated)))
    first = bucket_of(many)
    assert other.ids == first.ids
    for metric, statistics in first.metrics.items():
        found = other.metrics[metric]
        assert (found.count, found.minimum, found.maximum) == (
            statistics.count,
            statistics.minimum,
            statistics.maximum,
        )
        assert (found.last, found.last_at) == (statistics.last, statistics.last_at)
        assert math.isclose(found.sum, statistics.sum, rel_tol=1e-9, abs_tol=1e-3)


def test_a_sample_is_counted_once() -> None:
    bucket = Bucket()
    sample = Sample(b"12345678", "a", 2.0, 5)
    assert bucket.add(sample) is True
    assert bucket.add(sample) is False
    assert bucket.metrics == {"a": Statistics(1, 2.0, 2.0, 2.0, 2.0, 5)}


@given(distinct)
def test_unpacking_is_the_inverse_of_packing(many: list[Sample]) -> None:
    bucket = bucket_of(many)
    assert Bucket.unpack(bucket.pack()) == bucket
    metrics: dict[str, Statistics] = {}
    merge_packed(metrics, bucket.pack())
    assert metrics == bucket.metrics
    assert repr(count_of(bucket.pack())) == str(len(many))


def test_a_packed_bucket_of_16_metrics_is_small() -> None:
    bucket = bucket_of(
        [Sample(i.to_bytes(8), f"coretemp/Core {i}", 40.0 + i / 7, 1_000_000 * i) for i in range(16)]
    )
    assert len(bucket.pack()) < 1200


@given(distinct, st.integers(0, 30))
def test_merged_buckets_equal_one_bucket_of_all_samples(many: list[Sample], cut: int) -> None:
    whole = bucket_of(many).metrics
    parts = merged([bucket_of(many[:cut]).metrics, bucket_of(many[cut:]).metrics])
    assert set(parts) == set(whole)
    for metric, statistics in whole.items():
        assert parts[metric].count == statistics.count
        assert (parts[metric].last_at, parts[metric].last) == (statistics.last_at, statistics.last)
        assert math.isclose(parts[metric].sum, statistics.sum, rel_tol=1e-9, abs_tol=1e-3)


@given(distinct, st.integers(0, 30), st.integers(0, 30))
def test_merged_packed_buckets_equal_one_bucket_of_all_samples(
    many: list[Sample], first: int, second: int
) -> None:
    metrics: dict[str, Statistics] = {}
    for part in (many[:first], many[first : first + second], many[first + second :]):
        merge_packed(metrics, bucket_of(part).pack())
    whole = bucket_of(many).metrics
    assert set(metrics) == set(whole)
    for metric, statistics in whole.items():
        found = metrics[metric]
        assert math.isclose(found.sum, statistics.sum, rel_tol=1e-9, abs_tol=1e-3)
        found.sum = statistics.sum
        assert found == statistics


@pytest.mark.parametrize(
    ("value", "at", "last"), [(1.0, 6, (6, 1.0)), (1.0, 5, (5, 2.0)), (3.0, 5, (5, 3.0)), (3.0, 4, (5, 2.0))]
)
def test_of_two_readings_at_one_time_the_larger_is_the_last(
    value: float, at: int, last: tuple[int, float]
) -> None:
    added, merging = Statistics.of(2.0, 5), Statistics.of(2.0, 5)
    added.add(value, at)
    merging.merge(Statistics.of(value, at))
    assert added == merging
    assert (added.last_at, added.last) == last
    assert (added.count, added.sum) == (2, 2.0 + value)
    assert (added.minimum, added.maximum) == (min(2.0, value), max(2.0, value))


def test_merging_does_not_modify_the_buckets() -> None:
    bucket = bucket_of([Sample(b"12345678", "a", 2.0, 5)])
    merged([bucket.metrics, bucket.metrics])
    assert bucket.metrics["a"].count == 1


@given(st.integers(0, 4_000_000_000_000_000), st.sampled_from([1, 10, 60, 300, 3600]))
def test_a_time_is_within_its_bucket(at: int, bucket_size: int) -> None:
    start = bucket_start(at, bucket_size)
    assert start <= at < start + bucket_size * 1_000_000
    assert start % (bucket_size * 1_000_000) == 0


def test_a_bucket_has_one_row_for_each_metric() -> None:
    bucket = bucket_of([Sample(b"12345678", "a", 2.0, 5), Sample(b"abcdefgh", "b", 3.0, 6)])
    assert rows_of("host", 7, 60, bucket) == [
        AggregateRow("host", "a", 60, 7, Statistics(1, 2.0, 2.0, 2.0, 2.0, 5)),
        AggregateRow("host", "b", 60, 7, Statistics(1, 3.0, 3.0, 3.0, 3.0, 6)),
    ]


def test_a_packed_bucket_stays_readable() -> None:
    """Changelogs hold buckets that an earlier version packed."""
    packed = bytes.fromhex(
        "93c41831313131313131313232323232323232333333333333333305"
        "82a1629600cb400000000000000002cb4014000000000000cb4000000000000000cb4008000000000000"
        "a1619202cb3ff8000000000000"
    )
    bucket = bucket_of(
        [
            Sample(b"22222222", "b", 3.0, 4),
            Sample(b"11111111", "a", 1.5, 7),
            Sample(b"33333333", "b", 2.0, 5),
        ]
    )
    assert Bucket.unpack(packed) == Bucket.unpack(bucket.pack()) == bucket
    # Ids are in any order.
    assert sorted(bucket.pack()) == sorted(packed)
    assert Bucket().pack() == bytes.fromhex("93c4000080")
    assert Bucket.unpack(Bucket().pack()) == Bucket()


@given(st.dictionaries(st.text(min_size=1), st.lists(samples, max_size=5), max_size=5))
def test_unpacked_samples_equal_the_packed_ones(many: dict[str, list[Sample]]) -> None:
    assert unpack_samples(pack_samples(many)) == many


def test_a_bucket_with_the_most_metrics_of_the_longest_keys_takes_half_of_a_changelog_message() -> None:
    bound = AggregatesSettings.model_json_schema()["properties"]["max_metrics_per_host"]["maximum"]
    bucket = Bucket()
    for number in range(bound):
        metric = f"{number:0{KEY_MAX}}"
        bucket.metrics[metric] = Statistics(2**40, 0.1, 0.1, 0.2, 0.3, 2**40 * (number % 2))
    size = len(bucket.pack())
    assert size <= 321 * bound
    assert size <= MAX_MESSAGE_BYTES // 2


def test_sums_of_large_values_are_packed_and_merged_without_overflow() -> None:
    bucket = Bucket()
    for number, (metric, value) in enumerate(
        [("a", 1e308), ("a", 1.7e308), ("b", -1e308), ("b", 1.0), ("c", 1.2e308)]
    ):
        assert bucket.add(Sample(number.to_bytes(8), metric, value, number))
    assert Bucket.unpack(bucket.pack()) == bucket
    window: dict[str, Statistics] = {}
    for _ in range(3):
        merge_packed(window, bucket.pack())
    averages = {metric: statistics.average for metric, statistics in window.items()}
    assert averages == {"a": 1.35e308, "b": pytest.approx(-0.5e308), "c": pytest.approx(1.2e308)}
    rows = {row.metric: row.statistics for row in rows_of("host", 0, 60, bucket)}
    assert {metric: statistics.sum for metric, statistics in rows.items()} == {
        "a": math.inf,
        "b": -1e308,
        "c": 1.2e308,
    }
    assert {statistics.large_sum for statistics in rows.values()} == {0.0}
    assert math.isinf(rows["a"].average)
    assert Statistics(3, math.inf, 1e308, 1e308, 1e308, 0).average == 1e308


def test_a_bucket_of_an_earlier_version_is_unpacked() -> None:
    packed = msgspec.msgpack.encode((bytes(8), 7, {"a": (0, 2.0), "b": (1, 2.0, 2, 3.0, 1.0, 2.0)}))
    assert Bucket.unpack(packed).metrics == {
        "a": Statistics(1, 2.0, 2.0, 2.0, 2.0, 7),
        "b": Statistics(2, 3.0, 1.0, 2.0, 2.0, 8),
    }


@pytest.mark.parametrize("value", [0.5, 9.9e289, LARGE, 1e308, -0.5, -9.9e289, -LARGE, -1e308])
def test_a_value_is_summed_by_its_size_however_it_is_added(value: float) -> None:
    is_large = abs(value) >= 1e290
    expected = (0.0, value * SCALE) if is_large else (value, 0.0)
    one = Statistics.of(value, 7)
    assert one == Statistics(1, expected[0], value, value, value, 7, expected[1])
    added, merged_ = Statistics.of(2.0, 5), Statistics.of(2.0, 5)
    added.add(value, 7)
    merged_.merge(one)
    assert added == merged_
    assert (added.sum, added.large_sum) == (2.0 + expected[0], expected[1])
    # A finite sum in SQL is exact; the row of a bucket without large values is the same object.
    row = one.as_row()
    assert (row.sum, row.large_sum) == (value, 0.0)
    assert (row is one) == (not is_large)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_beyond_a_double_is_infinite_in_sql(sign: int) -> None:
    total = Statistics.of(sign * 1.7e308, 0)
    assert total.as_row().sum == sign * 1.7e308
    total.add(sign * 1.7e308, 0)
    assert total.as_row().sum == sign * math.inf
    # As in SQL, where a sum above this limit cannot be computed in every database.
    assert Statistics.of(sign * 1.79e308, 0).as_row().sum == sign * 1.79e308
    total = Statistics.of(sign * 8.96e307, 0)
    total.add(sign * 8.96e307, 0)
    assert total.as_row().sum == sign * math.inf


def test_a_packed_reading_is_merged_at_its_own_time() -> None:
    early, late = Bucket(), Bucket()
    early.add(Sample(bytes(8), "a", 1.0, 100))
    late.add(Sample(b"1" * 8, "b", 5.0, 200))
    late.add(Sample(b"2" * 8, "a", 3.0, 250))
    window: dict[str, Statistics] = {}
    merge_packed(window, early.pack())
    merge_packed(window, late.pack())
    assert window == {
        "a": Statistics(2, 4.0, 1.0, 3.0, 3.0, 250),
        "b": Statistics(1, 5.0, 5.0, 5.0, 5.0, 200),
    }


def test_a_damaged_row_without_readings_has_no_average() -> None:
    assert math.isnan(Statistics(0, 5.0, 1.0, 4.0, 4.0, 0).average)
