"""The interface of brokers in tests, and the embedded broker."""

from pathlib import Path
from typing import Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from demo.broker import embedded_broker_command
from tests.support.processes import Process, free_port


class Broker(Protocol):
    """A broker that tests can start, stop and kill."""

    durable: bool
    """Whether records outlive the process."""
    bootstrap: str
    """``127.0.0.1:PORT``."""

    def start(self) -> None:
        """Start the broker and wait until it answers."""

    def stop(self) -> None:
        """Stop the broker gracefully."""

    def kill(self) -> None:
        """Kill the broker with SIGKILL."""


class EmbeddedBroker:
    """Tansu, on a port that does not change between restarts. All records are lost when it ends."""

    durable = False

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        command = embedded_broker_command(port)
        self.process = Process("the embedded broker", command, folder / "broker.log", folder=folder)

    def start(self) -> None:
        """Start the broker and wait until it answers."""
        self.process.start()
        self.process.wait_until(lambda: answers(self.bootstrap), "answer to a metadata request", 20)

    def stop(self) -> None:
        """Stop the broker gracefully."""
        self.process.stop()

    def kill(self) -> None:
        """Kill the broker with SIGKILL."""
        self.process.kill()


def answers(bootstrap: str) -> bool:
    """Whether a metadata request returns at least one broker."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False
