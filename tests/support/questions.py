"""Produces readings, and queries them over HTTP."""

import http.client
import json
import math
import random
from collections import defaultdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.produce import produce
from tests.support.worker import Worker

Values = dict[str, dict[str, list[float]]]
"""Values by host and metric."""


def send(broker: Broker, topic: str, collector: Collector, hosts: list[str]) -> Values:
    """Produce three readings of two metrics of every host; returns the values by host and metric."""
    rng = random.Random(len(hosts))
    sent: Values = defaultdict(lambda: defaultdict(list))
    records = []
    for _ in range(3):
        for host in hosts:
            for metric in ("core/0", "core/1"):
                value = round(rng.uniform(20, 90), 2)
                sent[host][metric].append(value)
                records.append(collector.record(host, "Temperature", metric, value, datetime.now()))
    produce(broker.bootstrap, topic, records)
    return sent


def ask(worker: Worker, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
    """Send a request without normalization of its path; returns status, headers and decoded JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        is_json = "json" in (response.getheader("Content-Type") or "")
        return response.status, dict(response.getheaders()), json.loads(body) if is_json and body else None
    finally:
        connection.close()


def path_of(host: str, rest: str = "") -> str:
    """The URL path of a host."""
    # Dots are encoded as well: a segment of two dots would refer to the parent.
    return f"/api/v1/plugins/Temperature/hosts/{quote(host, safe='').replace('.', '%2E')}{rest}"


def is_right(answer: Any, sent: dict[str, list[float]]) -> bool:
    """Whether the statistics of a host equal those that are calculated here from the values."""
    metrics = answer["metrics"]
    return set(metrics) == set(sent) and all(
        metrics[name]["count"] == len(values)
        and math.isclose(metrics[name]["average"], math.fsum(values) / len(values), rel_tol=1e-9)
        and (metrics[name]["minimum"], metrics[name]["maximum"]) == (min(values), max(values))
        and metrics[name]["last"] == values[-1]
        for name, values in sent.items()
    )
