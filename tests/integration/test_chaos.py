"""A short version of ``make chaos`` (tests/chaos): two runs with two faults each."""

from collections.abc import Sequence

import pytest

from tests.chaos.runs import as_json, run


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        # One topic with CreateTime, one with LogAppendTime.
        (1, ["killed after changelog write", "connections cut"]),
        (5, ["all workers killed", "every record duplicated"]),
    ],
)
def test_nothing_is_lost_and_nothing_is_counted_twice(seed: int, faults: Sequence[str]) -> None:
    done = run(seed, faults)
    assert done.good, as_json(done)
    assert done.records > 2000
    assert min(done.pending) > 0
