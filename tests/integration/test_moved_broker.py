"""All brokers come back under other addresses, behind the same bootstrap name."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.produce import produce
from tests.support.proxy import Proxy
from tests.support.worker import Worker, Workspace

pytestmark = pytest.mark.kafka


def test_brokers_with_other_addresses_behind_the_same_name_are_found(
    make_broker: Callable[[Path], Broker], workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "kafka").mkdir()
    first = make_broker(tmp_path / "kafka")
    collector = Collector(workspace.certs)
    records = [collector.record(f"host-{n}", "Temperature", "k", 20.0) for n in range(20)]
    database = f"sqlite:///{tmp_path / 'readings.sqlite3'}"
    counted = 'SELECT sum("count") AS n FROM temperature_aggregates'
    with contextlib.ExitStack() as stack:
        stack.callback(first.kill)
        first.start()
        name = Proxy(first.bootstrap)
        stack.callback(name.close)
        worker = Worker(workspace.environment(name.address, database), workspace.folder / "worker-1.log")
        stack.callback(worker.close)
        worker.start()
        worker.wait_ready()
        produce(first.bootstrap, workspace.topic, records[:10])
        eventually(lambda: count(database, "temperature_readings"), lambda found: found == 10)
        first.stop()
        second = KafkaBroker(tmp_path / "kafka")
        assert second.bootstrap != first.bootstrap
        stack.callback(second.kill)
        second.start()
        name.target = second.bootstrap
        produce(second.bootstrap, workspace.topic, records[10:])
        eventually(lambda: count(database, "temperature_readings"), lambda found: found == 20, 60)
        eventually(lambda: query(database, counted)[0]["n"], lambda found: found == 20, 60)
        worker.wait_ready()
