"""Dead letters: listing, replay, and the circuit breaker."""

import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.integration.conftest import StartWorker
from tests.integration.test_commits import committed
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.database import count, query
from tests.support.eventually import eventually
from tests.support.produce import Record, consume_all, create_topic, place_of, produce
from tests.support.worker import Workspace, read_one_line, run_command

# The embedded broker reports neither offsets by timestamp nor the end offsets of a topic.
pytestmark = pytest.mark.kafka
ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def dead_letters(broker: Broker, workspace: Workspace) -> dict[bytes, Record]:
    """The current dead letters by key: neither replaced by a later one nor deleted by a tombstone."""
    found = {
        record.key: record for record in consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters")
    }
    return {key: record for key, record in found.items() if key and record.value is not None}


@ONLY_SQLITE
def test_replay_stores_dead_letters_after_the_private_key_is_restored(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    present = Collector(workspace.certs, 1)
    missing = Collector(tmp_path / "elsewhere", 7)
    # A topic with CreateTime, which keeps the collectors' timestamps.
    create_topic(broker.bootstrap, workspace.topic, 4)
    start_worker()
    # Hours ago: a replayed record must keep its original timestamp.
    when = int((time.time() - 5 * 3600) * 1000)
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(when / 1000))
    records = [missing.record(f"host-{n % 3}", "Temperature", "k", 20.0 + n) for n in range(60)]
    records = [json.dumps({**json.loads(record), "datetime": local}).encode() for record in records]
    produce(broker.bootstrap, workspace.topic, records, timestamps=[when] * 60)
    bad = [b"junk", *(present.record("host-9", "Temperature", "k", "hot") for _ in range(4))]
    produce(broker.bootstrap, workspace.topic, bad)
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 65)
    environment = workspace.environment(broker.bootstrap, database_url)

    listed = run_command(environment, "dead-letters", "--json")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) == {
        "topic": f"{workspace.app_id}-dead-letters",
        "letters": 65,
        "reason": {"unknown_config": 60, "invalid_value": 4, "not_json": 1},
        "config": {"7": 60, "1": 4, "-": 1},
        "host": {"host-0": 20, "host-1": 20, "host-2": 20, "host-9": 4, "-": 1},
    }
    text = run_command(environment, "dead-letters", "--config", "7", "--host", "host-1").stdout
    assert text.startswith(f"20 dead letters in {workspace.app_id}-dead-letters\n")
    lines = run_command(environment, "dead-letters", "--list", "--reason", "not_json").stdout.splitlines()
    assert len(lines) == 1
    place = lines[0].split()[0]
    shown = run_command(environment, "dead-letters", "--show", place).stdout
    assert "reason     not_json" in shown
    assert "record     junk" in shown

    counted = run_command(environment, "replay", "--config", "7", "--dry-run", "--json")
    assert json.loads(counted.stdout) == {"letters": 60, "without_record": 0, "expired": 0, "sent": 0}

    # Before the cause is repaired, a replay changes nothing.
    before = dead_letters(broker, workspace)
    again = run_command(environment, "replay", "--config", "7")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("60 dead letters replayed; ")
    assert again.stderr == ""
    eventually(lambda: handled(broker, workspace), lambda found: found >= 65 + 60)
    assert dead_letters(broker, workspace).keys() == before.keys()
    assert count(database_url, "temperature_readings") == 0

    shutil.copy(tmp_path / "elsewhere" / "rsa_key_7", workspace.certs)
    sent = run_command(environment, "replay", "--reason", "unknown_config", "--json")
    assert json.loads(sent.stdout) == {"letters": 60, "without_record": 0, "expired": 0, "sent": 60}
    assert run_command(environment, "replay", "--reason", "unknown_config").returncode == 0
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 5)
    rows = query(database_url, "SELECT * FROM temperature_readings")
    assert Counter(row["value"] for row in rows) == Counter(20.0 + n for n in range(60))
    # Position and timestamp are those of the original records, not of the replayed ones.
    assert {row["received_at"] for row in rows} == {rows[0]["received_at"]}
    assert {bool(row["clock_trusted"]) for row in rows} == {True}
    assert {f"{workspace.topic}/{row['partition']}/{row['offset']}" for row in rows} == {
        place_of(key)
        for key, letter in before.items()
        if dict(letter.headers)["sparkle-reason"] == b"unknown_config"
    }
    total = 'SELECT sum("count") AS n FROM temperature_aggregates'
    eventually(lambda: query(database_url, total)[0]["n"], lambda n: n == 60)
    assert run_command(environment, "replay").returncode == 2


@ONLY_SQLITE
def test_dead_letters_are_listed_in_order_of_their_timestamps(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    Collector(workspace.certs)
    # A topic with CreateTime, which keeps the collectors' timestamps.
    create_topic(broker.bootstrap, workspace.topic, 4)
    start_worker()
    records = [json.dumps({"config_id": n % 3, "hostname": f"host-{n % 6}"}).encode() for n in range(24)]
    times = [1_700_000_000_000 + second * 1000 for second in (5, 3, 1, 3, 2, 4)]
    for partition in range(4):
        produce(broker.bootstrap, workspace.topic, records[partition::4], times, partition=partition)
    produce(broker.bootstrap, workspace.topic, [b"junk"], [1_700_000_009_000], partition=0)
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 25)
    environment = workspace.environment(broker.bootstrap, database_url)

    in_order = sorted((time, partition, at) for at, time in enumerate(times) for partition in range(4))
    places = [f"{workspace.topic}/{partition}/{at}@{time}" for time, partition, at in in_order]
    lines = run_command(environment, "dead-letters", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [*places, f"{workspace.topic}/0/6@1700000009000"]
    counts = run_command(environment, "dead-letters").stdout.splitlines()
    hosts = [line.split()[1] for line in counts if line.startswith("  host ")]
    assert hosts == [f"host-{n}" for n in range(6)] + ["-"]
    shown = run_command(environment, "dead-letters", "--show", f"{workspace.topic}/0/6").stdout
    assert "config     -\n" in shown
    assert "host       -\n" in shown
    wrong = run_command(environment, "dead-letters", "--show", "foo")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--show: expected TOPIC/PARTITION/OFFSET, found 'foo'; --list shows the keys" in wrong.stderr


def handled(broker: Broker, workspace: Workspace) -> int:
    """The number of messages in the dead-letter topic, including replaced ones and tombstones."""
    return len(consume_all(broker.bootstrap, f"{workspace.app_id}-dead-letters"))


@ONLY_SQLITE
def test_a_closed_pipe_is_not_reported_as_a_broker_error(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    Collector(workspace.certs)
    start_worker(dead_letters__per_cause=10_000)
    # More output than a pipe buffers.
    produce(broker.bootstrap, workspace.topic, [b"junk"] * 2000)
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 2000)
    environment = workspace.environment(broker.bootstrap, database_url)
    done = read_one_line(environment, "dead-letters", "--list")
    assert done.stdout.startswith(f"{workspace.topic}/")
    assert (done.returncode, done.stderr) == (0, "")


@ONLY_SQLITE
def test_a_forged_replay_token_is_ignored(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    start_worker()
    ((partition, offset),) = produce(broker.bootstrap, workspace.topic, [b"junk"])
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 1)
    record = collector.record("host-1", "Temperature", "k", 20.0)
    forged = json.dumps([workspace.topic, partition, offset, 0]).encode()
    produce(broker.bootstrap, workspace.topic, [record], headers=[("sparkle-replay", forged)])
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 1)
    assert [*map(place_of, dead_letters(broker, workspace))] == [f"{workspace.topic}/{partition}/{offset}"]


@ONLY_SQLITE
def test_records_that_no_key_decrypts_are_held_back_until_the_key_is_corrected(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    wrong = Collector(tmp_path / "elsewhere")
    right = Collector(workspace.certs)
    assert right.config_id == wrong.config_id
    other = Collector(workspace.certs, config_id=2)
    worker = start_worker(dead_letters__hold_undecryptable=100)
    # A few become dead letters.
    some = [wrong.record("host-new", "Temperature", "k", 20.0) for _ in range(20)]
    produce(broker.bootstrap, workspace.topic, some)
    eventually(lambda: len(dead_letters(broker, workspace)), lambda found: found == 20)
    records = [wrong.record(f"host-{n}", "Temperature", "k", 20.0) for n in range(2000)]
    produce(broker.bootstrap, workspace.topic, records)
    _, health = eventually(lambda: worker.get("/health/ready"), lambda found: found[0] == 503)
    assert (
        health["checks"]["private keys"]
        == f"no private key decrypts the records of config 1 ({workspace.certs.name}/rsa_key_1 does not decrypt the"
        " payload); they are held back"
    )
    # Records of another config are stored.
    produce(
        broker.bootstrap,
        workspace.topic,
        [other.record(f"host-{n}", "Temperature", "k", 2.0) for n in range(50)],
    )
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 50)
    assert worker.process.running
    # Each worker writes fewer than the limit, before it is reached.
    assert handled(broker, workspace) < 20 + 100
    # So it is after a restart: nothing was committed.
    assert worker.terminate() == 0
    worker = start_worker(ready=False, dead_letters__hold_undecryptable=100)
    eventually(lambda: "they are held back while Kafka retains them" in worker.process.tail(), bool)
    assert handled(broker, workspace) < 20 + 200
    log = worker.process.log.read_text()
    assert log.rfind("ready; serving HTTP") < log.rfind("they are held back while Kafka retains them")
    # Without another restart, the right key turns all of them into rows.
    written = len(dead_letters(broker, workspace)) - 20
    shutil.copy(tmp_path / "elsewhere" / "rsa_key_1", workspace.certs)
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found >= 2050 - written)
    eventually(lambda: worker.get("/health/ready")[0], lambda status: status == 200)
    offsets = eventually(lambda: committed(broker, workspace), lambda found: sum(found.values()) == 2070)
    assert sum(offsets.values()) == 2070
    environment = workspace.environment(broker.bootstrap, database_url)
    assert run_command(environment, "replay", "--all").returncode == 0
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 2070)
    eventually(lambda: dead_letters(broker, workspace), lambda found: not found)


@ONLY_SQLITE
def test_a_sensor_that_reports_nonsense_does_not_stop_the_others(
    broker: Broker, workspace: Workspace, start_worker: StartWorker, database_url: str
) -> None:
    collector = Collector(workspace.certs)
    records = [
        collector.record(f"host-{n % 4}", "Temperature", "disk", -273.15) if n % 5 else
        collector.record(f"host-{n % 4}", "Temperature", "core", 20.0 + n % 7)
        for n in range(10_000)
    ]  # fmt: skip
    create_topic(broker.bootstrap, workspace.topic, 8)
    produce(broker.bootstrap, workspace.topic, records)
    worker = start_worker()
    eventually(lambda: count(database_url, "temperature_readings"), lambda found: found == 2000)
    offsets = eventually(lambda: committed(broker, workspace), lambda found: sum(found.values()) == 10_000)
    assert sum(offsets.values()) == 10_000
    metrics = requests.get(f"{worker.url}/metrics", timeout=10).text
    produced, suppressed = (
        float(re.search(rf'^{name}_total{{reason="invalid_value"}} (.*)$', metrics, re.M)[1])  # type: ignore[index]
        for name in ("sparkle_dead_letters", "sparkle_dead_letters_suppressed")
    )
    # Ten of each host in a minute, and it takes less than two.
    assert 40 <= produced <= 80
    assert produced + suppressed == 8000
    assert handled(broker, workspace) == produced
    assert worker.ready()
    listed = run_command(
        workspace.environment(broker.bootstrap, database_url), "dead-letters", "--list"
    ).stdout
    assert "config=1 host=host-1 plugin=Temperature metric=disk expected -100 to 250 °C" in listed
