"""Apache Kafka in KRaft mode: one process that is broker and controller."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from tests.support.broker import answers
from tests.support.processes import Process, free_port

LIBS = Path(__file__).parents[2] / ".cache" / "kafka-4.3.1" / "libs"
"""Where ``make test-kafka`` puts Kafka's jars."""


class KafkaBroker:
    """Kafka on a port that stays the same over restarts, with its records in ``folder``.

    Arguments:
        folder: an empty one.
        properties: added to server.properties, or put in place of what is there.
    """

    durable = True

    def __init__(self, folder: Path, properties: Mapping[str, str] | None = None) -> None:
        port, controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(folder / "data"),
            # One broker cannot hold the three replicas that Kafka wants of its own topics.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # A killed broker may come back only when its last session is over.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            # Whoever needs a topic has to make it.
            "auto.create.topics.enable": "false",
            **(properties or {}),
        }
        self._config = folder / "server.properties"
        self._data = folder / "data"
        command = [*_java("-Xmx512m"), "kafka.Kafka", str(self._config)]
        self.process = Process("Kafka", command, folder / "kafka.log", folder=folder)

    def start(self) -> None:
        """Start it, with what it stored before, and wait until it answers."""
        if not self._data.exists():
            self._format()
        self.process.start()
        self.process.wait_until(lambda: answers(self.bootstrap), "answer to a metadata request", 60)

    def stop(self) -> None:
        """End it in order."""
        self.process.stop()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()

    def _format(self) -> None:
        self._config.write_text("".join(f"{key}={value}\n" for key, value in self._properties.items()))
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # It takes a leading hyphen for an option.
        cluster = "s" + cluster[1:]
        tool = [
            *_java("-Xmx128m"),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster,
            "-c",
            str(self._config),
        ]
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"Kafka's storage could not be formatted: {done.stdout}{done.stderr}"


def _java(memory: str) -> list[str]:
    return ["java", memory, "-cp", f"{LIBS}/*"]
