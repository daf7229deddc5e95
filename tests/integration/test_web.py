"""Any worker answers for any host: right, or 503."""

import math
from urllib.parse import quote

import pytest

from tests.integration.conftest import StartWorker
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.questions import ask, is_right, path_of, send
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
    """Made before a worker starts, which wants a key."""
    return Collector(workspace.certs)


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
