"""The ingest agent of a worker, with an in-memory broker and SQLite; only the decryption is replaced."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from sqlalchemy import Connection, Engine, text

from sparkle_app.dead_letters.message import REPLAY_HEADER, make_replay_token
from sparkle_app.dead_letters.publisher import DeadLetterPublisher
from sparkle_app.ingest.agent import IngestPipeline
from sparkle_app.ingest.forwarder import Forwarder
from sparkle_app.ingest.host_recorder import RecentActivity
from sparkle_app.ingest.key_breaker import KeyBreaker
from sparkle_app.ingest.sql_writer import SqlWriter
from sparkle_app.kafka.topology import dead_letter_topic
from sparkle_app.model.errors import InvalidRecordError, Reason
from sparkle_app.model.reading import Reading, StoredReading
from sparkle_app.model.record import Outcome, Record
from sparkle_app.runtime.cause_limit import CauseLimit
from sparkle_app.runtime.metrics import Metrics
from sparkle_app.sealed.samples import unpack_samples
from tests.support.aggregate_worker import (
    BUCKET_SECONDS,
    CIPHER,
    GROUP,
    NAME,
    PARTITIONS,
    SAMPLES,
    InlineExecutor,
    Plain,
    sqlite_engine,
)
from tests.support.fake_clock import FakeClock
from tests.support.memory_broker import MemoryBroker
from tests.support.memory_faust import MemoryApp, MemoryStream
from tests.support.produce import place_of

TOPIC = "telemetry"
LETTERS = dead_letter_topic(GROUP)
BATCH, PER_MINUTE = 4, 20


class Refusing(Plain):
    """A plugin whose database rejects the value 13."""

    def store_readings(self, connection: Connection, readings: Sequence[Reading]) -> Sequence[StoredReading]:
        if any(each.value == 13 for each in readings):
            connection.execute(text("INSERT INTO memory_readings (id) VALUES (NULL)"))
        return super().store_readings(connection, readings)


class PlainPool:
    """Replaces the decryption pool. A record is a JSON array of values, or an object with ``config_id`` and ``values``.

    null is an invalid value.
    """

    def __init__(self) -> None:
        self.keys: set[int] = set()
        self.asked: list[list[Record]] = []
        self.raises: list[Exception] = []

    async def decrypt(self, records: Sequence[Record]) -> list[Outcome]:
        """As in DecryptionPool."""
        self.asked.append(list(records))
        await asyncio.sleep(0)
        if self.raises:
            raise self.raises.pop()
        return [self._outcome(record) for record in records]

    def _outcome(self, record: Record) -> Outcome:
        try:
            values = json.loads(record.value)
        except ValueError:
            return Outcome(record, [], [InvalidRecordError(Reason.NOT_JSON, "expected an array")])
        if isinstance(values, dict):
            if values["config_id"] not in self.keys:
                error = InvalidRecordError(
                    Reason.UNDECRYPTABLE, "certs/rsa_key_9 does not decrypt the payload"
                )
                return Outcome(record, [], [error])
            values = values["values"]
        several = len(values) > 1
        readings, errors = [], []
        for number, value in enumerate(values):
            index = number if several else None
            if value is None:
                errors.append(InvalidRecordError(Reason.INVALID_VALUE, "expected a number", index))
            else:
                readings.append(_reading(record, value, number, index))
        return Outcome(record, readings, errors)


def _reading(record: Record, value: float, number: int, index: int | None) -> Reading:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    id_ = (record.offset * 100 + number).to_bytes(8) + bytes([record.partition] * 8)
    times = {
        "observed_at": record.received_at,
        "received_at": record.received_at,
        "clock_trusted": value >= 0,
    }
    fields: Any = {"config_id": 1, "plugin": NAME, "hostname": f"host-{value}", "key": "k", **times, **place}
    return Reading(id=id_, value=value, index=index, **fields)


class IngestWorld:
    """Broker, database, clock, and the ingest agent of the current worker."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.broker = MemoryBroker(self.clock)
        self.engine: Engine = sqlite_engine(folder)
        self.metrics = Metrics()
        self.pool = PlainPool()

    async def start(self) -> None:
        """Create the topics, and start a worker."""
        for topic, partitions in ((TOPIC, 2), (SAMPLES, PARTITIONS), (LETTERS, 2)):
            await self.broker.create_topic(topic, partitions, log_append_time=topic == TOPIC)
        await self.start_worker()

    async def start_worker(self) -> None:
        """Start a worker, which replaces the current one."""
        self.app = MemoryApp(self.broker, "ingest", [TOPIC], [TOPIC], max_batch_records=BATCH)
        await self.app.join()
        self.stream = MemoryStream(self.app)
        plugins = {NAME: Refusing()}
        self.writer = SqlWriter(self.engine, plugins, InlineExecutor(), 2000, BUCKET_SECONDS, self.clock)
        self.forwarder = Forwarder({NAME: self.app.publisher(SAMPLES)}, plugins, CIPHER, PARTITIONS)
        self.dead_letters = DeadLetterPublisher(
            self.app.publisher(LETTERS), CauseLimit(PER_MINUTE, self.clock), self.metrics, CIPHER
        )
        self.hosts = RecentActivity(self.clock, self.clock)
        self.breaker = KeyBreaker(BATCH, self.clock)
        self.pipeline = IngestPipeline(
            self.pool,  # type: ignore[arg-type]
            self.writer,
            self.forwarder,
            self.dead_letters,
            self.breaker,
            self.hosts,
            CIPHER,
            self.metrics,
            BATCH,
            0.0,
            self.clock,
        )

    async def produce(self, *values: Any, partition: int = 0, headers: Any = None) -> None:
        """Produce a record for each list of values; bytes are produced unchanged, None is a record without a value."""
        for each in values:
            value = each if isinstance(each, bytes | None) else json.dumps(each).encode()
            await self.broker.producer().send_and_wait(TOPIC, value, partition=partition, headers=headers)

    async def produce_at(self, seconds: float, value: float | None, partition: int = 0) -> None:
        """Produce a record with a timestamp of its producer."""
        record = json.dumps([value]).encode()
        await self.broker.producer().send_and_wait(
            TOPIC, record, partition=partition, timestamp_ms=int(seconds * 1000)
        )

    async def work(self) -> None:
        """Process all records that have been produced, and commit."""
        await self.pipeline.run(self.stream.stream)
        await self.app.batching.commit()

    async def replay(self, record: Record, value: bytes | None = None) -> None:
        """Replay a record that became a dead letter. With another ``value``, the replay token is not valid."""
        token = make_replay_token(record, CIPHER)
        await self.produce(value or record.value, headers=[(REPLAY_HEADER, token)])

    def fail_once(self, part: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make a step raise an error once, after it has done its work, which is the worst moment."""
        of, method = self._method(part)
        works = getattr(of, method)
        errors = [error]

        async def fail(*arguments: Any) -> Any:
            done = await works(*arguments)
            if errors:
                raise errors.pop()
            return done

        monkeypatch.setattr(of, method, fail)

    def block_once(self, part: str, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
        """Make a step of this worker never return after its work; returns the event that is set then."""
        of, method = self._method(part)
        works = getattr(of, method)
        reached = asyncio.Event()

        async def block(*arguments: Any) -> None:
            await works(*arguments)
            reached.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(of, method, block)
        return reached

    def _method(self, part: str) -> tuple[Any, str]:
        return {
            "store": (self.writer, "store"),
            "send": (self.dead_letters, "send"),
            "forward": (self.forwarder, "forward"),
            "delete": (self.dead_letters, "delete_resolved"),
        }[part]

    def rows(self) -> list[tuple[float, int]]:
        """Value and offset of each stored reading."""
        with self.engine.connect() as connection:
            rows = connection.execute(text('SELECT value, "offset" FROM memory_readings ORDER BY 2, 1'))
            return [(value, offset) for value, offset in rows]

    def samples(self) -> list[float]:
        """The values of all samples that were forwarded."""
        messages = [
            unpack_samples(CIPHER.decrypt(record.value, SAMPLES.encode()))
            for at in self.broker.partitions(SAMPLES)
            for record in self.broker.records(at)
        ]
        return sorted(each.value for message in messages for of_host in message.values() for each in of_host)

    def letters(self) -> dict[str, str | None]:
        """The reason of each dead letter by its key without timestamp; None if a tombstone deleted it."""
        return {
            place_of(record.key): None
            if record.value is None
            else dict(record.headers)["sparkle-reason"].decode()
            for at in self.broker.partitions(LETTERS)
            for record in self.broker.records(at)
        }

    def acked(self) -> list[int]:
        """Acknowledged offsets, in order."""
        return [offset for _, offset in self.stream.acked]

    async def committed(self) -> int | None:
        """The committed offset of the first partition."""
        return await self.app.connection.committed(TopicPartition(TOPIC, 0))

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one of the handler's counters."""
        return self.metrics.registry.get_sample_value(f"sparkle_{name}_total", labels)
