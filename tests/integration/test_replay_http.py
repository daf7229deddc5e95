"""Replay of dead letters over HTTP: one at a time, with its progress from any worker, and exact."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import requests

from sparkle_app.model.errors import InvalidRecordError, Reason
from tests.integration.conftest import StartWorker
from tests.integration.test_dead_letter_commands import produce_dead_letters
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count
from tests.support.eventually import eventually
from tests.support.produce import create_topic, produce
from tests.support.worker import Worker, Workspace, run_command

# The embedded broker does not report the end offsets of a topic.
pytestmark = [pytest.mark.kafka, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
PATH = "/api/v1/dead-letters/replay"
OPERATOR = {"Authorization": "Bearer operate"}
NUMBER = 1200


@pytest.fixture
def collector(workspace: Workspace) -> Collector:
    return Collector(workspace.certs)


def replay(worker: Worker, query: str) -> requests.Response:
    return requests.post(f"{worker.url}{PATH}?{query}", headers=OPERATOR, timeout=20)


def finished(worker: Worker) -> dict[str, object]:
    """The state of the replay, from any worker, once it has ended."""
    found = eventually(
        lambda: requests.get(worker.url + PATH, headers=OPERATOR, timeout=20).json(),
        lambda found: found.get("state") in ("finished", "failed"),
        60,
    )
    return dict(found)


def test_dead_letters_become_readings_once(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker, database_url: str
) -> None:
    create_topic(broker.bootstrap, workspace.topic, 4)
    unknown = InvalidRecordError(Reason.UNKNOWN_PLUGIN, "no such plugin")
    produce_dead_letters(
        broker,
        workspace,
        *(
            (number, collector.record(f"host-{number % 7}", "Temperature", f"core/{number}", 40.0), unknown)
            for number in range(NUMBER)
        ),
        (NUMBER, b"junk", InvalidRecordError(Reason.NOT_JSON, "expected an object")),
    )
    workers = [start_worker(web__token="read", web__operator_token="operate") for _ in range(2)]
    first, second = workers
    none = requests.get(second.url + PATH, headers=OPERATOR, timeout=20)
    assert (none.status_code, none.json()["state"]) == (200, "none")
    for query, detail in (
        ("", "all: expected either all=true or filters, found neither"),
        ("all=true&host=a", "all: expected either all=true or filters, found both"),
        ("all=yes", "all: expected true, found 'yes'"),
        ("reason=unknown", "reason: expected"),
        ("hosts=a", "hosts: expected a known parameter; did you mean host?"),
    ):
        refused = replay(first, query)
        assert (refused.status_code, refused.json()["detail"][: len(detail)]) == (400, detail)
    assert none.json() == requests.get(first.url + PATH, headers=OPERATOR, timeout=20).json()

    started = replay(first, "reason=unknown_plugin&since=2023-11-14&config=1")
    assert started.status_code == 202
    state = started.json()
    assert state["filters"] == {"reason": "unknown_plugin", "config": "1", "since": "2023-11-14T00:00:00Z"}
    # Whoever asks, and whichever worker: there is one replay.
    again = [replay(worker, "all=true").status_code for worker in workers]
    done = finished(second)
    assert (done["state"], done["worker"], done["problem"]) == ("finished", first.url, None)
    assert (done["replayable"], done["replayed"], done["sent"]) == (NUMBER, NUMBER, NUMBER)
    if again == [409, 409]:
        assert done["started_at"] == state["started_at"]
    table = "temperature_readings"
    eventually(lambda: count(database_url, table), lambda found: found == NUMBER, 90)

    # Another one stores nothing twice, also if it is repeated by the command.
    environment = workspace.environment(broker.bootstrap, database_url)
    assert replay(second, "all=true").status_code == 202
    assert finished(first)["state"] == "finished"
    assert run_command(environment, "replay", "--all").returncode == 0
    eventually(
        lambda: run_command(environment, "dead-letters", "--json").stdout,
        lambda found: '"letters":1,' in found,
    )
    assert count(database_url, table) == NUMBER
    verified = run_command(environment, "verify", "--since", "2023-11-01")
    assert verified.returncode == 0, verified.stdout


def test_a_replay_of_records_without_a_key_does_not_open_the_circuit_breaker(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker, database_url: str
) -> None:
    create_topic(broker.bootstrap, workspace.topic, 4)
    unknown = InvalidRecordError(Reason.UNKNOWN_CONFIG, "no private key")
    (workspace.folder / "elsewhere").mkdir()
    lost = Collector(workspace.folder / "elsewhere", 99)
    produce_dead_letters(
        broker,
        workspace,
        *(
            (number, lost.record("a", "Temperature", f"core/{number}", 40.0), unknown)
            for number in range(600)
        ),
    )
    worker = start_worker(dead_letters__hold_undecryptable=250)
    assert requests.post(f"{worker.url}{PATH}?config=99", timeout=20).status_code == 202
    done = finished(worker)
    assert (done["state"], done["replayed"]) == ("finished", 600)
    environment = workspace.environment(broker.bootstrap, database_url)

    def state() -> Any:
        return worker.get("/api/v1/pipeline")[1]["workers"][0]

    # All were processed again, and remain one dead letter each; none is held back.
    eventually(state, lambda found: found["dead_letters"].get("unknown_config") == 600)
    assert state()["held_back"] == 0
    assert worker.get("/health/ready")[1]["checks"]["private keys"] == "ok"
    assert '"letters":600,' in run_command(environment, "dead-letters", "--json").stdout
    produce(broker.bootstrap, workspace.topic, [collector.record("new", "Temperature", "core/0", 40.0)])
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)


def test_a_worker_that_stops_during_a_replay_exits_and_the_replay_can_be_repeated(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker
) -> None:
    create_topic(broker.bootstrap, workspace.topic, 4)
    invalid = InvalidRecordError(Reason.NOT_JSON, "expected an object")
    produce_dead_letters(
        broker, workspace, *((number, b"junk %d" % number, invalid) for number in range(5000))
    )
    first = start_worker()
    assert requests.post(f"{first.url}{PATH}?all=true", timeout=20).json()["state"] == "running"
    assert first.terminate() == 0
    second = start_worker()
    assert requests.get(second.url + PATH, timeout=20).json()["state"] == "none"
    assert requests.post(f"{second.url}{PATH}?reason=not_json", timeout=20).status_code == 202
    done = finished(second)
    assert (done["state"], done["replayable"], done["sent"]) == ("finished", 5000, 5000)


def test_what_the_list_shows_of_a_sender_selects_the_same_for_replays_and_commands(
    broker: Broker, workspace: Workspace, collector: Collector, start_worker: StartWorker, database_url: str
) -> None:
    create_topic(broker.bootstrap, workspace.topic, 1)
    long = 70 * "x"
    senders: list[dict[str, object]] = [
        {"config_id": 1},
        {"config_id": 1, "hostname": ""},
        {"config_id": 1, "hostname": long + "1"},
        {"config_id": 1, "hostname": long + "2"},
        {"config_id": 1, "hostname": "a\x1b[2J"},
        {"config_id": "7", "hostname": "web-1"},
        {"config_id": 7, "hostname": "web-1"},
        {"config_id": 2**31 - 1, "hostname": "web-1"},
    ]
    values = [b"junk", *(json.dumps(each).encode() for each in senders)]
    invalid = InvalidRecordError(Reason.BAD_FIELD, "expected a payload")
    produce_dead_letters(
        broker, workspace, *((number, value, invalid) for number, value in enumerate(values))
    )
    worker = start_worker(web__token="read", web__operator_token="operate", dead_letters__per_cause=1000)
    environment = workspace.environment(broker.bootstrap, database_url)
    for field, value, number in (
        ("host", "-", 3),
        ("host", long[:60], 2),
        ("host", long + "2", 1),
        ("host", r"a\x1b[2J", 1),
        ("host", "web-1", 3),
        ("config", "-", 1),
        ("config", "7", 2),
        ("config", str(2**31 - 1), 1),
    ):
        query = f"{field}={quote(value)}"
        listed = requests.get(
            f"{worker.url}/api/v1/dead-letters?{query}", headers=OPERATOR, timeout=20
        ).json()
        assert replay(worker, query).status_code == 202, query
        done = finished(worker)
        selected = ["replay", "--dry-run", "--json", f"--{field}", value]
        counted = json.loads(run_command(environment, *selected).stdout)["letters"]
        found = (listed["total"], done["replayable"], done["replayed"], counted)
        assert found == (number,) * 4, query
    discarded = run_command(environment, "dead-letters", "--discard", "--host", "-", "--yes", "--json")
    assert json.loads(discarded.stdout)["discarded"] == 3
