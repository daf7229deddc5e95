"""A broker outage and its end are logged, with few other lines."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace

# The embedded broker loses its topics when it is killed.
pytestmark = pytest.mark.kafka


def test_a_broker_outage_and_its_end_are_each_logged_once(
    make_broker: Callable[[Path], Broker], workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "kafka").mkdir()
    broker = make_broker(tmp_path / "kafka")
    collector = Collector(workspace.certs)
    records = [collector.record(f"host-{n}", "Temperature", "k", 20.0) for n in range(20)]
    database = f"sqlite:///{tmp_path / 'readings.sqlite3'}"
    with contextlib.ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        worker = Worker(workspace.environment(broker.bootstrap, database), workspace.folder / "worker-1.log")
        stack.callback(worker.close)
        worker.start()
        worker.wait_ready()
        log = worker.process.log
        eventually(log.read_text, lambda text: f"ready; serving HTTP at {worker.url}\n" in text)
        produce(broker.bootstrap, workspace.topic, records[:10])
        eventually(lambda: count(database, "temperature_readings"), lambda found: found == 10)
        before = len(log.read_text())
        broker.kill()
        away = f"the broker at {broker.bootstrap} has not answered for"
        eventually(log.read_text, lambda text: away in text[before:])
        # Give the Kafka client ten seconds to log its reconnection attempts.
        time.sleep(10)
        broker.start()
        back = f"the broker at {broker.bootstrap} answers again after"
        eventually(log.read_text, lambda text: back in text[before:], 60)
        produce(broker.bootstrap, workspace.topic, records[10:])
        eventually(lambda: count(database, "temperature_readings"), lambda found: found == 20, 60)
        text = log.read_text()
        assert (text.count(away), text.count(back), text.count("ready; ")) == (1, 1, 1)
        assert len(text[before:].splitlines()) < 30, text[before:]
