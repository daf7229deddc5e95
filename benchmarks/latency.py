"""Latency from producing a reading to SQL and to the HTTP API, and of HTTP requests under full load."""

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import requests
from confluent_kafka import Producer
from sqlalchemy import create_engine, text

from benchmarks.backlog import readings
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.worker import Worker, Workspace

PROBERS = 4
POLL_SECONDS = 0.01
PLUGIN = "/api/v1/plugins/Temperature/hosts"
Figures = dict[str, float]


def to_sql_and_http(
    workspace: Workspace,
    collector: Collector,
    kafka: KafkaBroker,
    url: str,
    partitions: int,
    rate: int,
    seconds: int,
) -> Figures:
    """Milliseconds from producing a reading until it is stored, and until an HTTP response counts it.

    Meanwhile ``rate`` readings per second are produced. Each probe is one reading of a new host, polled every 10 ms.
    """
    environment = workspace.environment(
        kafka.bootstrap, url, broker__partitions=partitions, ingest__multibuffer=False
    )
    worker = Worker(environment, workspace.folder / "worker.log")
    try:
        worker.start()
        worker.wait_ready()
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(PROBERS + 1) as probers:
            load = probers.submit(_send_steadily, workspace, collector, kafka, rate, until)
            found = probers.map(
                lambda number: list(_probes(number, workspace, collector, kafka, url, worker, until)),
                range(PROBERS),
            )
            pairs = [pair for each in found for pair in each]
            sent = load.result() / seconds
        assert sent > 0.95 * rate, f"expected {rate} readings per second, found {sent:.0f}"
        to_sql, to_http = zip(*pairs, strict=True)
        return {"probes": len(pairs), **_percentiles("sql", to_sql), **_percentiles("http", to_http)}
    finally:
        worker.kill()


def answers(workers: list[Worker], done: Event) -> Figures:
    """Query a host repeatedly until ``done`` is set; returns the response times in milliseconds."""
    times = []
    with requests.Session() as session:
        while not done.is_set():
            for worker in workers:
                started = time.perf_counter()
                response = session.get(f"{worker.url}{PLUGIN}/host-00000?window=15m", timeout=10)
                times.append(1000 * (time.perf_counter() - started))
                assert response.status_code == 200, f"expected 200, found {response.status_code}"
            time.sleep(0.02)
    return {"answers": len(times), **_percentiles("http", times)}


def _percentiles(name: str, milliseconds: Sequence[float]) -> Figures:
    cuts = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return {f"{name}_p50": cuts[49], f"{name}_p99": cuts[98]}


def _send_steadily(
    workspace: Workspace, collector: Collector, kafka: KafkaBroker, rate: int, until: float
) -> int:
    producer = _producer(kafka)
    started, sent = time.monotonic(), 0
    for sent, record in enumerate(readings(collector, 10**9, 200, 16), start=1):
        producer.produce(workspace.topic, record)
        producer.poll(0)
        if (ahead := started + sent / rate - time.monotonic()) > 0:
            time.sleep(ahead)
        if time.monotonic() > until:
            break
    producer.flush(10)
    return sent


def _probes(
    number: int,
    workspace: Workspace,
    collector: Collector,
    kafka: KafkaBroker,
    url: str,
    worker: Worker,
    until: float,
) -> Iterator[tuple[float, float]]:
    producer, turn = _producer(kafka), 0
    query = text("SELECT 1 FROM temperature_readings WHERE hostname = :host")
    with create_engine(url).connect() as connection, requests.Session() as session:
        while time.monotonic() < until:
            turn += 1
            host = f"probe-{number}-{turn}"
            record = collector.record(host, "Temperature", "core/0", 40.0)
            to_sql = to_http = None
            started = time.perf_counter()
            producer.produce(workspace.topic, record)
            producer.poll(0)
            while to_sql is None or to_http is None:
                producer.poll(0)
                if to_sql is None:
                    if connection.execute(query, {"host": host}).first():
                        to_sql = 1000 * (time.perf_counter() - started)
                    connection.rollback()
                if to_http is None and session.get(f"{worker.url}{PLUGIN}/{host}?window=15m", timeout=10).ok:
                    to_http = 1000 * (time.perf_counter() - started)
                assert time.perf_counter() - started < 30, f"{host} was not counted within 30 s"
                time.sleep(POLL_SECONDS)
            yield to_sql, to_http


def _producer(kafka: KafkaBroker) -> Producer:
    return Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0})
