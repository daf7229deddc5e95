"""A collector for the demo: reads a config archive, runs its plugins, encrypts and sends (docs/wire-format.md).

    python -m demo.collector --archive config.tar.xz --folder DIR              readings of this machine
    python -m demo.collector --archive config.tar.xz --folder DIR --hosts 20   readings of 20 simulated hosts

Like the deployed collector, it shares nothing with the handler except the archive.
"""

import argparse
import base64
import importlib
import json
import logging
import math
import os
import random
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from confluent_kafka import KafkaError, Producer
from Crypto.Cipher import PKCS1_OAEP
from Crypto.PublicKey import RSA

from demo.payloads import Problems, describe, printable, read_plugins, reading_json
from demo.simulation import (
    LOST_CONFIG,
    LOST_SECONDS,
    Reading,
    history,
    lost_reading,
    simulated_readings,
)
from demo.unpacking import unpack

FLUSH_SECONDS = 2
OAEP_BYTES = 42
"""How much shorter than the key the plaintext has to be."""

logger = logging.getLogger("collector")


@dataclass(frozen=True)
class Archive:
    """An extracted config archive."""

    config: dict[str, Any]
    public_key: RSA.RsaKey
    plugins: list[ModuleType]
    """The collecting halves of the required plugins."""


def load_archive(archive: Path, folder: Path) -> Archive:
    """Extract a config archive into ``folder`` and import the required plugins. One that fails is left out.

    Raises:
        SystemExit: when a required plugin is not in the archive, or when none of them can be imported.
    """
    # The handler sets this variable, which makes plugins import their server half.
    os.environ.pop("SPARKLE_M_SERVER", None)
    with tarfile.open(archive, "r:xz") as members:
        unpack(members, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    sys.path.insert(0, str(folder))
    packages = sorted(path.parent.name for path in (folder / "plugins").glob("*/__init__.py"))
    found: dict[str, ModuleType] = {}
    broken = []
    for package in packages:
        try:
            module = importlib.import_module(f"plugins.{package}")
            if not all(isinstance(text, str) for text in (module.NAME, module.TOPIC)):
                raise TypeError("expected NAME and TOPIC as strings")
            found[module.NAME] = module
        # A plugin may raise any exception, and even call sys.exit().
        except (Exception, SystemExit) as error:
            broken.append(f"plugin package {package}: cannot be imported, found {describe(error)}")
    required = config["required_plugins"]
    missing = [name for name in required if name not in found]
    for line in broken:
        logger.warning("%s", printable(line))
    if missing and (not broken or len(missing) == len(required)):
        sys.exit(f"{archive}: expected the plugins {', '.join(missing)}, found {', '.join(found) or 'none'}")
    if missing:
        logger.warning("running without the plugins %s", ", ".join(missing))
    return Archive(
        config,
        RSA.import_key((folder / "rsa_key.pub").read_bytes()),
        [found[name] for name in required if name in found],
    )


def make_record(
    public_key: RSA.RsaKey, config_id: int, hostname: str, when: datetime, plugin: str, key: str, value: Any
) -> bytes:
    """Create the record of one reading.

    Arguments:
        when: the host's local time, naive.
        value: any JSON value.

    Raises:
        TypeError: when JSON cannot express the value.
        ValueError: also when the payload is too long for the key: more than 214 bytes of JSON with RSA-2048.
    """
    inner = reading_json(plugin, key, value)
    payload = base64.b64encode(PKCS1_OAEP.new(public_key).encrypt(inner)).decode()
    fields = {"config_id": config_id, "hostname": hostname, "datetime": when.isoformat(), "payload": payload}
    return json.dumps(fields).encode()


def main() -> None:
    """Collect and send until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        archive = load_archive(options.archive, options.folder)
    except (OSError, tarfile.TarError, yaml.YAMLError, ImportError, KeyError, ValueError) as error:
        found = " ".join(f"{type(error).__name__}: {error}".split())
        sys.exit(
            f"{options.archive}: expected a config archive, found {found}; create one with gen_config.py"
        )
    config = archive.config
    interval = options.interval or config["send_data_interval"]
    server = options.server or f"{config['mq_server_address']}:{config['mq_server_port']}"
    rng = random.Random(options.seed)
    problems = Problems()
    max_bytes = archive.public_key.size_in_bytes() - OAEP_BYTES

    def readings() -> Iterator[Reading]:
        if options.hosts:
            yield from simulated_readings(archive.plugins, options.hosts, rng, time.time())
        else:
            for reading in read_plugins(archive.plugins, max_bytes, problems):
                yield options.hostname, *reading

    source = f"{options.hosts} simulated hosts" if options.hosts else options.hostname
    logger.info("config %d: %s, every %s s to %s", config["id"], source, interval, server)
    sender = Sender(archive, server, stop)
    if options.hosts:
        for at, reading in history(archive.plugins, options.hosts, rng, time.time()):
            sender.send(reading, sender.config_id, at)
    lost = lost_reading(archive.plugins) if options.hosts else None
    _send(sender, readings, lost, interval, problems, stop)


class Sender:
    """Encrypts and produces readings, until ``stop`` is set."""

    def __init__(self, archive: Archive, server: str, stop: threading.Event) -> None:
        self._public_key = archive.public_key
        self._stop = stop
        self.config_id: int = archive.config["id"]
        self.producer = Producer(
            {
                "bootstrap.servers": server,
                "acks": "all",
                "linger.ms": 50,
                # librdkafka logs several lines per second while the broker is unreachable; _log_error logs one per
                # outage.
                "log_level": 2,
                "error_cb": lambda error: _log_error(error, server),
            }
        )

    def send(self, reading: Reading, config_id: int, at: float) -> None:
        """Send a reading that was measured at ``at``, seconds since the epoch."""
        if self._stop.is_set():
            return
        hostname, plugin, key, value = reading
        when = datetime.fromtimestamp(at)
        record = make_record(self._public_key, config_id, hostname, when, plugin.NAME, key, value)
        produce(self.producer, plugin.TOPIC, record, self._stop, at)


def _send(
    sender: Sender,
    readings: Callable[[], Iterator[Reading]],
    lost: Reading | None,
    interval: float,
    problems: Problems,
    stop: threading.Event,
) -> None:
    due = lost_due = time.monotonic()
    while not stop.is_set():
        for reading in readings():
            sender.send(reading, sender.config_id, time.time())
        if lost and time.monotonic() >= lost_due:
            sender.send(lost, LOST_CONFIG, time.time())
            lost_due += LOST_SECONDS
        due, skipped = next_collection(due, interval, time.monotonic())
        if skipped:
            problems.report(
                "collection",
                f"took longer than the interval of {interval} s; {skipped} collections are skipped",
            )
        while not stop.is_set() and time.monotonic() < due:
            sender.producer.poll(0)
            stop.wait(min(0.5, max(0.0, due - time.monotonic())))
    sender.producer.flush(FLUSH_SECONDS)


def next_collection(due: float, interval: float, now: float) -> tuple[float, int]:
    """When the next collection is due, after the one that was due at ``due``, and how many before it are skipped.

    Those that were missed while a plugin was slow are not made up for: in a burst they would measure nothing.
    """
    skipped = max(0, math.floor((now - due) / interval))
    return due + (skipped + 1) * interval, skipped


def produce(producer: Producer, topic: str, record: bytes, stop: threading.Event, at: float) -> None:
    """Append a record to the producer's queue; while the queue is full, retry until ``stop`` is set.

    Arguments:
        at: the record's timestamp, seconds since the epoch.
    """
    while not stop.is_set():
        try:
            producer.produce(topic, record, timestamp=int(at * 1000))
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.5)


def _log_error(error: KafkaError, server: str) -> None:
    # librdkafka reports this once per outage, not per attempt to connect.
    if error.code() == KafkaError._ALL_BROKERS_DOWN:
        logger.warning("%s: no broker responds; retrying until one does", server)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.collector", description="A collector for the demo.")
    parser.add_argument("--archive", type=Path, required=True, help="config.tar.xz")
    parser.add_argument("--folder", type=Path, required=True, help="folder to extract it to")
    parser.add_argument("--hostname", default=socket.gethostname(), help="default: the name of this machine")
    parser.add_argument(
        "--hosts", type=int, default=0, help="number of hosts to simulate instead of collecting"
    )
    parser.add_argument("--seed", type=int, help="seed of the simulation, to repeat it")
    parser.add_argument(
        "--interval", type=float, help="collection interval in seconds (default: from the archive)"
    )
    parser.add_argument("--server", help="broker, HOST:PORT (default: from the archive)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
