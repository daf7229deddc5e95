"""Any worker answers for any host: right, or 503."""

import http.client
import json
import math
import random
import socket
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from openapi_spec_validator import validate

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.produce import produce
from tests.support.worker import Worker, Workspace

HOSTILE = [
    "a/b",
    "..",
    ".",
    "хост",
    "😀",
    "a b+c",
    "%2F",
    "x" * 1000,
    "hosts",
    "a?b#c",
    '"{}"',
    "\u202e",
    "a;b",
    "\\",
]
Values = dict[str, dict[str, list[float]]]
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    """Made before a worker starts, which wants a key."""
    return Collector(workspace.certs)


def send(broker: Broker, topic: str, collector: Collector, hosts: list[str]) -> Values:
    """Send three readings of two metrics of every host; return what was sent, by host and metric."""
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


def ask(worker: Worker, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
    """A request whose path nothing normalises on its way."""
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        is_json = "json" in (response.getheader("Content-Type") or "")
        return response.status, dict(response.getheaders()), json.loads(body) if is_json and body else None
    finally:
        connection.close()


def as_typed(worker: Worker, request: str) -> bytes:
    """The answer to a request line that no client would send; a person's curl does."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as connection:
        connection.sendall(f"{request}\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def path_of(host: str, rest: str = "") -> str:
    # Dots too: a segment of two dots would be taken for the folder above.
    return f"/api/v1/plugins/Temperature/hosts/{quote(host, safe='').replace('.', '%2E')}{rest}"


def is_right(answer: Any, sent: dict[str, list[float]]) -> bool:
    """Whether a host's answer is what was sent, by a calculation of its own."""
    metrics = answer["metrics"]
    return set(metrics) == set(sent) and all(
        metrics[name]["count"] == len(values)
        and math.isclose(metrics[name]["average"], math.fsum(values) / len(values), rel_tol=1e-9)
        and (metrics[name]["minimum"], metrics[name]["maximum"]) == (min(values), max(values))
        and metrics[name]["last"] == values[-1]
        for name, values in sent.items()
    )


def stored(url: str) -> int:
    return count(url, "temperature_aggregates")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_worker_answers_for_every_host_and_never_wrongly_when_one_is_gone(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker, database_url: str
) -> None:
    hosts = [f"host-{number}" for number in range(30)] + HOSTILE
    first, second = start_worker(), start_worker()
    sent = send(broker, workspace.topic, collector, hosts)

    for worker in (first, second):
        for host in hosts:
            status, _, answer = eventually(
                lambda worker=worker, host=host: ask(worker, path_of(host)),
                lambda found, host=host: found[0] == 200 and is_right(found[2], sent[host]),
                90,
            )
            assert (answer["plugin"], answer["host"], answer["unit"]) == ("Temperature", host, "°C")
    answers = {worker: worker.get("/api/v1/plugins/Temperature?window=1h") for worker in (first, second)}
    for status, fleet in answers.values():
        assert status == 200
        assert fleet["hosts"] == len(hosts)
        for metric in ("core/0", "core/1"):
            values = [value for host in hosts for value in sent[host][metric]]
            assert fleet["metrics"][metric]["count"] == len(values)
            assert fleet["metrics"][metric]["average"] == pytest.approx(math.fsum(values) / len(values))
    assert sorted(hosts) == paged(first) == paged(second)

    second.kill()
    refused = set()

    def right_again(host: str) -> bool:
        status, headers, answer = ask(first, path_of(host))
        if status == 200:
            assert is_right(answer, sent[host]), (
                f"{host}: a wrong answer while a worker is gone: {answer}, sent {sent[host]}"
            )
            return True
        assert (status, answer["status"]) == (503, 503), answer
        assert int(headers["Retry-After"]) > 0
        refused.add(host)
        return False

    remaining = set(hosts)
    eventually(
        lambda: [remaining.discard(host) for host in list(remaining) if right_again(host)],
        lambda _: not remaining,
        90,
    )
    assert refused, "the killed worker held no host: the test proves nothing"


def paged(worker: Worker) -> list[str]:
    """All hosts, seven lines a page."""
    found: list[str] = []
    after = ""
    while True:
        status, page = worker.get(
            f"/api/v1/plugins/Temperature/hosts?limit=7&window=1h&after={quote(after, safe='')}"
        )
        assert status == 200
        found += [line["host"] for line in page["hosts"]]
        if page["next"] is None:
            return found
        after = page["next"]


@pytest.fixture
def asked(
    broker: Broker, workspace: Workspace, collector: Collector, database_url: str, start_worker: StartWorker
) -> tuple[Worker, Values]:
    """A worker that has stored readings of three hosts."""
    worker = start_worker()
    sent = send(broker, workspace.topic, collector, ["web-1", "web-2", "a/b"])
    eventually(
        lambda: ask(worker, path_of("a/b")), lambda found: found[0] == 200 and is_right(found[2], sent["a/b"])
    )
    eventually(lambda: stored(database_url), lambda found: found >= 6)
    return worker, sent


def test_history_comes_out_of_sql(asked: tuple[Worker, Values]) -> None:
    worker, sent = asked
    status, _, series = ask(worker, path_of("a/b", "/series?metric=core%2F0&step=1h"))
    assert status == 200
    assert list(series["series"]) == ["core/0"]
    points = series["series"]["core/0"]
    assert sum(point["count"] for point in points) == 3
    assert sum(point["average"] * point["count"] for point in points) == pytest.approx(
        sum(sent["a/b"]["core/0"])
    )

    found, after = [], ""
    while True:
        status, _, page = ask(worker, path_of("a/b", f"/readings?limit=2{after}"))
        assert status == 200
        assert len(page["readings"]) <= 2
        found += [(each["metric"], each["value"]) for each in page["readings"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert sorted(found) == sorted((name, value) for name, values in sent["a/b"].items() for value in values)
    assert {datetime.fromisoformat(each["observed_at"]).tzinfo for each in page["readings"]} == {UTC}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_wrong_questions_have_clear_answers(asked: tuple[Worker, Values]) -> None:
    worker, _ = asked
    for path, status, says in [
        ("/nowhere", 404, "GET /nowhere"),
        ("/api/v1/plugins/Fans", 404, "plugin 'Fans' is not installed; there are: PU_Workload, Temperature"),
        (path_of("nobody"), 404, "host 'nobody' has sent nothing for Temperature"),
        (path_of("a\0b"), 404, "has sent nothing"),
        (path_of("web-1", "?window=2h"), 400, "window: expected at most 3600 s, found 7200"),
        (path_of("web-1", "?widow=2h"), 400, "widow: expected a known parameter; the nearest is window"),
        (path_of("web-1", "/series?step=90s"), 400, "step: expected a multiple of 60 s, found 90"),
        (path_of("web-1", "/series?from=2001-01-01T00:00:00Z"), 400, "step: expected at most 10000 points"),
        (
            path_of("web-1", "/readings?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"),
            400,
            "from: expected a time",
        ),
        ("/table/Temperature-60s", 404, "/table"),
        ("/router", 404, "/router"),
    ]:
        found, headers, problem = ask(worker, path)
        assert found == status, path
        assert headers["Content-Type"].startswith("application/problem+json")
        assert problem["status"] == status
        assert says in problem["detail"]
    found, headers, _ = ask(worker, "/api/v1/plugins", method="DELETE")
    assert (found, headers["Allow"]) == (405, "GET,HEAD")
    assert ask(worker, "/api/v1/plugins", Host="evil.example.org")[0] == 403
    for request in (f"GET {path_of('web-1')}?window=… HTTP/1.1", "GET /°C HTTP/1.1", "nonsense"):
        head, _, body = as_typed(worker, request).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 400 "), head
        assert b"Content-Type: application/problem+json" in head
        problem = json.loads(body)
        assert problem["status"] == 400
        assert "percent-encoded" in problem["detail"]
        assert "\n" not in problem["detail"]
    log = worker.process.log.read_text()
    assert "Traceback" not in log
    assert "Error handling request" not in log


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_worker_describes_itself(asked: tuple[Worker, Values]) -> None:
    """Metrics, and an OpenAPI document against which schemathesis finds nothing."""
    worker, sent = asked
    text = requests.get(f"{worker.url}/metrics", timeout=10).text
    readings = sum(len(values) for metrics in sent.values() for values in metrics.values())
    assert f'sparkle_readings_total{{plugin="Temperature"}} {readings}.0' in text
    assert "faust_messages_received_total" in text

    _, document = worker.get("/api/v1/openapi.json")
    validate(document)
    assert set(document["paths"]) == {
        "/api/v1/plugins",
        "/api/v1/plugins/{plugin}",
        "/api/v1/plugins/{plugin}/hosts",
        "/api/v1/plugins/{plugin}/hosts/{host}",
        "/api/v1/plugins/{plugin}/hosts/{host}/series",
        "/api/v1/plugins/{plugin}/hosts/{host}/readings",
        "/health/live",
        "/health/ready",
    }
    explored = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
            *(
                "run",
                f"{worker.url}/api/v1/openapi.json",
                "--checks",
                "all",
                "--max-examples",
                "40",
                "--no-color",
            ),
            *("--seed", "1", "--request-timeout", "10", "--suppress-health-check", "all"),
        ],
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )
    assert explored.returncode == 0, explored.stdout[-6000:] + explored.stderr[-2000:]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("collector")
def test_beyond_localhost_a_token_is_required(start_worker: StartWorker) -> None:
    refused = start_worker(ready=False, web__host="0.0.0.0")
    eventually(lambda: refused.process.running, lambda running: not running)
    assert refused.process.exit_code == 1
    assert "web.token: expected a token, since web.host is 0.0.0.0" in refused.process.tail()

    worker = start_worker(web__host="0.0.0.0", web__token="hush")
    assert ask(worker, "/health/live")[0] == 200
    for path in (
        "/api/v1/plugins",
        "/api/v1/openapi.json",
        "/metrics",
        "/health/ready",
        "/internal/v1/windows",
        "/x",
    ):
        status, headers, _ = ask(worker, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert ask(worker, path, Authorization="Bearer wrong")[0] == 401
        assert ask(worker, path, Authorization=b"Bearer \xff")[0] == 401
        assert ask(worker, path, Authorization="Bearer hush")[0] != 401
    assert "hush" not in worker.process.tail()
