"""A worker with large bucket tables: memory, and time until it answers queries after a restart."""

import json
import os
import time
from collections.abc import Iterator

from confluent_kafka import Producer
from sqlalchemy.engine import make_url

from benchmarks.ours import memory
from sparkle_app.kafka import topology
from sparkle_app.model.buckets import AggregateRow, Bucket, Statistics
from sparkle_app.model.sample import Sample
from sparkle_app.plugin.discovery import load_plugins
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.storage.engine import make_engine
from tests.support.kafka import KafkaBroker
from tests.support.worker import Worker, Workspace

PLUGIN, RESOLUTION = "Temperature", 60
MINUTE = RESOLUTION * 1_000_000
TIMEOUT_SECONDS = 600


def measure(
    workspace: Workspace,
    kafka: KafkaBroker,
    url: str,
    hosts: int,
    metrics: int,
    minutes: int,
    partitions: int,
) -> dict[str, float]:
    """Fill changelog topic and SQL as after ``minutes`` minutes, with one reading of each metric per minute; restart.

    Returns:
        ``memory`` of the restarted worker (MB), ``empty``: memory without state (MB), ``restart``: time until it
        answers a query (s), ``changelog``: size of the changelog topic per reading (bytes).
    """
    environment = workspace.environment(
        kafka.bootstrap,
        url,
        broker__partitions=partitions,
        database__wait_seconds=300,
        ingest__multibuffer=False,
    )
    worker = Worker(environment, workspace.folder / "worker.log")
    try:
        # Creates topics, tables and the internal key.
        worker.start()
        worker.wait_ready()
        empty = memory(worker)
        worker.terminate()
        now = int(time.time()) // 60 * MINUTE
        starts = [now - MINUTE * ago for ago in range(minutes, 0, -1)]
        changelog = _fill_changelog(workspace, kafka.bootstrap, hosts, metrics, starts, partitions)
        _fill_sql(workspace, url, hosts, metrics, starts)
        started = time.perf_counter()
        worker.start()
        worker.wait_ready(TIMEOUT_SECONDS)
        status, answer = worker.get(f"/api/v1/plugins/{PLUGIN}/hosts/{_host(hosts - 1)}?window=1h")
        took = time.perf_counter() - started
        assert status == 200, f"expected 200, found {status}"
        found = sum(metric["count"] for metric in answer["metrics"].values())
        assert found >= metrics * (minutes - 5), f"expected about {metrics * minutes} readings, found {found}"
        time.sleep(2)
        return {
            "memory": memory(worker),
            "empty": empty,
            "restart": took,
            "changelog": changelog / (hosts * metrics * minutes),
        }
    finally:
        worker.kill()


def _fill_changelog(
    workspace: Workspace, bootstrap: str, hosts: int, metrics: int, starts: list[int], partitions: int
) -> int:
    """Returns the total size of keys and values in bytes."""
    cipher = Cipher(internal_key(workspace.certs))
    topic = topology.changelog_topic(workspace.app_id, PLUGIN, RESOLUTION)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    written = 0
    for start in starts:
        for number in range(hosts):
            hostname, bucket = _host(number), Bucket()
            for metric in range(metrics):
                bucket.add(
                    Sample(
                        os.urandom(8),
                        f"core/{metric}",
                        30 + metric / 7,
                        start + number * 5000 + metric * 7001,
                    )
                )
            key = json.dumps([hostname, start], separators=(",", ":")).encode()
            value = cipher.encrypt(bucket.pack(), topic.encode())
            written += len(key) + len(value)
            while True:
                try:
                    producer.produce(topic, value, key, topology.partition_of(hostname, partitions))
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    assert not producer.flush(120), "the broker did not acknowledge the changelog records within 120 s"
    return written


def _fill_sql(workspace: Workspace, url: str, hosts: int, metrics: int, starts: list[int]) -> None:
    plugin = load_plugins(workspace.plugins).by_name[PLUGIN]

    def rows(start: int) -> Iterator[AggregateRow]:
        for number in range(hosts):
            for metric in range(metrics):
                value = 30 + metric / 7
                statistics = Statistics.of(value, start + number * 5000 + metric * 7001)
                yield AggregateRow(_host(number), f"core/{metric}", RESOLUTION, start, statistics)

    engine = make_engine(make_url(url))
    # In order of time, as the handler writes them: the physical distance of rows determines how fast they are read.
    for start in starts:
        with engine.begin() as connection:
            plugin.store_aggregates(connection, list(rows(start)))
    engine.dispose()


def _host(number: int) -> str:
    return f"host-{number:05}"
