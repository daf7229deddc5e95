"""What anybody who may produce can send does not fill the memory of a worker."""

from pathlib import Path

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.record_batches import RawRecord, produce_batch
from tests.support.worker import Workspace

ZSTD = 4
MIB = 2**20


def peak_bytes(pid: int) -> int:
    """The most memory that a process has used so far."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].removesuffix("kB")) * 1024


@pytest.mark.kafka
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_batches_that_are_large_when_they_are_decompressed_take_bounded_memory(
    broker: Broker, database_url: str, workspace: Workspace, start_worker: StartWorker
) -> None:
    collector = Collector(workspace.certs)
    good = [RawRecord(collector.record("host-1", "Temperature", "k", 20.0 + number)) for number in range(40)]
    # Together a few kilobytes, which one fetch returns: as one value, and as many that are just not too large.
    one, many = [RawRecord(bytes(20 * MIB))], [RawRecord(bytes(MIB - 100))] * 20
    worker = start_worker()
    before = peak_bytes(worker.process.pid)
    produce_batch(broker.bootstrap, workspace.topic, good[:1])
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    worker.kill()
    for each in good[1:]:
        produce_batch(broker.bootstrap, workspace.topic, one, ZSTD)
        produce_batch(broker.bootstrap, workspace.topic, many, ZSTD)
        produce_batch(broker.bootstrap, workspace.topic, [each])
    worker = start_worker()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == len(good))
    used = peak_bytes(worker.process.pid) - before
    assert used < 2 * (len(good) - 1) * 20 * MIB / 4
