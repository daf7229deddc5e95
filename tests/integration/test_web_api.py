"""The HTTP API of one worker: history, errors, OpenAPI document and authentication."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from openapi_spec_validator import validate

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.postgres import PostgresServer
from tests.support.web import Values, is_correct, path_of, request, send
from tests.support.worker import Worker, Workspace, run_command

pytestmark = pytest.mark.any_broker

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    """Created before any worker starts: a worker needs a private key."""
    return Collector(workspace.certs)


def response_to(worker: Worker, request_line: str) -> bytes:
    """The response to a request line that client libraries would not send, but curl does."""
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as connection:
        connection.sendall(f"{request_line}\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def stored(url: str) -> int:
    return count(url, "temperature_aggregates")


@dataclass(frozen=True)
class Served:
    """A worker that has stored readings of three hosts."""

    worker: Worker
    sent: Values
    topic: str
    """The plugin topic."""
    environment: dict[str, str]
    """Of the worker, for commands."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(
    request: pytest.FixtureRequest, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """One for all tests that only read."""
    workspace = Workspace(tmp_path_factory.mktemp("served"))
    url = f"sqlite:///{workspace.folder / 'readings.sqlite3'}"
    if request.param != "sqlite":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        url = postgres.create_database(workspace.app_id)
    collector = Collector(workspace.certs)
    environment = workspace.environment(broker.bootstrap, url)
    worker = Worker(environment, workspace.folder / "worker-1.log")
    try:
        worker.start()
        worker.wait_ready()
        sent = send(broker, workspace.topic, collector, ["web-1", "web-2", "a/b"])
        eventually(
            lambda: worker.get(path_of("a/b")),
            lambda found: found[0] == 200 and is_correct(found[1], sent["a/b"]),
        )
        eventually(lambda: stored(url), lambda found: found >= 6)
        yield Served(worker, sent, workspace.topic, environment)
    finally:
        worker.close()


def test_series_and_readings_come_from_sql(served: Served) -> None:
    worker, sent = served.worker, served.sent
    status, _, series = request(worker, path_of("a/b", "/series?metric=core%2F0&step=1h"))
    assert status == 200
    assert list(series["series"]) == ["core/0"]
    points = series["series"]["core/0"]
    assert sum(point["count"] for point in points) == 3
    assert sum(point["average"] * point["count"] for point in points) == pytest.approx(
        sum(sent["a/b"]["core/0"])
    )

    found, after = [], ""
    while True:
        status, _, page = request(worker, path_of("a/b", f"/readings?limit=2{after}"))
        assert status == 200
        assert len(page["readings"]) <= 2
        found += [(each["metric"], each["value"]) for each in page["readings"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    path = path_of("a/b", "/readings?metric=core%2F0&metric=none")
    _, _, chosen = request(worker, path)
    assert [each["value"] for each in chosen["readings"]] == sent["a/b"]["core/0"]
    _, _, both = request(worker, f"{path}&metric=core%2F1")
    assert len(both["readings"]) == len(found)
    assert sorted(found) == sorted((name, value) for name, values in sent["a/b"].items() for value in values)
    assert {datetime.fromisoformat(each["observed_at"]).tzinfo for each in page["readings"]} == {UTC}


def test_readings_as_csv_are_what_export_writes(served: Served) -> None:
    response = requests.get(
        served.worker.url + path_of("a/b", "/readings?limit=1000"), headers={"Accept": "text/csv"}, timeout=10
    )
    assert (response.status_code, response.headers["Content-Type"][:8]) == (200, "text/csv")
    exported = run_command(served.environment, "export", "Temperature", "--host", "a/b").stdout.splitlines()
    assert response.text.splitlines() == exported
    assert len(exported) == 7


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
def test_a_worker_shows_its_hosts_and_its_pipeline(served: Served) -> None:
    worker, sent = served.worker, served.sent
    _, _, overview = eventually(
        lambda: request(worker, "/api/v1/overview?sort=-Temperature"),
        lambda found: found[0] == 200 and {each["host"] for each in found[2]["hosts"]} == set(sent),
    )
    assert (overview["outdated"], overview["problem"]) == ([], None)
    for each in overview["hosts"]:
        assert request(worker, f"/api/v1/hosts/{quote(each['host'], safe='')}")[2].items() >= each.items()
    status, _, problem = request(worker, "/api/v1/hosts/nobody")
    assert (status, problem["detail"]) == (404, "host: expected one that has sent readings, found 'nobody'")
    _, _, pipeline = eventually(
        lambda: request(worker, "/api/v1/pipeline"),
        lambda found: {each["lag"] for each in found[2]["workers"][0]["topics"]} <= {0, None},
    )
    (state,) = pipeline["workers"]
    assert (pipeline["unreachable"], pipeline["unowned"], state["consuming"]) == ([], {}, True)
    roles = {each["topic"]: each["role"] for each in state["topics"]}
    assert roles[served.topic] == "ingest"
    assert sorted(roles.values()) == ["aggregate", "aggregate", "ingest"]
    assert 0 <= state["row_delay_seconds"]["Temperature"] < 60
    assert 0 <= state["answer_delay_seconds"]["Temperature"] < 60
    assert state["stage_totals"]["store"]["batches"] >= 1
    text = requests.get(f"{worker.url}/metrics/hosts", timeout=10).text
    assert 'sparkle_temperature_celsius{host="a/b",metric="core/0"} ' in text


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
def test_invalid_requests_get_a_problem_document(served: Served) -> None:
    worker = served.worker
    for path, status, detail in [
        ("/nowhere", 404, "GET /nowhere"),
        (
            "/api/v1/plugins/Fans",
            404,
            "plugin 'Fans' is not installed; installed plugins: PU_Workload, Temperature",
        ),
        (path_of("nobody"), 404, "no aggregates of Temperature from host 'nobody' in the last 3600 s"),
        (path_of("a\0b"), 404, "no aggregates of Temperature from host 'a\\x00b'"),
        (path_of("web-1", "?window=2h"), 400, "window: expected at most 3600 s, found 7200"),
        (path_of("web-1", "?widow=2h"), 400, "widow: expected a known parameter; did you mean window?"),
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
        found, headers, problem = request(worker, path)
        assert found == status, path
        assert headers["Content-Type"].startswith("application/problem+json")
        assert problem["status"] == status
        assert detail in problem["detail"]
        assert problem.get("limit") == ("points" if "points" in detail else None)
    found, headers, _ = request(worker, "/api/v1/plugins", method="DELETE")
    assert (found, headers["Allow"]) == (405, "GET,HEAD")
    assert request(worker, "/api/v1/plugins", Host="evil.example.org")[0] == 403
    for request_line in (f"GET {path_of('web-1')}?window=… HTTP/1.1", "GET /°C HTTP/1.1", "nonsense"):
        head, _, body = response_to(worker, request_line).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 400 "), head
        assert b"Content-Type: application/problem+json" in head
        problem = json.loads(body)
        assert problem["status"] == 400
        assert "percent-encoded" in problem["detail"]
        assert "\n" not in problem["detail"]
    log = worker.process.log.read_text()
    assert "Traceback" not in log
    assert "Error handling request" not in log


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
def test_the_worker_serves_prometheus_metrics_and_a_valid_openapi_document(served: Served) -> None:
    """Schemathesis finds no deviation from the OpenAPI document."""
    worker, sent = served.worker, served.sent
    text = requests.get(f"{worker.url}/metrics", timeout=10).text
    readings = sum(len(values) for metrics in sent.values() for values in metrics.values())
    assert f'sparkle_readings_total{{plugin="Temperature"}} {readings}.0' in text
    assert "faust_messages_received_total" in text

    _, document = worker.get("/api/v1/openapi.json")
    validate(document)
    assert set(document["paths"]) == {
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/replay",
        "/api/v1/dead-letters/{key}",
        "/api/v1/hosts",
        "/api/v1/hosts/{host}",
        "/api/v1/pipeline",
        "/api/v1/overview",
        "/api/v1/plugins",
        "/api/v1/plugins/{plugin}",
        "/api/v1/plugins/{plugin}/cells",
        "/api/v1/plugins/{plugin}/headlines",
        "/api/v1/plugins/{plugin}/hosts",
        "/api/v1/plugins/{plugin}/hosts/{host}",
        "/api/v1/plugins/{plugin}/hosts/{host}/columns",
        "/api/v1/plugins/{plugin}/hosts/{host}/completeness",
        "/api/v1/plugins/{plugin}/hosts/{host}/recount",
        "/api/v1/plugins/{plugin}/hosts/{host}/series",
        "/api/v1/plugins/{plugin}/hosts/{host}/readings",
        "/api/v1/session",
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
def test_a_token_is_required_beyond_localhost(start_worker: StartWorker) -> None:
    rejected = start_worker(ready=False, web__host="0.0.0.0")
    assert "web.token: expected a token, since web.host is 0.0.0.0" in rejected.wait_failure()

    worker = start_worker(web__host="0.0.0.0", web__token="hush")
    assert request(worker, "/health/live")[0] == 200
    status, _, ready = request(worker, "/health/ready", Host="balancer.example")
    assert (status, ready) == (200, {"ready": True})
    for path in (
        "/api/v1/overview",
        "/api/v1/plugins",
        "/api/v1/openapi.json",
        "/metrics",
        "/internal/v1/windows",
        "/x",
    ):
        status, headers, _ = request(worker, path)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert request(worker, path, Authorization="Bearer wrong")[0] == 401
        assert request(worker, path, Authorization="Bearer hush")[0] != 401
    assert request(worker, "/x", Authorization=b"Bearer \xff")[0] == 401
    assert "hush" not in worker.process.tail()
