"""Hosts that send while everything breaks, and the ledger of what the broker acknowledged."""

import base64
import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Message, Producer

from tests.support.collector import Collector

HOSTS = 40
METRICS = 4
PLUGINS = ("Temperature", "PU_Workload")
REFUSED_VALUE = 66.6
"""What the fault that makes the database refuse one row forbids."""
UNKNOWN_CONFIG = 999
"""Of records for which there is no key at first; it is that of the others."""
_LATE_SECONDS = (2 * 3600, 3 * 86_400)
_DISORDER_SECONDS = 600


Reading = tuple[str, str, str, float]
"""Plugin, hostname, metric, value."""


@dataclass(frozen=True)
class Sent:
    """A record, and what it has to become."""

    value: bytes
    timestamp: int
    """Milliseconds since 1970; the broker keeps it, or puts its own in place of it."""
    reading: Reading | None
    """None: a dead letter."""
    reason: str | None = None
    """Of the dead letter."""
    once_mended: Reading | None = None
    """What the dead letter becomes when the key that it lacks is there."""

    @property
    def id(self) -> str:
        """The identity of a reading: the first 16 bytes of its ciphertext's SHA-256, in hexadecimal."""
        ciphertext = base64.b64decode(json.loads(self.value)["payload"])
        return hashlib.sha256(ciphertext).hexdigest()[:32]

    @property
    def local_time(self) -> datetime:
        """The host's, as it says it."""
        return datetime.fromisoformat(json.loads(self.value)["datetime"])


class Sender:
    """Sends records from a thread of its own, and notes each that the broker acknowledged.

    Arguments:
        collector: encrypts.
        chance: decides everything; the same seed sends the same readings.
    """

    def __init__(self, bootstrap: str, topic: str, collector: Collector, chance: random.Random) -> None:
        self._topic = topic
        self._collector = collector
        self._chance = chance
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                # Whatever was written is acknowledged in the end, so that the ledger knows all there is.
                "enable.idempotence": True,
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 1_000_000,
                "topic.metadata.refresh.interval.ms": 2_000,
                "reconnect.backoff.max.ms": 1_000,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._lock = threading.Lock()
        self._ledger: dict[tuple[int, int], Sent] = {}
        self._failed: list[str] = []
        self._handed_over = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, rate: int) -> None:
        """Send ``rate`` records a second until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, args=(rate,), name="sender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until the broker has acknowledged everything.

        Raises:
            AssertionError: when it did not.
        """
        self._stop.set()
        if self._thread:
            self._thread.join(30)
        left = self._producer.flush(120)
        assert not left, f"{left} records were not acknowledged within 120 s"
        assert not self._failed, f"the broker refused {self._failed[:3]}"

    def burst(self, number: int) -> None:
        """Hand over ``number`` records at once."""
        with self._lock:
            for _ in range(number):
                self._send(self.make())

    def send(self, *records: Sent) -> None:
        """Hand over these records."""
        with self._lock:
            for record in records:
                self._send(record)

    def acknowledged(self) -> dict[tuple[int, int], Sent]:
        """Partition and offset of each record that the broker acknowledged."""
        return dict(self._ledger)

    def flush(self) -> None:
        """Wait until what was handed over so far is acknowledged."""
        wanted = self._handed_over
        deadline = time.monotonic() + 120
        while len(self._ledger) + len(self._failed) < wanted:
            assert time.monotonic() < deadline, "the broker does not acknowledge"
            self._producer.poll(0.05)

    def flush_what_can_be(self, seconds: float = 2) -> None:
        """Give the broker, which may be away, some time to acknowledge what was handed over."""
        wanted, deadline = self._handed_over, time.monotonic() + seconds
        while len(self._ledger) < wanted and time.monotonic() < deadline:
            self._producer.poll(0.02)

    def make(self, value: float | None = None, plugin: str | None = None) -> Sent:
        """The next record: out of order, sometimes late, sometimes bad."""
        chance = self._chance
        if value is None and chance.random() < 0.03:
            return self._bad()
        at = time.time() - chance.uniform(0, _DISORDER_SECONDS)
        if chance.random() < 0.02:
            at -= chance.uniform(*_LATE_SECONDS)
        milliseconds = int(at * 1000)
        when = datetime.fromtimestamp(milliseconds / 1000)
        plugin = plugin or chance.choice(PLUGINS)
        hostname, metric = f"host-{chance.randrange(HOSTS)}", f"core/{chance.randrange(METRICS)}"
        value = round(chance.uniform(20, 60), 1) if value is None else value
        record = self._collector.record(hostname, plugin, metric, value, when)
        return Sent(record, milliseconds, (plugin, hostname, metric, value))

    def _bad(self) -> Sent:
        collector, junk = self._collector, self._chance.randbytes(256)
        unknown = json.loads(collector.record("host-1", "Temperature", "k", 20.0))
        unknown["config_id"] = UNKNOWN_CONFIG
        kinds: dict[str, Callable[[], bytes]] = {
            "not_json": lambda: b"junk " + junk[:20],
            "bad_base64": lambda: json.dumps({**unknown, "config_id": 1, "payload": "§"}).encode(),
            "unknown_config": lambda: json.dumps(unknown).encode(),
            "undecryptable": lambda: collector.envelope("host-1", junk),
            "invalid_value": lambda: collector.record("host-1", "Temperature", "k", "hot"),
            "unknown_plugin": lambda: collector.record("host-1", "Fans", "k", 1200),
        }
        reason = self._chance.choice(sorted(kinds))
        mended = ("Temperature", "host-1", "k", 20.0) if reason == "unknown_config" else None
        return Sent(kinds[reason](), int(time.time() * 1000), None, reason, mended)

    def _run(self, rate: int) -> None:
        number = 0
        due = time.monotonic()
        while not self._stop.is_set():
            with self._lock:
                for _ in range(rate // 10):
                    record = self.make()
                    self._send(record)
                    number += 1
                    # A producer that retried: the same bytes at another offset.
                    if number % 20 == 0:
                        self._send(record)
            due += 0.1
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _send(self, record: Sent) -> None:
        def note(error: Any, message: Message) -> None:
            position = message.partition(), message.offset()
            if error or position[0] is None or position[1] is None:
                self._failed.append(str(error))
            else:
                self._ledger[position[0], position[1]] = record

        self._producer.produce(
            self._topic,
            record.value,
            # Not by the client's choice: a topic that gets more partitions gets records there, too.
            timestamp=record.timestamp,
            on_delivery=note,
        )
        self._handed_over += 1
        self._producer.poll(0)
