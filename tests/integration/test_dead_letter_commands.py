"""The commands ``dead-letters`` and ``replay`` with dead letters that the test produces, without a worker."""

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from sparkle_app.dead_letters.message import dead_letter_headers, dead_letter_key
from sparkle_app.kafka.topology import dead_letter_topic
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.produce import consume_all, create_topic
from tests.support.worker import Workspace, run_command

# The embedded broker does not report the end offsets of a topic.
pytestmark = pytest.mark.kafka


def produce_dead_letters(
    broker: Broker, workspace: Workspace, *dead_letters: tuple[int, bytes, InvalidRecordError]
) -> None:
    """Produce dead letters of records of partition 0: the offset, the value and the error of each."""
    topic = dead_letter_topic(workspace.app_id)
    create_topic(broker.bootstrap, topic, 2, cleanup_policy="compact")
    cipher = Cipher(internal_key(workspace.certs))
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for offset, value, error in dead_letters:
        record = Record(workspace.topic, 0, offset, 1_700_000_000_000_000, value)
        headers = dead_letter_headers(record, error, cipher)
        producer.produce(topic, value, dead_letter_key(record, error.index), headers=list(headers.items()))
    assert producer.flush(20) == 0


def test_a_record_with_several_rejected_readings_is_replayed_once(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    create_topic(broker.bootstrap, workspace.topic, 1)
    invalid = [InvalidRecordError(Reason.INVALID_VALUE, "expected a number", index) for index in range(3)]
    produce_dead_letters(
        broker,
        workspace,
        *((0, b'{"readings": 3}', error) for error in invalid),
        (1, b"junk", InvalidRecordError(Reason.NOT_JSON, "expected an object")),
    )
    environment = workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")
    listed = run_command(environment, "dead-letters", "--list").stdout.splitlines()
    keys = [f"{workspace.topic}/0/0@1700000000000/{index}" for index in range(3)]
    assert sorted(line.split()[0] for line in listed) == [*keys, f"{workspace.topic}/0/1@1700000000000"]
    shown = json.loads(run_command(environment, "dead-letters", "--show", keys[1], "--json").stdout)
    assert (shown["offset"], shown["index"]) == (0, 1)
    replayed = run_command(environment, "replay", "--all", "--json")
    assert json.loads(replayed.stdout) == {"letters": 4, "without_record": 0, "sent": 2}
    again = run_command(environment, "replay", "--reason", "invalid_value")
    assert again.stdout.startswith("3 dead letters replayed; ")
    values = [record.value or b"" for record in consume_all(broker.bootstrap, workspace.topic)]
    assert sorted(values) == [b"junk", b'{"readings": 3}', b'{"readings": 3}']


def test_control_characters_in_a_record_are_escaped(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    host = "host\x1b[2J\x9b31m" + 70 * "x"
    valid = json.dumps({"config_id": 1, "hostname": host}).encode()
    raw = b'\x1b]0;title\x07 {"hostname": "a"}'
    produce_dead_letters(
        broker,
        workspace,
        (0, valid, InvalidRecordError(Reason.BAD_FIELD, "expected a payload")),
        (1, raw, InvalidRecordError(Reason.NOT_JSON, "expected an object")),
    )
    environment = workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")
    escaped = r"host\x1b[2J\x9b31m" + 70 * "x"

    def output(*options: str) -> str:
        text = run_command(environment, "dead-letters", *options).stdout
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert "\x07" not in text
        return text

    assert f"host={escaped[:60]} plugin=- metric=- expected a payload\n" in output("--list")
    assert escaped[:60] in output()
    first, second = (f"{workspace.topic}/0/{offset}" for offset in (0, 1))
    assert f"host       {escaped}\n" in output("--show", first)
    assert r'record     \x1b]0;title\x07 {"hostname": "a"}' in output("--show", second)
    shown = json.loads(output("--show", first, "--json"))
    assert (shown["host"], shown["record"]) == (host, valid.decode())
    assert json.loads(output("--show", second, "--json"))["record"] == raw.decode()
