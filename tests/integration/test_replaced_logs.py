"""Topics that are deleted and created again, and brokers that come back with older data, while workers run."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.kafka import KafkaBroker
from tests.support.produce import consume_all, create_topic, produce
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.kafka


class Site:
    """A broker of its own, a database, and a worker with a supervisor that starts it again when it exits."""

    def __init__(self, broker: Broker, workspace: Workspace, folder: Path) -> None:
        self.broker = broker
        self.workspace = workspace
        self.collector = Collector(workspace.certs)
        self.database = f"sqlite:///{folder / 'readings.sqlite3'}"
        self.environment = workspace.environment(broker.bootstrap, self.database)
        self.worker = Worker(self.environment, workspace.folder / "worker-1.log")
        self.starts = 0

    def send(self, number: int, host: str) -> None:
        """Produce readings to the first partition."""
        values = [self.collector.record(host, "Temperature", f"core {n}", 20.0) for n in range(number)]
        produce(self.broker.bootstrap, self.workspace.topic, values, partition=0)

    def rows(self) -> int:
        """The number of stored readings; starts the worker if it is not running."""
        if not self.worker.process.running:
            self.starts += 1
            self.worker.start()
        return count(self.database, "temperature_readings")

    def wait_for(self, rows: int) -> None:
        """Wait until so many readings are stored, and as many are counted."""
        eventually(self.rows, lambda found: found >= rows, 120)
        counted = 'SELECT sum("count") AS n FROM temperature_aggregates'
        eventually(lambda: (self.rows(), query(self.database, counted)[0]["n"]), lambda n: n == (rows, rows))
        self.worker.wait_ready()

    def log(self) -> str:
        return self.worker.process.log.read_text()


@pytest.fixture
def site(make_broker: Callable[[Path], Broker], workspace: Workspace, tmp_path: Path) -> Iterator[Site]:
    """A running broker with the plugin topic, and a ready worker."""
    (tmp_path / "kafka").mkdir()
    broker = make_broker(tmp_path / "kafka")
    with contextlib.ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        site = Site(broker, workspace, tmp_path)
        stack.callback(site.worker.close)
        site.rows()
        site.worker.wait_ready()
        yield site


def test_nothing_is_dropped_of_a_log_that_ends_before_the_committed_offset(site: Site) -> None:
    """A broker lost its disk while no worker ran, and another one has the committed offsets."""
    site.send(5, "host-1")
    site.wait_for(5)
    assert site.worker.terminate() == 0
    committed = TopicPartition(site.workspace.topic, 0, 5000)
    client = Consumer({"bootstrap.servers": site.broker.bootstrap, "group.id": site.workspace.app_id})
    client.commit(offsets=[committed], asynchronous=False)
    client.close()
    site.send(5, "host-2")
    site.wait_for(10)
    assert (
        "expected a log with the committed offset 5000, found one that ends at 10: the broker was"
        in site.log()
    )
    site.send(1, "host-3")
    site.wait_for(11)


def test_nothing_is_skipped_when_a_topic_is_deleted_and_created_again(site: Site) -> None:
    bootstrap, topic = site.broker.bootstrap, site.workspace.topic
    produce(bootstrap, topic, [b"junk"], partition=0)
    site.send(30, "host-1")
    site.wait_for(30)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([topic])[topic].result(20)
    eventually(lambda: topic in admin.list_topics(timeout=5).topics, lambda there: not there)
    create_topic(bootstrap, topic, 4)
    # More than before: the new topic has records at every offset that was consumed.
    produce(bootstrap, topic, [b"other junk"], partition=0)
    site.send(60, "host-2")
    site.wait_for(90)
    assert f"topics were deleted and created again: {topic}" in site.log()
    assert site.starts == 2
    letters = f"{site.workspace.app_id}-dead-letters"
    junk = {letter.value: letter.key for letter in consume_all(bootstrap, letters)}
    assert junk.keys() == {b"junk", b"other junk"}
    listed = run_command(site.environment, "dead-letters", "--list").stdout.splitlines()
    # Listed by time; the topic itself is partitioned by key.
    assert [line.split()[0].encode() for line in listed] == [junk[b"junk"], junk[b"other junk"]]
    shown = run_command(site.environment, "dead-letters", "--show", f"{topic}/0/0").stdout
    assert ("record     junk" in shown, "record     other junk" in shown) == (True, True)
    assert "2 dead letters replayed" in run_command(site.environment, "replay", "--all").stdout


def test_topics_that_are_deleted_are_created_again(site: Site) -> None:
    samples = f"{site.workspace.app_id}-Temperature-samples"
    admin = AdminClient({"bootstrap.servers": site.broker.bootstrap})
    admin.delete_topics([samples])[samples].result(20)
    site.worker.wait_failure()
    assert f"topics do not exist any more: {samples}; exiting" in site.worker.process.tail(3)
    site.send(10, "host-1")
    site.wait_for(10)


def data_of(site: Site) -> Path:
    assert isinstance(site.broker, KafkaBroker)
    return site.broker.process.log.parent / "data"


def test_nothing_is_skipped_when_a_broker_is_restored_from_an_older_copy(site: Site, tmp_path: Path) -> None:
    site.send(30, "host-1")
    site.wait_for(30)
    site.broker.stop()
    shutil.copytree(data_of(site), tmp_path / "copy")
    site.broker.start()
    site.send(20, "host-2")
    site.wait_for(50)
    site.broker.kill()
    shutil.rmtree(data_of(site))
    shutil.copytree(tmp_path / "copy", data_of(site))
    site.broker.start()
    # Beyond the offsets that were consumed, before the worker is connected again.
    site.send(40, "host-3")
    site.wait_for(90)


def test_a_broker_that_comes_back_empty_gets_its_topics_again(site: Site) -> None:
    site.send(30, "host-1")
    site.wait_for(30)
    site.broker.kill()
    shutil.rmtree(data_of(site))
    site.broker.start()
    admin = AdminClient({"bootstrap.servers": site.broker.bootstrap})
    eventually(
        lambda: (site.rows(), admin.list_topics(timeout=5).topics),
        lambda found: site.workspace.topic in found[1],
        90,
    )
    site.send(40, "host-2")
    site.wait_for(70)
