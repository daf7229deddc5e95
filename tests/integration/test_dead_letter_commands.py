"""The commands ``dead-letters`` and ``replay`` with dead letters that the test produces, without a worker."""

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer
from sqlalchemy.engine import make_url

from sparkle_app.dead_letters.message import dead_letter_headers, dead_letter_key
from sparkle_app.kafka.topology import dead_letter_topic
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.record import Record
from sparkle_app.sealed.cipher import Cipher
from sparkle_app.sealed.internal_key import internal_key
from sparkle_app.storage.engine import make_engine
from sparkle_app.storage.retention import advance, begin
from tests.support.broker import Broker
from tests.support.collector import Collector
from tests.support.produce import consume_all, create_topic
from tests.support.worker import PROJECT, Workspace, faust, run_command

# The embedded broker does not report the end offsets of a topic.
pytestmark = pytest.mark.kafka


def produce_dead_letters(
    broker: Broker, workspace: Workspace, *dead_letters: tuple[int, bytes, InvalidRecordError]
) -> None:
    """Create the dead-letter topic, and produce dead letters to it."""
    create_topic(broker.bootstrap, dead_letter_topic(workspace.app_id), 2, cleanup_policy="compact")
    produce_more(broker, workspace, *dead_letters)


def produce_more(
    broker: Broker, workspace: Workspace, *dead_letters: tuple[int, bytes, InvalidRecordError]
) -> None:
    """Produce dead letters of records of partition 0: the offset, the value and the error of each.

    The record at offset 0 has the timestamp 2023-11-14T22:13:20Z, and each of the others is a second later.
    """
    topic = dead_letter_topic(workspace.app_id)
    cipher = Cipher(internal_key(workspace.certs))
    # The tombstones of workers, which use this partitioner, have to be in the same partitions.
    producer = Producer({"bootstrap.servers": broker.bootstrap, "partitioner": "murmur2_random"})
    for offset, value, error in dead_letters:
        record = Record(workspace.topic, 0, offset, (1_700_000_000 + offset) * 1_000_000, value)
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
    assert sorted(line.split()[0] for line in listed) == [*keys, f"{workspace.topic}/0/1@1700000001000"]
    shown = json.loads(run_command(environment, "dead-letters", "--show", keys[1], "--json").stdout)
    assert (shown["offset"], shown["index"]) == (0, 1)
    replayed = run_command(environment, "replay", "--all", "--json")
    assert json.loads(replayed.stdout) == {"letters": 4, "without_record": 0, "expired": 0, "sent": 2}
    again = run_command(environment, "replay", "--reason", "invalid_value")
    assert again.stdout.startswith("3 dead letters replayed; ")
    values = [record.value or b"" for record in consume_all(broker.bootstrap, workspace.topic)]
    assert sorted(values) == [b"junk", b'{"readings": 3}', b'{"readings": 3}']


def test_a_replay_says_how_many_dead_letters_are_older_than_what_is_kept(
    broker: Broker, workspace: Workspace, tmp_path: Path
) -> None:
    Collector(workspace.certs)
    create_topic(broker.bootstrap, workspace.topic, 1)
    error = InvalidRecordError(Reason.NOT_JSON, "expected an object")
    produce_dead_letters(broker, workspace, *((offset, b"junk", error) for offset in range(5)))
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    environment = workspace.environment(broker.bootstrap, url)
    # There is no database yet.
    assert run_command(environment, "replay", "--all", "--dry-run").stderr == ""
    assert run_command(environment, "migrate").returncode == 0
    engine = make_engine(make_url(url))
    for plugin, seconds in (("Temperature", 3), ("PU_Workload", 2)):
        with engine.begin() as connection:
            begin(connection, plugin, 60)
        advance(engine, plugin, 0, kept_since=(1_700_000_000 + seconds) * 1_000_000)
    engine.dispose()
    # Both plugins have this topic: whose readings the records have is not known.
    done = run_command(environment, "replay", "--all", "--dry-run")
    assert done.stderr == (
        "2 dead letters older than the retention period: workers will not store their readings, but count them"
        " as expired\n"
    )
    assert json.loads(run_command(environment, "replay", "--all", "--json").stdout) == {
        "letters": 5,
        "without_record": 0,
        "expired": 2,
        "sent": 5,
    }
    # Without the database, dead letters are replayed as well.
    unreachable = workspace.environment(broker.bootstrap, "postgresql://127.0.0.1:1/none")
    done = run_command(unreachable, "replay", "--all", "--dry-run")
    assert done.returncode == 0
    assert done.stderr.startswith(
        "cannot determine how many dead letters are older than the retention period: database.url: "
    )


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


def remaining(environment: Mapping[str, str]) -> dict[str, int]:
    """The number of dead letters by reason."""
    counts: dict[str, int] = json.loads(run_command(environment, "dead-letters", "--json").stdout)["reason"]
    return counts


@pytest.fixture
def mixed(broker: Broker, workspace: Workspace, tmp_path: Path) -> dict[str, str]:
    """The environment of commands; there are dead letters of two reasons and two hosts, one second after another."""
    Collector(workspace.certs)
    field = InvalidRecordError(Reason.BAD_FIELD, "expected a payload")
    produce_dead_letters(
        broker,
        workspace,
        (0, b'{"hostname": "a"}', field),
        (1, b'{"hostname": "a"}', field),
        (2, b'{"hostname": "b"}', field),
        (3, b"junk", InvalidRecordError(Reason.NOT_JSON, "expected an object")),
        (4, b"junk", InvalidRecordError(Reason.NOT_JSON, "expected an object")),
    )
    return workspace.environment(broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--reason", "not_json"], {"bad_field": 3}),
        (["--host", "a"], {"not_json": 2, "bad_field": 1}),
        (["--until", "2023-11-14T22:13:22Z"], {"not_json": 2, "bad_field": 1}),
        (["--reason", "bad_field", "--host", "b"], {"bad_field": 2, "not_json": 2}),
        (["--all"], {}),
    ],
)
def test_the_selected_dead_letters_are_discarded(
    broker: Broker, workspace: Workspace, mixed: dict[str, str], options: list[str], left: dict[str, int]
) -> None:
    done = run_command(mixed, "dead-letters", "--discard", *options, "--yes", "--json")
    number = 5 - sum(left.values())
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["letters"], report["discarded"]) == (number, number)
    assert remaining(mixed) == left
    # The tombstones are where the dead letters are, so that compaction deletes both.
    records = consume_all(broker.bootstrap, dead_letter_topic(workspace.app_id))
    tombstones = [(each.partition, each.key) for each in records if each.value is None]
    assert len(tombstones) == number
    assert set(tombstones) <= {(each.partition, each.key) for each in records if each.value is not None}
    if not left:
        again = run_command(mixed, "dead-letters", "--discard", *options, "--yes")
        assert (again.returncode, again.stdout) == (0, f"0 dead letters in {report['topic']}\n")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ([], "dead-letters --discard: expected either --all or filters, found neither; see --help"),
        (
            ["--all", "--host", "a"],
            "dead-letters --discard: expected either --all or filters, found both; see --help",
        ),
        (["--all", "--list"], "dead-letters --discard: expected filters only, found --list or --show;"),
    ],
)
def test_what_is_discarded_must_be_clear(mixed: dict[str, str], options: list[str], error: str) -> None:
    # Without --yes as well: what is asked for first is what is missing first.
    for confirmed in (["--yes"], []):
        done = run_command(mixed, "dead-letters", "--discard", *options, *confirmed)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(error)
    assert remaining(mixed) == {"bad_field": 3, "not_json": 2}


def test_discarding_asks_for_confirmation(mixed: dict[str, str]) -> None:
    for json_option in ([], ["--json"]):
        silent = run_command(mixed, "dead-letters", "--discard", "--host", "a", *json_option)
        assert (silent.returncode, silent.stdout) == (2, "")
        assert "--yes" in silent.stderr
    for answer, code in (("", 1), ("n", 1), ("\x04", 1), ("\x03", 130), ("y", 0)):
        if answer == "y":
            assert remaining(mixed) == {"bad_field": 3, "not_json": 2}
        found, output = answered(mixed, answer, "dead-letters", "--discard", "--host", "a")
        assert "Delete 2 dead letters? The records cannot be replayed afterwards. [y/N]: " in output
        assert found == code, output
        assert ("Nothing was discarded." in output) == (code == 1)
    assert "2 dead letters discarded" in output
    assert remaining(mixed) == {"not_json": 2, "bad_field": 1}


def answered(environment: Mapping[str, str], answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command in a terminal, and answer its question; returns the exit code and the output."""
    controller, terminal = os.openpty()
    output = b""
    with os.fdopen(controller, "r+b", buffering=0) as screen:
        process = subprocess.Popen(
            faust(*arguments),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=dict(environment),
            cwd=PROJECT,
            # The terminal sends Ctrl-C to the processes of its session.
            start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509
        )
        os.close(terminal)
        asked = False
        # Reading fails when the process has closed the terminal.
        with contextlib.suppress(OSError):
            while True:
                if not select.select([screen], [], [], 5)[0]:
                    # A signal that arrives just before a process begins to read does not end the read.
                    if asked and answer == "\x03":
                        screen.write(answer.encode())
                    continue
                if not (data := screen.read(4096)):
                    break
                output += data
                # More may follow it in the same piece.
                if not asked and b"]: " in output:
                    asked = True
                    screen.write(answer.encode() + (b"" if answer in ("\x03", "\x04") else b"\n"))
        return process.wait(60), output.decode()


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # A shell lets what it starts in the background ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
