"""A short version of ``make chaos`` (tests/chaos): two runs with two faults each."""

from collections.abc import Sequence

import pytest

from tests.chaos.runs import as_json, run
from tests.support import processes


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        # One topic with CreateTime, one with LogAppendTime.
        (1, ["killed after changelog write", "connections cut"]),
        (5, ["all workers killed", "every record duplicated"]),
    ],
)
def test_nothing_is_lost_and_nothing_is_counted_twice(
    seed: int, faults: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in `make chaos`. The preloaded process would be taken for one that was left.
    monkeypatch.setattr(processes, "PRELOADED", [])
    done = run(seed, faults)
    assert done.good, as_json(done)
    assert done.records > 2000
    assert min(done.pending) > 0
