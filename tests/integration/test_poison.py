"""Malformed records: each record becomes one row or one dead letter, and no partition stops."""

import random
from collections import Counter

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import query
from tests.support.eventually import eventually
from tests.support.poison import Poison
from tests.support.produce import consume_all, place_of, produce
from tests.support.worker import Workspace

TABLES = ("temperature_readings", "pu_workload_readings")


@pytest.mark.kafka
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_each_record_becomes_one_row_or_one_dead_letter(
    request: pytest.FixtureRequest,
    broker: Broker,
    database_url: str,
    workspace: Workspace,
    start_worker: StartWorker,
) -> None:
    number = request.config.getoption("poison")
    poison = Poison(Collector(workspace.certs), random.Random(number))
    # One worker uses multi-buffer RSA if the machine supports it; the other decrypts one reading at a time.
    workers = [
        start_worker(dead_letters__per_cause=10_000_000, ingest__multibuffer=several)
        for several in (True, False)
    ]
    records = [poison.record() for _ in range(number)]
    placed = Counter(produce(broker.bootstrap, workspace.topic, records))
    del records
    letters = f"{workspace.app_id}-dead-letters"

    def rows() -> Counter[tuple[int, int]]:
        found: Counter[tuple[int, int]] = Counter()
        for table in TABLES:
            found.update(
                (row["partition"], row["offset"])
                for row in query(database_url, f'SELECT partition, "offset" FROM {table}')
            )
        return found

    def bad() -> Counter[tuple[int, int]]:
        keys = {letter.key or b"" for letter in consume_all(broker.bootstrap, letters, 120)}
        places = (place_of(key).rsplit("/", 2) for key in keys)
        return Counter((int(partition), int(offset)) for _, partition, offset in places)

    handled = eventually(lambda: rows() + bad(), lambda found: found.total() >= number, 600)
    assert handled == placed
    assert {status for status, _ in (worker.get("/health/ready") for worker in workers)} == {200}
    assert rows().total() > number * 0.15
    assert bad().total() > number * 0.3
