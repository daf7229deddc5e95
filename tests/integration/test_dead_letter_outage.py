"""The broker hangs while dead letters are read: the commands and a replay over HTTP end with its problem."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from sparkle_app.dead_letters import reader
from sparkle_app.model.errors import InvalidRecordError, Reason
from tests.integration.test_dead_letter_commands import produce_dead_letters, produce_more
from tests.support import frozen_broker
from tests.support.broker import Broker
from tests.support.cluster import PARTITIONS, InProcessWorker, assign
from tests.support.collector import Collector
from tests.support.kafka import KafkaBroker
from tests.support.processes import run_program
from tests.support.worker import PROJECT, Workspace

# The embedded broker does not report the end offsets of a topic.
pytestmark = pytest.mark.kafka
PATH = "/api/v1/dead-letters/replay"


@pytest.fixture
def own_broker(
    make_broker: Callable[[Path], Broker], workspace: Workspace, tmp_path: Path
) -> Iterator[KafkaBroker]:
    """A broker with 50 dead letters, in several batches of each partition."""
    (tmp_path / "kafka").mkdir()
    broker = cast(KafkaBroker, make_broker(tmp_path / "kafka"))
    with contextlib.ExitStack() as stack:
        stack.callback(broker.kill)
        broker.start()
        Collector(workspace.certs)
        error = InvalidRecordError(Reason.NOT_JSON, "expected an object")
        letters = [(number, b"junk", error) for number in range(50)]
        produce_dead_letters(broker, workspace, *letters[:25])
        produce_more(broker, workspace, *letters[25:])
        yield broker


def test_commands_end_with_one_line(own_broker: KafkaBroker, workspace: Workspace, tmp_path: Path) -> None:
    environment = workspace.environment(own_broker.bootstrap, f"sqlite:///{tmp_path}/x.sqlite3")
    environment["BROKER_PID"] = str(own_broker.process.pid)
    for arguments in (["dead-letters"], ["dead-letters", "--list"], ["replay", "--all", "--dry-run"]):
        command = [sys.executable, "-m", "tests.support.frozen_broker", "-A", "sparkle_app", *arguments]
        done = run_program(command, environment, PROJECT, 60)
        own_broker.process.send(signal.SIGCONT)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        (line,) = done.stderr.splitlines()
        expected = f"broker.url: expected a broker at {own_broker.bootstrap}, found no answer within"
        assert expected in line


async def test_a_replay_over_http_fails(
    own_broker: KafkaBroker, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_STALLED_SECONDS", 3.0)
    monkeypatch.setattr(reader, "MAX_MESSAGE_BYTES", frozen_broker.FETCHED_BYTES)
    monkeypatch.setattr(reader, "parse_dead_letter", frozen_broker.freeze)
    monkeypatch.setenv("BROKER_PID", str(own_broker.process.pid))
    settings = f"app_id: {workspace.app_id}"
    async with InProcessWorker(tmp_path / "a", settings, broker=own_broker.bootstrap) as worker:
        assign([worker], set(range(PARTITIONS)))
        async with worker.http.post(f"{worker.url}{PATH}?all=true") as started:
            assert (started.status, (await started.json())["state"]) == (202, "running")
        async with asyncio.timeout(60):
            while (found := (await worker.get(PATH))[1])["state"] == "running":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert found["state"] == "failed"
        assert "no message of" in found["problem"]
        # Another one is not refused.
        own_broker.process.send(signal.SIGCONT)
        async with worker.http.post(f"{worker.url}{PATH}?all=true") as again:
            assert again.status == 202
