"""Produces readings, and compares them with a worker's HTTP responses."""

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
"""By host and metric."""


def send(broker: Broker, topic: str, collector: Collector, hosts: list[str]) -> Values:
    """Produce three readings of two metrics of every host; return their values by host and metric."""
    chance = random.Random(len(hosts))
    sent: Values = defaultdict(lambda: defaultdict(list))
    records = []
    for _ in range(3):
        for host in hosts:
            for metric in ("core/0", "core/1"):
                value = round(chance.uniform(20, 90), 2)
                sent[host][metric].append(value)
                records.append(collector.record(host, "Temperature", metric, value, datetime.now()))
    produce(broker.bootstrap, topic, records)
    return sent


def request(
    worker: Worker, path: str, method: str = "GET", **headers: str | bytes
) -> tuple[int, dict[str, str], Any]:
    """Send a request whose path no client library normalizes; return status, headers and JSON body."""
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
    """The path of a host's resource."""
    # Dots too: the path segment ".." would mean the parent.
    return f"/api/v1/plugins/Temperature/hosts/{quote(host, safe='').replace('.', '%2E')}{rest}"


def is_correct(response: Any, sent: dict[str, list[float]]) -> bool:
    """Whether a host's statistics are those of the values sent, calculated independently."""
    metrics = response["metrics"]
    return set(metrics) == set(sent) and all(
        metrics[name]["count"] == len(values)
        and math.isclose(metrics[name]["average"], math.fsum(values) / len(values), rel_tol=1e-9)
        and (metrics[name]["minimum"], metrics[name]["maximum"]) == (min(values), max(values))
        and metrics[name]["last"] == values[-1]
        for name, values in sent.items()
    )
