"""Produces records during the faults, and keeps a ledger of those that the broker acknowledged."""

import base64
import hashlib
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from confluent_kafka import Message, Producer

from tests.support.collector import Collector

HOSTS = 40
METRICS = 4
PLUGINS = ("Temperature", "PU_Workload")
REJECTED_VALUE = 66.6
"""The value that the database rejects during the fault "a row refused"."""
UNKNOWN_CONFIG = 999
"""Config id of records whose private key is missing at first. It is the same key as that of other records."""
_LATE_SECONDS = (2 * 3600, 3 * 86_400)
_DISORDER_SECONDS = 600
Reading = tuple[str, str, str, float]
"""Plugin, hostname, metric, value."""


class Place(NamedTuple):
    """Where the broker stored a record. The timestamp differs for records of a topic that was created again."""

    partition: int
    offset: int
    timestamp: int
    """Milliseconds since 1970."""


@dataclass(frozen=True)
class Sent:
    """A produced record, and its expected outcome."""

    value: bytes
    timestamp: int
    """Milliseconds since 1970. With LogAppendTime the broker replaces it."""
    reading: Reading | None
    """None: a dead letter."""
    reason: str | None = None
    """The reason of the dead letter."""
    reading_with_key: Reading | None = None
    """The reading that a replay stores after the missing private key has been added."""
    limited: bool = False
    """Whether its dead letter may be left out, because there are many of the same cause."""

    @property
    def id(self) -> str:
        """The id of the reading: the first 16 bytes of the SHA-256 hash of its ciphertext, in hexadecimal."""
        ciphertext = base64.b64decode(json.loads(self.value)["payload"])
        return hashlib.sha256(ciphertext).hexdigest()[:32]

    @property
    def local_time(self) -> datetime:
        """The host's local time in the record."""
        return datetime.fromisoformat(json.loads(self.value)["datetime"])


class Sender:
    """Produces records in a thread, and records which of them the broker acknowledged.

    Arguments:
        collector: encrypts the records.
        rng: source of all random decisions; with the same seed, the same readings are sent.
    """

    def __init__(self, bootstrap: str, topic: str, collector: Collector, rng: random.Random) -> None:
        self._topic = topic
        self._collector = collector
        self._rng = rng
        self._bootstrap = bootstrap
        self._producer = self._connect()
        self._lock = threading.Lock()
        self._ledger: dict[Place, Sent] = {}
        self._paused = False
        self._failed: list[str] = []
        self._queued = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, rate: int) -> None:
        """Produce ``rate`` records per second until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, args=(rate,), name="sender", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Produce nothing until :meth:`resume`, and wait until all records are acknowledged."""
        with self._lock:
            self._paused = True
            self.flush()

    def resume(self) -> None:
        """Go on, with a producer that knows nothing of topics that have been replaced."""
        with self._lock:
            self._producer = self._connect()
            self._paused = False

    def stop(self) -> None:
        """Stop producing, and wait until the broker has acknowledged all records.

        Raises:
            AssertionError: if it does not.
        """
        self._stop.set()
        if self._thread:
            self._thread.join(30)
        unacknowledged = self._producer.flush(120)
        assert not unacknowledged, f"{unacknowledged} records were not acknowledged within 120 s"
        assert not self._failed, f"the broker rejected records: {self._failed[:3]}"

    def burst(self, number: int) -> None:
        """Queue ``number`` records at once."""
        with self._lock:
            for _ in range(number):
                self._send(self.make())

    def send(self, *records: Sent) -> None:
        """Queue these records."""
        with self._lock:
            for record in records:
                self._send(record)

    def acknowledged(self) -> dict[Place, Sent]:
        """All acknowledged records."""
        return dict(self._ledger)

    def locate(self, places: Mapping[Place, bytes | None]) -> None:
        """Find what the broker did not tell among all records of the topic: offsets, and copies written by retries."""
        unknown: dict[bytes | None, list[Place]] = defaultdict(list)
        for place, sent in self._ledger.items():
            if place.offset < 0:
                unknown[sent.value].append(place)
        # A retry writes to the same partition.
        sent_to: dict[tuple[int, bytes | None], Sent] = {
            (place.partition, each.value): each for place, each in self._ledger.items()
        }
        for place, value in places.items():
            if place in self._ledger:
                continue
            if unknown[value]:
                self._ledger[place] = self._ledger.pop(unknown[value].pop())
            elif copied := sent_to.get((place.partition, value)):
                self._ledger[place] = copied

    def flush(self) -> None:
        """Wait until all queued records are acknowledged."""
        queued = self._queued
        deadline = time.monotonic() + 120
        while len(self._ledger) + len(self._failed) < queued:
            assert time.monotonic() < deadline, "the broker did not acknowledge all records within 120 s"
            self._producer.poll(0.05)

    def flush_for(self, seconds: float = 2) -> None:
        """Wait at most ``seconds`` for acknowledgements: the broker may be stopped."""
        queued, deadline = self._queued, time.monotonic() + seconds
        while len(self._ledger) < queued and time.monotonic() < deadline:
            self._producer.poll(0.02)

    def make(self, value: float | None = None, plugin: str | None = None) -> Sent:
        """The next record: out of order, sometimes late, sometimes invalid."""
        rng = self._rng
        if value is None and rng.random() < 0.03:
            return self._invalid()
        at = time.time() - rng.uniform(0, _DISORDER_SECONDS)
        if rng.random() < 0.02:
            at -= rng.uniform(*_LATE_SECONDS)
        milliseconds = int(at * 1000)
        when = datetime.fromtimestamp(milliseconds / 1000)
        plugin = plugin or rng.choice(PLUGINS)
        hostname, metric = f"host-{rng.randrange(HOSTS)}", f"core/{rng.randrange(METRICS)}"
        value = round(rng.uniform(20, 60), 1) if value is None else value
        record = self._collector.record(hostname, plugin, metric, value, when)
        return Sent(record, milliseconds, (plugin, hostname, metric, value))

    def make_nonsense(self) -> Sent:
        """A record whose value no plugin accepts, always of the same host and metric."""
        record = self._collector.record("host-1", "Temperature", "disk", -273.15)
        return Sent(record, int(time.time() * 1000), None, "invalid_value", limited=True)

    def _invalid(self) -> Sent:
        collector, junk = self._collector, self._rng.randbytes(256)
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
        reason = self._rng.choice(sorted(kinds))
        with_key = ("Temperature", "host-1", "k", 20.0) if reason == "unknown_config" else None
        return Sent(kinds[reason](), int(time.time() * 1000), None, reason, with_key)

    def _run(self, rate: int) -> None:
        number = 0
        due = time.monotonic()
        while not self._stop.is_set():
            with self._lock:
                for _ in range(0 if self._paused else rate // 10):
                    record = self.make()
                    self._send(record)
                    number += 1
                    # A retry of the producer: the same bytes at another offset.
                    if number % 20 == 0:
                        self._send(record)
            due += 0.1
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _connect(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                # As the deployed collector does, it may write a record twice when it retries.
                "acks": "all",
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 1_000_000,
                "topic.metadata.refresh.interval.ms": 2_000,
                "reconnect.backoff.max.ms": 1_000,
                "linger.ms": 5,
                "log_level": 0,
            }
        )

    def _send(self, record: Sent) -> None:
        def note(error: Any, message: Message) -> None:
            partition, offset = message.partition(), message.offset()
            if error or partition is None:
                self._failed.append(str(error))
            elif offset is None or offset < 0:
                # A retry of a batch that the broker has, but whose offsets it has forgotten.
                self._ledger[Place(partition, -1 - len(self._ledger), 0)] = record
            else:
                # With LogAppendTime it is the broker's.
                self._ledger[Place(partition, offset, message.timestamp()[1])] = record

        self._producer.produce(
            self._topic,
            record.value,
            # The partition is left to the client, so that new partitions get records too.
            timestamp=record.timestamp,
            on_delivery=note,
        )
        self._queued += 1
        self._producer.poll(0)
