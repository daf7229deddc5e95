"""The number of records that are decrypted together."""

import pytest

from sparkle_app.ingest.batch_limit import BatchLimit


@pytest.mark.parametrize(
    ("records", "seconds", "expected"),
    [(1000, 0.25, 2000), (1000, 0.05, 2500), (600, 0.25, 1200), (1000, 2.0, 1000), (500, 0.0, 2500)],
)
def test_a_batch_has_as_many_records_as_are_decrypted_in_half_a_second(
    records: int, seconds: float, expected: int
) -> None:
    limit = BatchLimit(2500)
    limit.decrypted(records, seconds)
    assert limit.records == expected


def test_a_small_batch_changes_nothing() -> None:
    limit = BatchLimit(2500)
    limit.decrypted(1000, 0.25)
    limit.decrypted(999, 10.0)
    assert limit.records == 2000


def test_batches_are_larger_while_storing_takes_longer_than_decrypting() -> None:
    limit = BatchLimit(2500)
    limit.stored(1.5)
    limit.decrypted(1000, 1.0)
    assert limit.records == 1500
    limit.stored(0.1)
    limit.decrypted(1500, 0.5)
    assert limit.records == 1500
    limit.decrypted(1500, 1.0)
    assert limit.records == 1000


def test_a_batch_never_has_more_records_than_the_setting() -> None:
    limit = BatchLimit(100)
    assert limit.records == 100
    limit.decrypted(100, 5.0)
    assert limit.records == 100
