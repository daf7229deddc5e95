"""Every worker serves every host: the result is exact, or the status is 503."""

import math
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.web import is_correct, path_of, request, send
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


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    """Created before any worker starts: a worker needs a private key."""
    return Collector(workspace.certs)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_worker_serves_every_host_and_no_result_is_wrong_after_a_worker_was_killed(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker, database_url: str
) -> None:
    hosts = [f"host-{number}" for number in range(30)] + HOSTILE
    first, second = start_worker(), start_worker()
    sent = send(broker, workspace.topic, collector, hosts)

    for worker in (first, second):
        for host in hosts:
            body = correct_body(worker, host, sent[host])
            assert (body["plugin"], body["host"], body["unit"]) == ("Temperature", host, "°C")
    responses = {worker: worker.get("/api/v1/plugins/Temperature?window=1h") for worker in (first, second)}
    for status, fleet in responses.values():
        assert status == 200
        assert fleet["hosts"] == len(hosts)
        for metric in ("core/0", "core/1"):
            values = [value for host in hosts for value in sent[host][metric]]
            assert fleet["metrics"][metric]["count"] == len(values)
            assert fleet["metrics"][metric]["average"] == pytest.approx(math.fsum(values) / len(values))
    assert sorted(hosts) == paged(first) == paged(second)

    second.kill()
    unavailable: set[str] = set()

    def served_again(host: str) -> bool:
        status, headers, body = request(first, path_of(host))
        if status == 200:
            assert is_correct(body, sent[host]), (
                f"{host}: a wrong result after a worker was killed: {body}, sent {sent[host]}"
            )
            return True
        assert (status, body["status"]) == (503, 503), body
        assert int(headers["Retry-After"]) > 0
        unavailable.add(host)
        return False

    remaining = set(hosts)

    def not_served() -> set[str]:
        remaining.difference_update([host for host in remaining if served_again(host)])
        return remaining

    eventually(not_served, lambda hosts: not hosts, 90)
    assert unavailable, "the killed worker owned no host: the test proves nothing"


def correct_body(worker: Worker, host: str, sent: dict[str, list[float]]) -> Any:
    """A worker's response for a host, once it matches what was sent."""
    _, _, body = eventually(
        lambda: request(worker, path_of(host)),
        lambda found: found[0] == 200 and is_correct(found[2], sent),
        90,
    )
    return body


def paged(worker: Worker) -> list[str]:
    """All hosts, in pages of seven."""
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
